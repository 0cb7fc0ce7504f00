import copy
import json
import os
import shutil
from dataclasses import asdict

import pytest
import torch
from hanging import interrupted
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import prune

from minigpt import CONFIGS, GPT, pretrained
from minigpt.data import plays, prepare
from minigpt.page.prose import without_bindings
from minigpt.parameters import count_params
from minigpt.tokenizer import train_tokenizer
from minigpt.train import RECIPES
from minigpt.train.evaluation import evaluate
from minigpt.train.metrics import read_metrics


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


@pytest.mark.long
def test_the_shipped_model_is_as_good_as_it_says(shipped, tmp_path):
    """All of the held-out plays, predicted again."""
    model, tokenizer = shipped
    data = prepare("shakespeare", tmp_path / "data", tokenizer)
    results = json.loads((FOLDER / "results.json").read_text())
    assert data.facts["train"] == results["data"]["train"] and data.facts["held_out"] == results["data"]["held_out"]
    found, said = evaluate(model, data.held_out, data.token_bytes), results["held_out"]
    assert (found.tokens, found.bytes) == (said["tokens"], said["bytes"]) == (len(data.held_out) - 1, 346_691)
    assert found.bits_per_byte == pytest.approx(said["bits_per_byte"], abs=0.002) and found.bits_per_byte < 1.9
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
    card = without_bindings(card)
    assert size < 6_000_000 and f"{size / 1e6:.1f} MB" in card
    held_out = results["held_out"]
    for said in (f"{held_out['bits_per_byte']:.3f}", f"{held_out['accuracy']:.1%}", f"{held_out['loss']:.3f}"):
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


# A stranger's folder

TINY = CONFIGS["mini"].but(vocab_size=300, d_model=16, n_heads=2, n_layers=2, context_length=8)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def folder(tmp_path):
    """A small model's, with the tokenizer of the shipped one."""
    tokenizer = (FOLDER / "tokenizer.json").read_text(encoding="utf-8")
    pretrained.save(GPT(TINY.but(vocab_size=1_024)), tmp_path, more={"tokenizer.json": tokenizer})
    return tmp_path


