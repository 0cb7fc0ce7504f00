import json

import pytest
import torch

from minigpt import CONFIGS, GPT, pretrained
from minigpt.parameters import count_params


@pytest.mark.parametrize("tied", [True, False])
def test_what_was_saved_is_loaded(tied, tmp_path):
    model = GPT(CONFIGS["mini"].but(tie_weights=tied, n_layers=1)).eval()
    pretrained.save(model, tmp_path / "model")
    loaded = pretrained.load(tmp_path / "model")
    tokens = torch.randint(1024, (2, 9))
    assert loaded.config == model.config and not loaded.training
    assert torch.equal(loaded(tokens), model(tokens))
    assert (loaded.head.weight is loaded.token_embedding.weight) == tied


def test_what_was_saved_under_a_shipped_models_name_is_what_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretrained.save(GPT(CONFIGS["mini"].but(n_layers=1)), "mini")
    assert pretrained.load("mini").config.n_layers == 1


def test_a_full_disk_leaves_the_model_that_was_there(tmp_path, monkeypatch):
    pretrained.save(GPT(CONFIGS["mini"]), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(pretrained.json, "dumps", full)
    with pytest.raises(OSError, match="No space left"):
        pretrained.save(GPT(CONFIGS["mini"].but(n_heads=2)), tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_half_precision_halves_the_file(tmp_path):
    model = GPT(CONFIGS["mini"])
    pretrained.save(model, tmp_path, torch.float16)
    size_bytes = (tmp_path / "model.safetensors").stat().st_size
    assert 0 < size_bytes - 2 * count_params(model.config) < 10_000
    assert pretrained.load(tmp_path).head.weight.dtype == torch.float32


def test_the_shipped_model_has_learned_what_its_card_says():
    model, tokenizer = pretrained.load("mini"), pretrained.load_tokenizer("mini")
    assert model.config == CONFIGS["mini"]
    metrics = json.loads((pretrained.WEIGHTS / "mini" / "metrics.json").read_text())
    card = (pretrained.WEIGHTS / "mini" / "README.md").read_text()
    assert str(metrics["held_out_bits_a_byte"]) in card and f"{metrics['tokens_seen']:,}" in card
    ids = torch.tensor([tokenizer.encode("I thank you, good my").ids])
    chance, guess = model(ids)[0, -1].softmax(-1).max(0)
    assert tokenizer.decode([guess.item()]) == " lord" and chance > 0.8


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match="folder must hold a saved model, or be one of: mini; got 'nano'"):
        pretrained.load("nano")


def test_weights_of_another_shape_are_refused(tmp_path):
    pretrained.save(GPT(CONFIGS["mini"]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layers": 3}))
    with pytest.raises(RuntimeError, match="blocks.3"):
        pretrained.load(tmp_path)
