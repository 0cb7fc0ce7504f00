"""GPT-2's weights in and out, against Hugging Face's own GPT-2."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from huggingface import twin
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from minigpt import CONFIGS, GPT, pretrained
from minigpt.data import Batches
from minigpt.parameters import count_params
from minigpt.sampling import greedy_decode
from minigpt.train import TrainConfig, Trainer

SIZES = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
PROMPT = "I will take her wherever sh wants me to take her."


def tiny(name: str):
    """A GPT-2's proportions, a 1/16 of its width and a quarter of its depth."""
    config = CONFIGS[name]
    layers, width = config.n_layers // 4, config.d_model // 16
    return config.but(n_layers=layers, d_model=width, vocab_size=1_024, context_length=64)


def shaken(model: GPT) -> GPT:
    """Also the biases and LayerNorms away from 0 and 1, so that a forgotten one shows."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", SIZES)
def test_a_folder_of_theirs_is_read(name, tied, tmp_path):
    config = tiny(name).but(tie_weights=tied)
    theirs = twin(shaken(GPT(config)))
    theirs.save_pretrained(tmp_path)
    ours = pretrained.load_gpt2(tmp_path)
    assert ours.config == config and not ours.training
    assert (ours.head.weight is ours.token_embedding.weight) == tied
    tokens = torch.randint(1_024, (3, 64))
    assert (ours(tokens) - theirs(tokens).logits).abs().max() < 1e-5


@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu", "relu"])
def test_a_folder_of_ours_is_read_by_theirs(activation, tmp_path):
    ours = shaken(GPT(tiny("gpt2").but(activation=activation, d_ff=100))).eval()
    pretrained.save_gpt2(ours, tmp_path)
    theirs, report = GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokens = torch.randint(1_024, (3, 64))
    assert (ours(tokens) - theirs.eval()(tokens).logits).abs().max() < 1e-5


def test_a_loaded_gpt2_is_trained_as_if_it_had_never_been_anything_else(tmp_path):
    """The fused AdamW goes through storage number by number, and would misread a transposed view."""
    ours = shaken(GPT(tiny("gpt2")))
    pretrained.save_gpt2(ours, tmp_path)
    loaded = pretrained.load_gpt2(tmp_path)
    for model in (ours, loaded):
        trainer = Trainer(model, Batches(np.arange(900) % 1_024, 16, 4), TrainConfig(learning_rate=1e-2))
        trainer.step()
        trainer.step()
    for (name, one), other in zip(ours.named_parameters(), loaded.parameters(), strict=True):
        assert other.is_contiguous() and torch.equal(one, other), name


def test_there_and_back_is_the_same_to_the_bit(tmp_path):
    ours = shaken(GPT(tiny("gpt2-medium")))
    pretrained.save_gpt2(ours, tmp_path)
    back = pretrained.load_gpt2(tmp_path).state_dict()
    assert all(torch.equal(back[name], weight) for name, weight in ours.state_dict().items())


def test_greedy_tokens_are_theirs(shipped, tmp_path):
    model, tokenizer = shipped
    pretrained.save_gpt2(model, tmp_path, tokenizer)
    theirs, their_tokenizer = GPT2LMHeadModel.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    ids = their_tokenizer(PROMPT, return_tensors="pt")
    assert ids.input_ids[0].tolist() == tokenizer.encode(PROMPT).ids
    reply = theirs.generate(**ids, max_new_tokens=50, do_sample=False, pad_token_id=0, eos_token_id=-1)
    assert greedy_decode(model, tokenizer, PROMPT, 50) == their_tokenizer.decode(reply[0, ids.input_ids.size(1) :])


@pytest.mark.parametrize("name", SIZES)
def test_the_real_sizes_are_theirs_weight_by_weight(name):
    """As shapes only, without memory for them: `twin` refuses a name that is missing or too many, or another shape."""
    with torch.device("meta"):
        theirs = twin(GPT(CONFIGS[name]))
    assert sum(p.numel() for p in theirs.parameters()) == count_params(CONFIGS[name])


@pytest.mark.parametrize("name", [SIZES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in SIZES[1:])])
def test_the_real_sizes_have_the_same_logits_and_greedy_tokens(name):
    """The XL is 6.2 GB; its twin shares all but the joined queries, keys and values."""
    torch.manual_seed(0)
    ours = GPT(CONFIGS[name]).eval()
    theirs = twin(ours)
    assert sum(p.numel() for p in theirs.parameters()) == count_params(ours.config)
    with torch.no_grad():
        tokens = torch.randint(50_257, (1, 16))
        our_logits, their_logits = ours(tokens), theirs(tokens).logits
        assert (our_logits - their_logits).abs().max() < 1e-5
        assert torch.equal(our_logits.argmax(-1), their_logits.argmax(-1))


def test_weights_named_as_the_released_files_name_them_are_read(tmp_path):
    """No "transformer." before the names, no tied head, and each layer's causal mask among the weights."""
    ours = shaken(GPT(tiny("gpt2"))).eval()
    pretrained.save_gpt2(ours, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    released = {name.removeprefix("transformer."): weight for name, weight in weights.items()}
    released |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in range(ours.config.n_layers)}
    save_file(released, tmp_path / "model.safetensors")
    tokens = torch.randint(1_024, (1, 9))
    assert torch.equal(pretrained.load_gpt2(tmp_path)(tokens), ours(tokens))


def test_weights_in_several_files_are_read(tmp_path):
    theirs = twin(GPT(tiny("gpt2")))
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    tokens = torch.randint(1_024, (1, 9))
    assert (pretrained.load_gpt2(tmp_path)(tokens) - theirs(tokens).logits).abs().max() < 1e-5