def changed(folder, **fields):
    """Change the configuration."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"5", b"\xff\xfe{}", b"[" * 100_000, b" " * 1_000_001])
def test_a_damaged_configuration_is_named(content, folder):
    (folder / "config.json").write_bytes(content)
    for load in (pretrained.load, pretrained.load_gpt2):
        with pytest.raises(ValueError, match=r"config\.json must ") as caught:
            load(folder)
        assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"n_lay": 2}, r"'n_lay'.* unknown"),
        ({"n_layers": "2"}, "n_layers must be an int; got '2'"),
        ({"n_layers": 2.0}, "n_layers must be an int; got 2.0"),
        ({"n_layers": 10**6}, "n_layers must be at most 10,000; got 1000000"),
        ({"n_heads": 3}, "n_heads must divide d_model"),
        ({"n_heads": 3, "d_model": 10**8 + 7}, "n_heads must divide d_model"),
        ({"d_model": 10**30}, "d_model must be at most"),
        ({"dropout": float("nan")}, "dropout must be at least 0"),
        ({"activation": "x" * 10**5}, "activation must be one of gelu_tanh"),
    ],
)
def test_a_configuration_that_is_none_is_named_at_once(fields, message, folder):
    changed(folder, **fields)
    with interrupted(), pytest.raises(ValueError, match=rf"config\.json.*{message}"):
        pretrained.load(folder)


def test_a_missing_field_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["n_layers"], config["d_model"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json must hold the fields of .*; d_model, n_layers missing"):
        pretrained.load(folder)


def test_a_byte_order_mark_does_no_harm(folder):
    path = folder / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert pretrained.load(folder).config.n_layers == 2


def test_many_layers_are_refused_before_they_are_built(folder, monkeypatch):
    changed(folder, n_layers=10_000)
    monkeypatch.setattr(pretrained, "GPT", lambda config: pytest.fail("a model was built"))
    with pytest.raises(RuntimeError, match=r"model\.safetensors must hold blocks\.2\.norm1\.weight"):
        pretrained.load(folder)


@pytest.mark.parametrize(
    "content, message",
    [(LFS, "git lfs pull"), (b"", "must not be empty"), (None, "is damaged"), (b"\xff" * 64, "is damaged")],
)
def test_damaged_weights_are_named(content, message, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        pretrained.load(folder)


def with_weight(folder, name, weight):
    path = folder / "model.safetensors"
    weights = load_file(path) | {name: weight}
    save_file({name: weight for name, weight in weights.items() if weight is not None}, path)


@pytest.mark.parametrize(
    "weight",
    [torch.ones(16, dtype=kind) for kind in (torch.int64, torch.bool, torch.uint8, torch.complex64)]
    + [torch.tensor([value] + [0.0] * 15, dtype=torch.float64) for value in (float("nan"), float("-inf"), 1e300)],
)
def test_weights_that_are_no_finite_numbers_are_named(weight, folder):
    with_weight(folder, "blocks.1.norm2.bias", weight)
    with pytest.raises(ValueError, match=r"model\.safetensors: 'blocks\.1\.norm2\.bias' must be f"):
        pretrained.load(folder)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_other_floating_point_numbers_are_read(kind, folder):
    with_weight(folder, "blocks.1.norm2.bias", torch.full((16,), 0.5, dtype=kind))
    assert torch.equal(pretrained.load(folder).blocks[1].norm2.bias, torch.full((16,), 0.5))


@pytest.mark.parametrize(
    "name, weight, message",
    [
        (
            "token_embedding.weight",
            torch.ones(300, 16),
            r"embedding\.weight must be \(1024, 16\).*got \(300, 16\)",
        ),
        ("norm.bias", None, r"must hold norm\.bias, \(16,\)"),
        ("head.bias", torch.ones(1_024), r"got 'head\.bias', too"),
        ("head.weight", torch.ones(1_024, 16), r"head\.weight must be the token embedding"),
        ("head.weight", torch.ones(1, 16), r"head\.weight must be the token embedding"),
    ],
)
def test_weights_of_another_model_are_named(name, weight, message, folder):
    with_weight(folder, name, weight)
    with pytest.raises(ValueError, match=rf"model\.safetensors.*{message}"):
        pretrained.load(folder)


def test_a_tied_head_that_was_stored_is_the_embedding(folder):
    weights = load_file(folder / "model.safetensors")
    with_weight(folder, "head.weight", weights["token_embedding.weight"].clone())
    model = pretrained.load(folder)
    assert model.head.weight is model.token_embedding.weight


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("make", ["link", "pipe", "device", "folder", "nothing", "loop"])
def test_only_regular_files_are_read(name, make, folder, tmp_path_factory):
    path, elsewhere = folder / name, tmp_path_factory.mktemp("elsewhere") / name
    path.rename(elsewhere)
    {
        "link": lambda: path.symlink_to(elsewhere),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "nothing": lambda: None,
        "loop": lambda: path.symlink_to(path),
    }[make]()
    load = pretrained.load_tokenizer if name == "tokenizer.json" else pretrained.load
    with pytest.raises((ValueError, FileNotFoundError), match=rf"{name} must be (a regular file|there)"):
        load(folder)


def test_the_links_of_the_hubs_cache_are_read(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    snapshot, blobs = cache / "snapshots" / "4d7a", cache / "blobs"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in folder.iterdir():
        shutil.copy(path, blobs / path.name[::-1])
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name[::-1]}")
    assert pretrained.load(snapshot).config == pretrained.load(folder).config
    assert pretrained.load_tokenizer(snapshot).get_vocab_size() == 1_024


def test_another_safetensors_file_is_not_read(folder):
    before = pretrained.load(folder).state_dict()
    save_file({name: 2 * weight for name, weight in before.items() if name != "head.weight"}, folder / "a.safetensors")
    assert all(torch.equal(weight, before[name]) for name, weight in pretrained.load(folder).state_dict().items())


@pytest.mark.parametrize("value", [None, 5, True, b"x", ["x"]])
def test_what_is_no_path_is_named(value):
    model = GPT(TINY)
    calls = [pretrained.load, pretrained.load_tokenizer, pretrained.load_gpt2]
    for call in (*calls, lambda folder: pretrained.save(model, folder)):
        with pytest.raises(TypeError, match="folder must be a path; got"):
            call(value)
    for call in calls:
        with pytest.raises(ValueError, match="folder must be a path; got ''"):
            call("")


def damages(text):
    """A tokenizer's file, damaged in twenty ways."""
    whole = json.loads(text)
    for size in (1, 10, 100, 1_000, len(text) // 2, len(text) - 3):
        yield text[:size]
    for key in whole:
        yield json.dumps({name: value for name, value in whole.items() if name != key})[: -(key == "model") or None]
    yield from ("", "{}", "[]", "null", "5", "\ufeff" + text[1:], text.replace('"BPE"', '"XYZ"'))
    model = whole["model"]
    yield json.dumps(whole | {"model": {}})
    yield json.dumps(whole | {"model": model | {"merges": [["x" * 99, "y"]]}})
    yield json.dumps(whole | {"model": model | {"vocab": {"a": -1}}})
    yield json.dumps(whole | {"model": model | {"vocab": {name: 2 * i for name, i in model["vocab"].items()}}})
    yield json.dumps(whole | {"model": model | {"vocab": model["vocab"] | {"more": 1_024}}})


def test_a_damaged_tokenizer_is_named(folder):
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    refused = 0
    for damaged in damages(text):
        (folder / "tokenizer.json").write_text(damaged, encoding="utf-8")
        try:
            assert pretrained.load_tokenizer(folder).encode("Romeo").ids
        except ValueError as error:
            assert "tokenizer.json must " in str(error)
            refused += 1
    assert refused >= 19  # the others lack what a tokenizer can do without


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder):
    assert pretrained.load_tokenizer(folder).get_vocab_size() == 1_024
    changed(folder, vocab_size=1_023)
    with pytest.raises(ValueError, match=r"tokenizer\.json must have at most 1023 tokens, vocab_size .*; it has 1024"):
        pretrained.load_tokenizer(folder)
    changed(folder, vocab_size=1_100)  # some pad their vocabularies
    assert pretrained.load_tokenizer(folder).get_vocab_size() == 1_024
    (folder / "config.json").unlink()
    assert pretrained.load_tokenizer(folder).get_vocab_size() == 1_024


