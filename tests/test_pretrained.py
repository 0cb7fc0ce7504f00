import json
from dataclasses import asdict

import pytest
import torch

from minigpt import CONFIGS, GPT, pretrained
from minigpt.data import plays, prepare
from minigpt.evaluation import evaluate
from minigpt.metrics import read_metrics
from minigpt.parameters import count_params
from minigpt.tokenizer import train_tokenizer
from minigpt.train import RECIPES


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
    pretrained.save(GPT(CONFIGS["mini"].but(n_layers=1)), "shakespeare")
    assert pretrained.load("shakespeare").config.n_layers == 1


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


FOLDER = pretrained.WEIGHTS / "shakespeare"


def test_the_shipped_model_is_as_good_as_it_says(shipped, tmp_path):
    """All of the held-out plays, predicted again."""
    model, tokenizer = shipped
    data = prepare("shakespeare", tmp_path / "data", tokenizer)
    results = json.loads((FOLDER / "results.json").read_text())
    assert data.facts["train"] == results["data"]["train"] and data.facts["held_out"] == results["data"]["held_out"]
    found, said = evaluate(model, data.held_out, data.token_bytes), results["held_out"]
    assert (found.tokens, found.bytes) == (said["tokens"], said["bytes"]) == (len(data.held_out) - 1, 346_691)
    assert found.bits_a_byte == pytest.approx(said["bits_a_byte"], abs=0.002) and found.bits_a_byte < 1.9
    assert found.accuracy == pytest.approx(said["accuracy"], abs=0.002)


def test_the_shipped_model_is_what_its_recipe_makes():
    results = json.loads((FOLDER / "results.json").read_text())
    recipe, rows = RECIPES["shakespeare"], read_metrics(FOLDER / "metrics.csv")
    assert pretrained.load(FOLDER).config == CONFIGS["shakespeare"]
    assert results["settings"] == asdict(recipe)
    assert rows[-1]["step"] == recipe.steps and rows[-1]["tokens"] == results["tokens_read"]
    assert {row["step"] for row in rows} >= set(range(0, recipe.steps + 1, recipe.evaluate_every))
    learned = train_tokenizer((play.text for play in plays() if not play.held_out), 1_024)
    assert learned.to_str() == pretrained.load_tokenizer(FOLDER).to_str()


def test_the_shipped_model_is_small_and_has_a_card_that_says_so():
    card, results = (FOLDER / "README.md").read_text(), json.loads((FOLDER / "results.json").read_text())
    size = sum((FOLDER / name).stat().st_size for name in ("model.safetensors", "tokenizer.json"))
    assert size < 6_000_000 and f"{size / 1e6:.1f} MB" in card
    held_out = results["held_out"]
    for said in (f"{held_out['bits_a_byte']:.3f}", f"{held_out['accuracy']:.1%}", f"{held_out['loss']:.3f}"):
        assert said in card
    assert f"{results['tokens_read']:,}" in card and f"{results['minutes']:.0f} minutes" in card
    assert f"{count_params(CONFIGS['shakespeare']):,}" in card and "tools/train_shipped.py" in card


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(FileNotFoundError, match="must hold a saved model, or be one of: shakespeare; got 'nano'"):
        pretrained.load("nano")


def test_weights_of_another_shape_are_refused(tmp_path):
    pretrained.save(GPT(CONFIGS["mini"]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layers": 3}))
    with pytest.raises(RuntimeError, match="blocks.3"):
        pretrained.load(tmp_path)