def test_a_configuration_that_says_little_is_gpt2s_default():
    theirs = pretrained.from_gpt2_config({"model_type": "gpt2"})
    assert theirs == CONFIGS["gpt2"].but(dropout=GPT2Config().resid_pdrop)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "llama", "model_type must be 'gpt2'; got 'llama'"),
        ("layer_norm_epsilon", 1e-6, "layer_norm_epsilon must be 1e-05; got 1e-06"),
        ("scale_attn_by_inverse_layer_idx", True, "scale_attn_by_inverse_layer_idx must be False; got True"),
        ("activation_function", "silu", "activation_function must be one of gelu_new, .*; got 'silu'"),
    ],
)
def test_what_our_gpt_does_not_compute_is_refused(field, value, message, tmp_path):
    pretrained.save_gpt2(GPT(tiny("gpt2")), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(ValueError, match=message):
        pretrained.load_gpt2(tmp_path)


def test_a_model_without_biases_is_no_gpt2(tmp_path):
    with pytest.raises(ValueError, match="bias must be True"):
        pretrained.save_gpt2(GPT(tiny("gpt2").but(bias=False)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_and_foreign_weights_are_named(tmp_path):
    pretrained.save_gpt2(GPT(tiny("gpt2")), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "transformer.h.0.rotary": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="got transformer.h.0.rotary"):
        pretrained.load_gpt2(tmp_path)
    del weights["transformer.h.1.mlp.c_fc.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="must hold transformer.h.1.mlp.c_fc.bias"):
        pretrained.load_gpt2(tmp_path)
    with pytest.raises(ValueError, match=r"model\.safetensors: weights must hold"):
        pretrained.load_gpt2(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="must hold config.json and .safetensors"):
        pretrained.load_gpt2(tmp_path)


@pytest.mark.parametrize("kind", ["weight", "bias"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 3), (48, 10), (47, 144)])
def test_weights_of_another_shape_are_named(kind, shape, tmp_path):
    pretrained.save_gpt2(GPT(tiny("gpt2")), tmp_path)
    weights = load_file(tmp_path / "model.safetensors") | {f"transformer.h.1.attn.c_attn.{kind}": torch.ones(shape)}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=rf"model\.safetensors: .*(c_attn|query)\.{kind} must be "):
        pretrained.load_gpt2(tmp_path)


def test_a_tied_head_that_differs_is_refused_and_one_that_does_not_is_read(tmp_path):
    ours = GPT(tiny("gpt2")).eval()
    pretrained.save_gpt2(ours, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    head = weights["transformer.wte.weight"].clone()
    save_file({**weights, "lm_head.weight": head}, tmp_path / "model.safetensors")
    tokens = torch.randint(1_024, (1, 9))
    assert torch.equal(pretrained.load_gpt2(tmp_path)(tokens), ours(tokens))
    save_file({**weights, "lm_head.weight": head + 1}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: weights: head\.weight must be the token embedding"):
        pretrained.load_gpt2(tmp_path)


def test_a_file_beside_the_weights_is_not_read(tmp_path):
    ours = GPT(tiny("gpt2")).eval()
    pretrained.save_gpt2(ours, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: 0 * weight for name, weight in weights.items()}, tmp_path / "z.safetensors")
    (tmp_path / pretrained.INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(weights, "z.safetensors")}))
    tokens = torch.randint(1_024, (1, 9))
    assert torch.equal(pretrained.load_gpt2(tmp_path)(tokens), ours(tokens))
    (tmp_path / "model.safetensors").unlink()
    assert not pretrained.load_gpt2(tmp_path)(tokens).any()
    (tmp_path / pretrained.INDEX).unlink()
    with pytest.raises(FileNotFoundError, match="must hold config.json and .safetensors"):
        pretrained.load_gpt2(tmp_path)


@pytest.mark.parametrize(
    "index, message",
    [
        ({}, "must say in weight_map"),
        ({"weight_map": []}, "must say in weight_map"),
        ({"weight_map": {"wte.weight": "../model.safetensors"}}, "must name .safetensors files of its folder"),
        ({"weight_map": {"wte.weight": "/etc/passwd"}}, "must name .safetensors files of its folder"),
        ({"weight_map": {"wte.weight": 5}}, "must name .safetensors files of its folder"),
        ({"weight_map": {"wte.weight": "gone.safetensors"}}, "must be there"),
        ({"weight_map": {"h.99.x": "z.safetensors"}}, "must hold 'h.99.x', for model.safetensors.index.json says so"),
    ],
)
def test_a_wrong_index_is_named(index, message, tmp_path):
    pretrained.save_gpt2(GPT(tiny("gpt2")), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "z.safetensors")
    (tmp_path / pretrained.INDEX).write_text(json.dumps(index))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrained.load_gpt2(tmp_path)


def test_a_model_without_biases_has_no_weights_of_a_gpt2():
    with pytest.raises(ValueError, match="bias must be True"):
        pretrained.to_gpt2_weights(GPT(tiny("gpt2").but(bias=False)))


def test_without_a_connection_one_sentence_says_so():
    """In a process of its own: the hub's library looks at this variable when it is imported."""
    program = (
        "import os; os.environ['HF_HUB_OFFLINE'] = '1'; os.environ['HF_HOME'] = '/nonexistent'\n"
        "from minigpt import pretrained, tokenizer\n"
        "for fetch in (lambda: pretrained.load_gpt2('openai-community/gpt2'), tokenizer.gpt2_tokenizer):\n"
        "    try: fetch()\n"
        "    except ConnectionError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("huggingface.co" in line for line in lines), done.stderr