# What is saved

TOKENS = torch.arange(16).view(2, 8)


def wrapped(model):
    """A model in wrappers that leave it what it is."""
    inside = copy.deepcopy(model)
    inside.blocks[0] = torch.compile(inside.blocks[0], backend="eager")
    return {
        "compiled": torch.compile(model, backend="eager"),
        "compiled twice": nn.DataParallel(torch.compile(model, backend="eager")),
        "a compiled block": inside,
        "DataParallel": nn.DataParallel(model),
        "averaged": torch.optim.swa_utils.AveragedModel(model),
    }


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", ["compiled", "compiled twice", "a compiled block", "DataParallel", "averaged"])
def test_a_wrapped_model_is_saved_as_the_model_it_is(name, tied, tmp_path):
    model = GPT(TINY.but(tie_weights=tied)).eval()
    for save, load in ((pretrained.save, pretrained.load), (pretrained.save_gpt2, pretrained.load_gpt2)):
        save(wrapped(model)[name], tmp_path / load.__name__)
        loaded = load(tmp_path / load.__name__)
        assert loaded.config == model.config
        assert all(torch.equal(weight, model.state_dict()[key]) for key, weight in loaded.state_dict().items())


def broken(name):
    """A model that can't be saved as what its configuration says."""
    model = GPT(TINY if name != "shared" else TINY.but(tie_weights=False))
    if name == "parametrized":
        nn.utils.parametrizations.weight_norm(model.blocks[0].attention.query)
    elif name == "pruned":
        prune.l1_unstructured(model.blocks[0].attention.query, "weight", 0.5)
    elif name == "resized":
        model.position_embedding = nn.Embedding(16, 16)
    elif name == "untied":
        model.head.weight = nn.Parameter(torch.ones(300, 16))
    elif name == "shared":
        model.head.weight = model.token_embedding.weight
    elif name == "shorter":
        del model.blocks[1]
    elif name == "no numbers":
        model = model.to("meta")
    elif name == "nan":
        model.norm.weight.data[3] = float("nan")
    elif name == "complex":
        model = model.to(torch.complex64)
    return {"no model": nn.Linear(2, 2), "None": None}.get(name, model)


