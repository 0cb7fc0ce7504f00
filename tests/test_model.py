import math

import pytest
import torch
from huggingface import twin
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from minigpt import CONFIGS, GPT, GPTConfig
from minigpt.memory.measured import default_dtype
from minigpt.model import Block

SMALL = GPTConfig(vocab_size=31, context_length=12, d_model=24, n_heads=4, n_layers=3)


def spread_out(model):
    """Random weights of ordinary size, biases and LayerNorms included: fresh ones hide mistakes."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model.eval()


def some_tokens(config=SMALL, B=3, T=9):
    return torch.randint(config.vocab_size, (B, T))


@pytest.mark.parametrize("dtype, atol", [(torch.float, 1e-5), (torch.double, 1e-12)])
@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu", "relu"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_hugging_faces(dtype, atol, activation, tied):
    config = SMALL.but(activation=activation, tie_weights=tied)
    model = spread_out(GPT(config)).to(dtype)
    if tied:
        assert model.head.weight is model.token_embedding.weight
    tokens = some_tokens()
    with torch.no_grad():
        ours, theirs = model(tokens), twin(model)(tokens).logits
    assert theirs.std() > 0.1
    assert torch.allclose(ours, theirs, atol=atol, rtol=0)


def test_loss_is_hugging_faces():
    model = spread_out(GPT(SMALL))
    tokens = some_tokens()
    _, loss = model(tokens[:, :-1], tokens[:, 1:])
    assert loss.item() == pytest.approx(twin(model)(tokens, labels=tokens).loss.item(), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_logits_are_hugging_faces_for_any_shape(data):
    integer = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    heads = integer(1, 4)
    config = GPTConfig(
        vocab_size=integer(2, 50), context_length=integer(2, 12), d_model=heads * integer(1, 6), n_heads=heads,
        n_layers=integer(1, 3), d_ff=integer(1, 30),
    )  # fmt: skip
    model = spread_out(GPT(config)).double()
    tokens = some_tokens(config, B=2, T=integer(1, config.context_length))
    with torch.no_grad():
        assert torch.allclose(model(tokens), twin(model)(tokens).logits, rtol=0, atol=1e-12)


def test_causal():
    model = spread_out(GPT(SMALL)).double()
    tokens = some_tokens()
    changed = tokens.clone()
    changed[:, 5] = (tokens[:, 5] + 1) % SMALL.vocab_size
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("cuts", [[1] * 9, [4, 5], [6, 1, 1, 1]])
def test_with_a_cache_as_without(cuts):
    model = spread_out(GPT(SMALL)).double()
    tokens = some_tokens()
    with torch.no_grad():
        cache = model.new_cache()
        pieces = [model(piece, cache=cache) for piece in tokens.split(cuts, dim=1)]
        assert torch.allclose(torch.cat(pieces, 1), model(tokens), rtol=0, atol=1e-12)


def test_gradients():
    model = GPT(GPTConfig(vocab_size=5, context_length=3, d_model=4, n_heads=2, n_layers=1)).double()
    tokens, targets = torch.randint(5, (1, 3)), torch.randint(5, (1, 3))
    names, weights = zip(*model.named_parameters(), strict=True)

    def loss(*weights):
        return torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (tokens, targets))[1]

    assert torch.autograd.gradcheck(loss, weights)


@pytest.mark.parametrize("attention_dropout", [0.0, 0.2])
def test_checkpointing_changes_no_number(attention_dropout):
    config = GPTConfig(vocab_size=31, context_length=9, d_model=12, n_heads=3, n_layers=2, dropout=0.1)
    model = GPT(config.but(attention_dropout=attention_dropout))
    tokens, targets = torch.randint(31, (2, 3, 9))
    runs, kept = [], []
    for checkpointing in (False, True):
        model.checkpointing = checkpointing
        model.zero_grad()
        torch.manual_seed(1)
        numbers = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, n=numbers: n.append(x.numel()) or x, lambda x: x):
            logits, loss = model(tokens, targets)
        loss.backward()
        runs.append([logits, loss, *(p.grad.clone() for p in model.parameters())])
        kept.append(sum(numbers))
    for without, with_it in zip(*runs, strict=True):
        assert torch.equal(without, with_it)
    assert kept[1] < kept[0] / 2


def test_untrained_it_guesses_evenly():
    model = GPT(CONFIGS["mini"]).eval()
    _, loss = model(some_tokens(model.config, T=64), some_tokens(model.config, T=64))
    assert loss.item() == pytest.approx(math.log(1024), abs=0.05)


def test_initialised_as_gpt2():
    config = CONFIGS["gpt2"].but(n_layers=3, vocab_size=500)
    model = GPT(config)
    residual = 0.02 / math.sqrt(2 * config.n_layers)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            writes = name.endswith(("attention.output.weight", "feed_forward.contract.weight"))
            assert parameter.std().item() == pytest.approx(residual if writes else 0.02, rel=0.02), name


def test_a_target_of_minus_100_is_not_scored():
    model = spread_out(GPT(SMALL))
    tokens, targets = some_tokens(), some_tokens()
    targets[:, 1:] = -100
    assert torch.allclose(model(tokens, targets)[1], model(tokens[:, :1], targets[:, :1])[1], atol=1e-5)


def test_attention_weights_are_those_of_the_forward_pass():
    model = spread_out(GPT(SMALL)).double()
    tokens, inputs = some_tokens(), []
    for block in model.blocks:
        block.attention.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    model(tokens)
    expected = [block.attention(x, return_weights=True)[1] for block, x in zip(model.blocks, inputs[:], strict=True)]
    weights = model.attention_weights(tokens)
    assert all(torch.equal(a, b) for a, b in zip(weights, expected, strict=True))
    assert all((w.std(dim=1) > 0).any() for w in weights)  # heads that differ


@pytest.mark.parametrize("silent", ["attention.output", "feed_forward.contract"])
def test_dropout_reaches_both_branches(silent):
    block = Block(SMALL.but(dropout=0.5)).train()
    torch.nn.init.zeros_(block.get_submodule(silent).weight)
    torch.nn.init.zeros_(block.get_submodule(silent).bias)
    block.attention.dropout = 0.0  # so that only the branch's own dropout is left
    x = torch.randn(2, 4, SMALL.d_model)
    assert not torch.allclose(block(x), block(x))
    assert torch.equal(block.eval()(x), block(x))


def test_dropout_reaches_embeddings_and_attention_weights():
    model = GPT(SMALL.but(dropout=0.5)).train()
    assert (model.embed(some_tokens()) == 0).double().mean() == pytest.approx(0.5, abs=0.1)
    assert all(block.attention.dropout == 0.5 for block in model.blocks)
    other = GPT(SMALL.but(dropout=0.5, attention_dropout=0.25))
    assert all((block.attention.dropout, block.dropout.p) == (0.25, 0.5) for block in other.blocks)


@pytest.mark.parametrize(
    "tokens, message",
    [
        (
            torch.zeros(4, dtype=torch.long),
            r"tokens must be integers of shape \(B, T\), .*; got torch.int64 \(4,\)",
        ),
        (torch.zeros(1, 4), "tokens must be integers.*torch.float32"),
        (torch.zeros(1, 4, dtype=torch.bool), "tokens must be integers.*torch.bool"),
        (torch.zeros(1, 0, dtype=torch.long), "tokens must fill 1 to 12 positions; got 0"),
        (torch.tensor([[3, 31]]), "tokens must be from 0 to 30; got 3 to 31"),
        (torch.tensor([[-1, 3]]), "tokens must be from 0 to 30; got -1 to 3"),
        (torch.zeros(1, 13, dtype=torch.long), "tokens must fill 1 to 12 positions; got 13"),
    ],
)
def test_impossible_tokens_are_named(tokens, message):
    with pytest.raises(ValueError, match=message):
        GPT(SMALL)(tokens)


def test_targets_must_match_and_the_cache_counts():
    model = GPT(SMALL).eval()
    with pytest.raises(ValueError, match=r"targets must be torch.int64 and .* \(3, 9\); got torch.int64 \(3, 8\)"):
        model(some_tokens(), some_tokens(T=8))
    with pytest.raises(ValueError, match="targets must be torch.int64 .* got torch.int32"):
        model(some_tokens(), some_tokens().int())
    with torch.no_grad():
        cache = model.new_cache()
        model(some_tokens(T=9), cache=cache)
        with pytest.raises(ValueError, match="tokens must fill 1 to 12 positions with the 9 in the cache; got 13"):
            model(some_tokens(T=4), cache=cache)
        with pytest.raises(ValueError, match="cache must come from new_cache.* 3 layers; got 2 layers"):
            model(some_tokens(T=1), cache=cache[:2])
        cache[0].length -= 1  # as an interrupted call leaves it
        with pytest.raises(ValueError, match=r"got 3 layers with \[8, 9\] positions"):
            model(some_tokens(T=1), cache=cache)
        with pytest.raises(ValueError, match="got 0 layers"):
            model(some_tokens(T=1), cache=[])


def test_one_seed_draws_one_model_whatever_its_numbers_are_kept_in():
    """In 32 bits PyTorch draws otherwise on processors with other instructions: so all are drawn in 64."""
    config = CONFIGS["mini"].but(vocab_size=40, context_length=8, n_layers=1)
    single = GPT(config)
    with default_dtype(torch.float64):
        double = GPT(config)
    for model in (single, double):
        torch.manual_seed(0)
        model.init_weights()
    for name, weight in double.state_dict().items():
        assert weight.dtype == torch.float64 and torch.equal(weight.float(), single.state_dict()[name]), name


EXPORTED = GPTConfig(vocab_size=31, context_length=12, d_model=20, n_heads=2, n_layers=2)


@pytest.mark.parametrize("strict", [False, True])
def test_it_can_be_exported_for_batches_and_texts_of_any_length(strict):
    model = spread_out(GPT(EXPORTED))
    sizes = {"tokens": {0: torch.export.Dim("B"), 1: torch.export.Dim("T", max=12)}}
    with torch.no_grad():
        exported = torch.export.export(model, (some_tokens(B=2, T=5),), dynamic_shapes=sizes, strict=strict).module()
        for B, T in ((2, 5), (3, 12), (4, 2)):
            tokens = some_tokens(B=B, T=T)
            assert torch.allclose(exported(tokens), model(tokens), atol=1e-4)


def test_it_can_be_exported_with_its_loss_and_compiled_in_one_piece():
    model, tokens = spread_out(GPT(EXPORTED)), some_tokens()
    exported = torch.export.export(model, (tokens, tokens)).module()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for other in (exported, compiled):
        for ours, theirs in zip(model(tokens, tokens), other(tokens, tokens), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_gradients_of_each_sample_by_vmap():
    model, tokens = spread_out(GPT(SMALL)).double(), some_tokens()
    targets = some_tokens()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights, tokens, targets):
        return torch.func.functional_call(model, weights, (tokens[None], targets[None]))[1]

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, tokens, targets)
    for i in range(len(tokens)):
        model.zero_grad()
        model(tokens[i : i + 1], targets[i : i + 1])[1].backward()
        for name, weight in model.named_parameters():
            assert torch.allclose(each[name][i], weight.grad, atol=1e-10), name


def test_fake_and_meta_tensors_have_shapes_to_compute_with():
    with FakeTensorMode():
        logits, loss = GPT(SMALL)(torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 5, dtype=torch.long))
        loss.backward()
    assert logits.shape == (2, 5, 31)
    meta = GPT(SMALL).to("meta")
    assert meta(some_tokens().to("meta"), some_tokens().to("meta"))[0].shape == (3, 9, 31)


def test_a_batch_of_none_has_no_logits_and_no_loss():
    model = GPT(SMALL)
    none = some_tokens(B=0)
    assert model(none).shape == (0, 9, 31)
    assert model(none, none)[1].isnan()
    with torch.no_grad():
        assert model(none, cache=model.new_cache()).shape == (0, 9, 31)
    assert model.attention_weights(none)[0].shape == (0, 4, 9, 9)


def changed(tokens, value):
    tokens[1, 2] = value
    return tokens


@pytest.mark.parametrize("value", [-1, -99, -101, 31, 2**40])
def test_targets_must_be_in_the_vocabulary_or_be_ignored(value):
    with pytest.raises(ValueError, match=rf"targets must be from 0 to 30 or -100; got .*{value}"):
        GPT(SMALL)(some_tokens(), changed(some_tokens(), value))
    assert GPT(SMALL)(some_tokens(), changed(some_tokens(), -100))[1].isfinite()
    with pytest.raises(ValueError, match="tokens must be from 0 to 30; got -100 to"):
        GPT(SMALL)(changed(some_tokens(), -100))
    with pytest.raises(ValueError, match="tokens must be from 0 to 30; got"):
        GPT(SMALL).attention_weights(changed(some_tokens(), 31))


@pytest.mark.parametrize(
    "tokens, targets, error, message",
    [
        ([[1, 2]], None, TypeError, r"tokens must be a tensor of token ids \(B, T\); got list"),
        (None, None, TypeError, "tokens must be a tensor of token ids.*; got NoneType"),
        (some_tokens().numpy(), None, TypeError, "tokens must be a tensor of token ids.*; got ndarray"),
        (some_tokens().short(), None, ValueError, "tokens must be .*torch.int64 or torch.int32; got torch.int16"),
        (some_tokens().to("meta"), None, ValueError, "tokens must hold ids .* got a meta tensor"),
        (some_tokens(), some_tokens().numpy(), TypeError, "targets must be a tensor of token ids.*; got ndarray"),
        (some_tokens(), [[1]], TypeError, r"targets must be a tensor of token ids \(B, T\); got list"),
        (some_tokens(), some_tokens().to("meta"), ValueError, "targets must be .* of no values"),
        (some_tokens(), some_tokens().double(), ValueError, "targets must be torch.int64"),
    ],
)
def test_what_is_no_batch_of_ids_is_named(tokens, targets, error, message):
    with pytest.raises(error, match=message):
        GPT(SMALL)(tokens, targets)


def test_what_is_no_cache_is_named():
    model = GPT(SMALL)
    for cache in (model.new_cache()[0], [1, 2, 3], 5):
        with pytest.raises(TypeError, match=r"cache must be what new_cache\(\) returns"):
            model(some_tokens(), cache=cache)


def test_weights_drawn_anew_leave_nothing_of_the_old_ones():
    model = GPT(SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3)
    model.init_weights()
    assert all((module.weight == 1).all() for module in model.modules() if isinstance(module, torch.nn.LayerNorm))
    assert not any((parameter == 3).any() for parameter in model.parameters())


def test_attention_weights_of_a_text_as_long_as_the_context():
    weights = GPT(SMALL).attention_weights(some_tokens(T=SMALL.context_length))
    assert weights[0].shape == (3, SMALL.n_heads, SMALL.context_length, SMALL.context_length)


def test_a_single_token_is_looked_at_too():
    with pytest.raises(ValueError, match=f"tokens must be from 0 to {SMALL.vocab_size - 1}; got"):
        GPT(SMALL)(torch.tensor([[SMALL.vocab_size]]))


def test_a_vocabulary_of_one_token_can_have_targets_that_are_not_scored():
    logits, loss = GPT(SMALL.but(vocab_size=1))(torch.tensor([[0, 0]]), torch.tensor([[0, -100]]))
    assert logits.shape == (1, 2, 1) and loss == 0