@pytest.mark.parametrize(
    "name",
    ["parametrized", "pruned", "resized", "untied", "shared", "shorter", "no numbers", "nan", "complex", "no model"]
    + ["None"],
)
def test_what_would_be_another_model_is_not_saved(name, tmp_path):
    for save in (pretrained.save, pretrained.save_gpt2):
        with pytest.raises((ValueError, TypeError), match="^model"):
            save(broken(name), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_blocks_that_share_weights_are_saved_as_what_they_compute(tmp_path):
    model = GPT(TINY).eval()
    model.blocks[1] = model.blocks[0]
    flat = torch.cat([model.norm.weight.data, model.norm.bias.data])
    model.norm.weight.data, model.norm.bias.data = flat[:16], flat[16:]
    for save, load in ((pretrained.save, pretrained.load), (pretrained.save_gpt2, pretrained.load_gpt2)):
        save(model, tmp_path / load.__name__)
        assert torch.equal(load(tmp_path / load.__name__)(TOKENS), model(TOKENS))


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64, torch.float8_e5m2, "float16", None])
def test_weights_are_stored_in_floating_point_numbers_alone(kind, tmp_path):
    with pytest.raises(TypeError, match="dtype must be "):
        pretrained.save(GPT(TINY), tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind, value", [(torch.float16, 65_520.0), (torch.float16, -1e9)])
def test_what_a_type_cannot_hold_is_not_stored(kind, value, tmp_path):
    model = GPT(TINY)
    model.norm.weight.data[3] = value
    with pytest.raises(ValueError, match=rf"norm\.weight must be finite numbers in {kind}"):
        pretrained.save(model, tmp_path / "out", kind)
    assert not (tmp_path / "out").exists()
    pretrained.save(model, tmp_path / "out")
    assert pretrained.load(tmp_path / "out").norm.weight[3] == value


@pytest.mark.parametrize(
    "name",
    ["../x", "../../x", "/tmp/x", "a/b", "a\\b", "..", ".", "", ".hidden", "a\0b", "C:x", "a\n", "config.json"]
    + ["model.safetensors", "CONFIG.json", "x.partial", 5, None],
)
def test_more_files_stay_in_the_folder(name, tmp_path):
    with pytest.raises((ValueError, TypeError), match="^more must "):
        pretrained.save(GPT(TINY), tmp_path / "a" / "out", more={name: "text"})
    assert not list(tmp_path.iterdir())


def test_more_files_are_texts(tmp_path):
    with pytest.raises(TypeError, match="more must be texts by names; got 5 under 'x'"):
        pretrained.save(GPT(TINY), tmp_path / "out", more={"x": 5})
    pretrained.save(GPT(TINY), tmp_path, more={"notes-1_a.txt": "ä"})
    assert (tmp_path / "notes-1_a.txt").read_text(encoding="utf-8") == "ä"
