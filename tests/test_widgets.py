"""The widgets: their Python, their arithmetic against PyTorch, themselves on the static site, moved as readers do."""

import base64
import copy
import json
import math
import random
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import chapters
import nbformat
import numpy as np
import pytest
import torch
import traitlets
from axe_playwright_python.sync_playwright import Axe
from chance import p_value
from conftest import BROWSER, ROOT
from watched import Watched

import minigpt.widgets as widgets
from minigpt import CONFIGS, GPT, GPTConfig, pretrained
from minigpt.memory import training_memory
from minigpt.parameters import count_params, parameter_shapes, params_by_group
from minigpt.sampling import entropy_bits, next_logits, next_token_probabilities
from minigpt.widgets import AttentionExplorer, ParameterExplorer, SamplingExplorer
from minigpt.widgets.explorer import bundle

FOLDER = Path(widgets.__file__).parent
RUNTIME = ROOT / "book" / "site_static" / "widgets.js"
STATE = "application/vnd.jupyter.widget-state+json"
NASTY = [
    "<script>document.title='owned'</script>",
    "<!--",
    "<script",
    "</SCRIPT >",
    "<img src=x onerror=alert(1)>",
    "&amp;",
]


# The Python side


def test_all_code_together_is_small():
    files = [*FOLDER.glob("*.js"), *FOLDER.glob("*.css"), *BROWSER.glob("*.js"), RUNTIME]
    assert len(files) == 32 and sum(path.stat().st_size for path in files) < 165_000


def test_a_front_end_is_one_module_without_imports():
    for name in ("sampling.js", "parameters.js", "attention.js", "memory.js", "playground.js", "byhand.js"):
        source = bundle(name)
        assert not re.search(r"^import ", source, re.MULTILINE)
        assert source.count("export default") == 1 and source.count("export ") == 1
        assert source.count("function slider(") == 1


def test_probabilities_are_those_of_the_model_at_the_sliders(shipped):
    model, tokenizer = shipped
    explorer = SamplingExplorer.of(model, tokenizer, ["O", "I love"], text=1, temperature=0.7, top_p=0.9)
    logits = next_logits(model, torch.tensor([tokenizer.encode("I love").ids]))[0]
    assert torch.equal(explorer.probabilities, next_token_probabilities(logits.double(), 0.7, top_p=0.9))
    explorer.top_k, explorer.top_p, explorer.text = 3, 1, 0
    assert (explorer.probabilities > 0).sum() == 3
    assert "after 'I love'" in repr(explorer) and "of 1,024 tokens" in explorer.description


def test_attention_is_that_of_the_model(shipped):
    model, tokenizer = shipped
    model.train()
    explorer = AttentionExplorer.of(model, tokenizer, "To be, or not to be", layer=2, head=3)
    assert model.training
    model.eval()
    ids = tokenizer.encode("To be, or not to be").ids
    held = torch.frombuffer(bytearray(explorer.weights), dtype=torch.float32).view(4, 7, len(ids), len(ids))
    for layer, weights in enumerate(model.attention_weights(torch.tensor([ids]))):
        assert torch.equal(held[layer], weights[0])
    assert explorer.tokens[:2] == ["To", " be"] and explorer.position == len(ids) - 1
    assert "In layer 2, head 3" in repr(explorer)


def test_the_configuration_is_the_one_the_sliders_show():
    explorer = ParameterExplorer("gpt3-13b")
    assert explorer.config == CONFIGS["gpt3-13b"] and f"{count_params(CONFIGS['gpt3-13b']):,}" in repr(explorer)
    explorer.n_heads = 7
    with pytest.raises(ValueError, match="n_heads must divide d_model"):
        _ = explorer.config
    assert ParameterExplorer(CONFIGS["mini"]).config == CONFIGS["mini"]


def test_every_named_configuration_can_be_shown():
    for config in CONFIGS.values():
        shown = ParameterExplorer(config).config
        assert shown == config.but(dropout=0.0, attention_dropout=0.0)  # which has no parameters


ROW = {"a": torch.zeros(3)}
SMALL = (GPT(CONFIGS["mini"].but(n_layers=1)), pretrained.load_tokenizer("shakespeare"))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: SamplingExplorer(ROW, list("xyz"), temperature=-1), ValueError, "temperature must be at least 0"),
        (lambda: SamplingExplorer(ROW, list("xyz"), top_k=0), ValueError, "at least 1 (None keeps all); got 0"),
        (lambda: SamplingExplorer(ROW, list("xyz"), top_p=0.0), ValueError, "top_p must be above 0 and at most 1"),
        (lambda: SamplingExplorer(ROW, list("xyz"), min_p=1.5), ValueError, "min_p must be at least 0 and at most 1"),
        (lambda: SamplingExplorer(ROW, list("xyz"), seed=-1), traitlets.TraitError, "'seed' trait"),
        (lambda: SamplingExplorer(ROW, list("xyz"), text=1), ValueError, "text must be from 0 to 0; got 1"),
        (lambda: SamplingExplorer(ROW, list("xy")), ValueError, "scores (2,) for 2 tokens; got {'a': (3,)}"),
        (lambda: SamplingExplorer({}, list("xy")), ValueError, "logits must hold a text and scores (2,)"),
        (lambda: SamplingExplorer({"a": torch.tensor([0, float("nan")])}, list("xy")), ValueError, "logits must be"),
        (lambda: SamplingExplorer(ROW, list("xyz"), shown=0), ValueError, "shown must be at least 1; got 0"),
        (lambda: SamplingExplorer(ROW, list("xyz"), temprature=1.0), TypeError, "settings must be among min_p, seed"),
        (lambda: SamplingExplorer(ROW | {"b": ROW["a"] * float("nan")}, list("xyz")), ValueError, "logits must be fin"),
        (lambda: SamplingExplorer([torch.zeros(3)], list("xyz")), TypeError, "logits must be a mapping from texts to"),
        (lambda: SamplingExplorer.of(None, None, "She"), ValueError, "texts must be several texts, all different"),
        (lambda: SamplingExplorer.of(None, None, ["O", "O"]), ValueError, "all different; got ['O', 'O']"),
        (lambda: AttentionExplorer(torch.ones(1, 1, 2, 2), list("ab")), ValueError, "sum to 1 in each row; got a sum"),
        (lambda: AttentionExplorer(torch.zeros(1, 1, 0, 0), []), ValueError, "weights must be (H, 0, 0)"),
        (lambda: AttentionExplorer([torch.eye(2)[None] * float("nan")], list("ab")), ValueError, "a sum that is nan"),
        (lambda: AttentionExplorer([torch.tensor([[[2.0, -1], [0, 1]]])], list("ab")), ValueError, "at least 0 and"),
        (lambda: AttentionExplorer([torch.eye(2)[None]], [1, 2]), TypeError, "tokens must be a sequence of texts"),
        (lambda: AttentionExplorer([torch.tensor(1.0)], ["a"]), ValueError, "weights must be (H, 1, 1) in every layer"),
        (lambda: two_tokens(layers=[1, 2]), ValueError, "layers must be as many as there are in weights, 3; got"),
        (lambda: two_tokens(layers=[1, 1, 2]), ValueError, "layers must be one or more, all different; got [1, 1, 2]"),
        (lambda: two_tokens(layers=[0, 1, 2]), ValueError, "layers must be at least 1; got 0"),
        (lambda: AttentionExplorer.of(*SMALL, "O", layers=[5]), ValueError, "layers must be from 1 to 1; got [5]"),
        (lambda: AttentionExplorer.of(*SMALL, "O", layers=[]), ValueError, "layers must be one or more"),
        (lambda: AttentionExplorer.of(*SMALL, ""), ValueError, "text must hold at least one token, if only"),
        (lambda: AttentionExplorer.of(*SMALL, 5), TypeError, "text must be a str; got 5 (int)"),
        (lambda: SamplingExplorer.of(*SMALL, ["O", ""]), ValueError, "text must hold at least one token"),
        (lambda: SamplingExplorer(ROW, None), TypeError, "tokens must be a sequence of texts; got None"),
        (lambda: SamplingExplorer(ROW, [1, 2, 3]), TypeError, "tokens must be a sequence of texts; got 1 (int)"),
        (lambda: SamplingExplorer({"a": "x"}, ["x"]), TypeError, "logits must be tensors of numbers; got 'x'"),
        (lambda: SamplingExplorer({"a": torch.zeros(1).cfloat()}, ["x"]), TypeError, "got torch.complex64"),
        (lambda: ParameterExplorer(5), TypeError, "config must be a GPTConfig or one of tiny, mini"),
        (lambda: ParameterExplorer("gpt5"), ValueError, "config must be a GPTConfig or one of tiny, mini, shakespeare"),
        (lambda: ParameterExplorer(CONFIGS["mini"].but(bias=False)), ValueError, "config must have biases and d_ff"),
        (lambda: AttentionExplorer([torch.eye(3)[None]], list("ab")), ValueError, "weights must be (H, 2, 2) in every"),
        (lambda: AttentionExplorer([], list("ab")), ValueError, "for 2 tokens; got []"),
        (lambda: AttentionExplorer([torch.eye(2)[None]], list("ab"), head=2), ValueError, "head must be from 1 to 1"),
        (lambda: AttentionExplorer([torch.eye(2)[None]], list("ab"), position=2), ValueError, "position must be from"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_named(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_a_refused_setting_leaves_the_one_before():
    explorer = SamplingExplorer(ROW, list("xyz"), temperature=0.5)
    with pytest.raises(ValueError, match="temperature must be at least 0 and finite; got -3"):
        explorer.temperature = -3
    assert explorer.temperature == 0.5
    with pytest.raises(ValueError, match="top_k must be at least 1 .*; got -1"), explorer.hold_trait_notifications():
        explorer.temperature, explorer.top_k = 0.7, -1
    with pytest.raises(ValueError, match="top_p must be above 0"):
        explorer.set_state({"top_p": 0.0})  # as a front end would
    assert (explorer.temperature, explorer.top_k, explorer.top_p) == (0.5, None, 1.0)
    with pytest.raises(traitlets.TraitError):
        explorer.logits = b""


def two_tokens(**settings):
    return AttentionExplorer([torch.eye(2)[None]] * 3, list("ab"), **settings)


def test_true_is_no_number_and_numpys_are_as_good_as_pythons():
    sampling = SamplingExplorer(ROW, list("xyz"))
    for explorer, names in (
        (sampling, ("text", "temperature", "top_k", "top_p", "min_p", "seed")),
        (two_tokens(), ("layer", "head", "position")),
        (ParameterExplorer("mini"), ("n_layers", "d_model")),
    ):
        for name in names:
            before = getattr(explorer, name)
            kind = "a number" if name in ("temperature", "top_p", "min_p") else "an int"
            for wrong in (True, False, np.True_):
                with pytest.raises(traitlets.TraitError, match=f"{name} must be {kind}; got (True|False)"):
                    setattr(explorer, name, wrong)
                with pytest.raises(traitlets.TraitError, match=f"{name} must be {kind}; got (True|False)"):
                    explorer.set_state({name: wrong})
                with pytest.raises((traitlets.TraitError, TypeError)):
                    type(explorer)(name=wrong)
            assert getattr(explorer, name) == before
    sampling.top_k, sampling.temperature, sampling.seed = np.int64(2), np.float32(0.5), np.uint8(3)
    assert (sampling.top_k, sampling.temperature, sampling.seed) == (2, 0.5, 3)
    assert type(sampling.top_k) is int and type(sampling.temperature) is float
    with pytest.raises(ValueError, match="temperature must be below 1.8e"):
        sampling.temperature = 10**400
    with pytest.raises(traitlets.TraitError, match="text must be an int"):
        SamplingExplorer(ROW, list("xyz"), text=False)


def test_a_model_may_have_more_tokens_than_its_tokenizer(shipped):
    model = GPT(CONFIGS["mini"].but(vocab_size=2_000, n_layers=1)).eval()
    explorer = SamplingExplorer.of(model, shipped[1], ["O", "I"], shown=2_000)
    names = dict(zip(explorer.shown_ids[0], explorer.shown_tokens[0], strict=True))
    assert names[1024] == "<token 1024>" and names[1999] == "<token 1999>" and len(names) == 2_000
    assert names[300] == shipped[1].decode([300])


def test_a_page_carries_ten_megabytes_and_no_more():
    T, H = 200, 12
    weights = torch.eye(T).expand(H, T, T)
    with pytest.raises(ValueError) as caught:
        AttentionExplorer([weights] * 12, ["a"] * T)
    assert str(caught.value) == (
        "weights must take at most 10 MB, which the page has to carry; got 23.0 MB "
        "(12 layers of 12 heads over 200 tokens; layers=[1, 2, 3, 4, 5] would do)"
    )
    assert len(AttentionExplorer([weights] * 5, ["a"] * T).weights) == 4 * 5 * H * T * T
    with pytest.raises(ValueError, match="got 10.2 MB .* a shorter text would do"):
        AttentionExplorer([torch.eye(460).expand(12, 460, 460)], ["a"] * 460)
    texts = {f"text {n}": torch.zeros(50_000) for n in range(51)}
    with pytest.raises(ValueError, match=r"logits must take at most 10 MB.* got 10.2 MB \(50 texts would do\)"):
        SamplingExplorer(texts, ["x"] * 50_000)


def test_some_layers_can_be_chosen(shipped):
    explorer = AttentionExplorer.of(*shipped, "To be", layers=[4, 2], head=3)
    whole = AttentionExplorer.of(*shipped, "To be")
    assert (explorer.layer, explorer.layers, explorer.n_layers, whole.layers) == (4, [4, 2], 2, [1, 2, 3, 4])
    each = len(whole.weights) // 4
    assert explorer.weights == whole.weights[3 * each :] + whole.weights[each : 2 * each]
    assert "In layer 4, head 3" in repr(explorer)
    explorer.layer = 2
    with pytest.raises(ValueError, match="layer must be one of 4, 2; got 1"):
        explorer.layer = 1
    # A model too large for a page as a whole: nothing is computed before that is known.
    large = GPT(CONFIGS["mini"].but(vocab_size=1024, n_layers=12, n_heads=32, context_length=256))
    with pytest.raises(ValueError, match="12 layers of 32 heads over .* layers=.* would do"):
        AttentionExplorer.of(large, shipped[1], "never " * 100)
    assert AttentionExplorer.of(large, shipped[1], "never " * 100, layers=[12]).layers == [12]


def test_no_cut_can_be_said_by_none():
    explorer = SamplingExplorer(ROW, list("xyz"), top_k=None, top_p=None, min_p=None)
    assert torch.allclose(explorer.probabilities, torch.full((3,), 1 / 3, dtype=torch.double))


# The arithmetic alone, in the browser


@pytest.mark.parametrize("kind", ["spread", "peaked", "ties", "flat", "ruled out"])
def test_probabilities_in_javascript_are_pytorchs(kind, arithmetic):
    """2,000 rows of each kind, extremes included."""
    choose = random.Random(kind)
    for V in (1, 2, 17, 100):
        logits = {
            "spread": lambda V=V: torch.randn(500, V) * 3,
            "peaked": lambda V=V: torch.randn(500, V) * 60,
            "ties": lambda V=V: torch.randint(0, 3, (500, V)).float(),
            "flat": lambda V=V: torch.zeros(500, V),
            "ruled out": lambda V=V: torch.randn(500, V).masked_fill(torch.rand(500, V) < 0.4, -torch.inf).index_fill(
                1, torch.tensor([0]), 0.5
            ),
        }[kind]().double()  # fmt: skip
        # Rounding decides on a line that is met exactly, as by flat rows and p = 0.5: such p are left out there.
        ps = (None, 1, choose.random()) if kind in ("ties", "flat") else (None, 0.1, 0.5, 0.9, 0.99, 1)
        knobs = [
            (choose.choice((0, 0.01, 0.5, 1, 1.3, 2, 50)), choose.choice((None, 1, 2, 10, 200)), choose.choice(ps),
             choose.choice((None, 0, 0.02, 0.3, 1)))
            for _ in range(500)
        ]  # fmt: skip
        rows = [[None if x == -torch.inf else x for x in row] for row in logits.tolist()]
        theirs = arithmetic(
            """return a.rows.map((row, i) => {
                const [temperature, topK, topP, minP] = a.knobs[i];
                const logits = Float64Array.from(row, (x) => x === null ? -Infinity : x);
                return Array.from(m.nextTokenProbabilities(logits, { temperature, topK, topP, minP }));
            });""",
            {"rows": rows, "knobs": knobs},
        )
        for row, knob, found in zip(logits, knobs, theirs, strict=True):
            ours, found = next_token_probabilities(row, *knob), torch.tensor(found, dtype=torch.double)
            assert torch.equal(ours > 0, found > 0), knob
            assert torch.allclose(ours, found, rtol=0, atol=1e-12), knob


def test_entropy_in_javascript_is_pytorchs(arithmetic):
    p = torch.randn(200, 50, dtype=torch.double).mul(4).softmax(-1)
    p[0] = torch.eye(50)[3]
    bits = arithmetic("return a.map((row) => m.entropyBits(Float64Array.from(row)));", p.tolist())
    assert torch.allclose(torch.tensor(bits, dtype=torch.double), entropy_bits(p), rtol=0, atol=1e-12)


def test_parameters_in_javascript_are_pythons_to_the_last_digit(arithmetic):
    choose = random.Random(0)
    configs = list(CONFIGS.values())
    for _ in range(500):
        heads = choose.randint(1, 128)
        configs.append(
            GPTConfig(
                vocab_size=choose.randint(1, 300_000), context_length=choose.randint(1, 200_000),
                d_model=heads * choose.randint(1, 128), n_heads=heads, n_layers=choose.randint(1, 200),
                tie_weights=choose.random() < 0.5,
            )
        )  # fmt: skip
    asked = [
        {"vocabSize": c.vocab_size, "contextLength": c.context_length, "dModel": c.d_model, "nLayers": c.n_layers,
         "tieWeights": c.tie_weights}
        for c in configs
    ]  # fmt: skip
    assert arithmetic("return a.map(m.paramsByGroup);", asked) == [params_by_group(config) for config in configs]


def test_sizes_of_parameters_in_javascript_are_those_of_pythons_shapes(arithmetic):
    configs = [config for config in CONFIGS.values() if config.n_layers < 50]
    configs += [CONFIGS["mini"].but(bias=False), CONFIGS["mini"].but(tie_weights=False, d_ff=7)]
    found = arithmetic("return a.map(m.parameterSizes);", [asdict(config) for config in configs])
    assert found == [[math.prod(shape) for shape in parameter_shapes(config).values()] for config in configs]


def test_the_order_of_scores_in_javascript_is_pytorchs(arithmetic):
    """With equal scores too, the likeliest token is the first of them, as in Python."""
    rows = [*torch.randn(20, 50).tolist(), *torch.randint(3, (20, 50)).float().tolist()]
    orders = arithmetic("return a.map((row) => [...m.ascending(Float64Array.from(row))]);", rows)
    for row, order in zip(rows, orders, strict=True):
        assert order == torch.tensor(row).argsort(descending=True, stable=True).flip(0).tolist()
        assert order[-1] == next_token_probabilities(torch.tensor(row), temperature=0).argmax()


def test_draws_in_javascript_are_distributed_as_the_probabilities(arithmetic):
    p = torch.tensor([0.4, 0.0, 0.25, 0.2, 0.1, 0.0, 0.049, 0.001], dtype=torch.double)
    body = """const next = m.drawer(Float64Array.from(a.p), m.randomNumbers(a.seed));
              return Array.from({ length: 50000 }, next);"""
    drawn = {seed: torch.tensor(arithmetic(body, {"p": p.tolist(), "seed": seed})) for seed in (0, 1, 2, 2**31 - 1)}
    for tokens in drawn.values():
        assert p_value(tokens.bincount(minlength=8), p) > 1e-3
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], torch.tensor(arithmetic(body, {"p": p.tolist(), "seed": 0})))


# The widgets on the built site, with nothing but the site to be reached


#: The first widget of a page that is neither an exercise nor the questions.
EXPLORER = ".mgw:not(.mgw-quiz):not(:has(.mgw-editor))"


@pytest.fixture
def shown(browser, address):
    """A function that opens a page of the site; everything else is blocked, and anything wrong fails the test."""
    opened = []

    def open_page(name, **options):
        watched = Watched(browser, address, **options)
        watched.context.route(lambda url: not url.startswith((address, "data:", "blob:")), lambda route: route.abort())
        opened.append(watched)
        return watched.open(name)

    yield open_page
    for watched in opened:
        assert watched.wrong == [] or not watched.scripts
        watched.context.close()


def stored_state(name, widget):
    """The first stored state of a kind of widget in a chapter, its binary parts decoded."""
    notebook = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))
    for stored in notebook["metadata"]["widgets"][STATE]["state"].values():
        if stored["state"].get("_anywidget_id", "").endswith(widget):
            return stored["state"] | {b["path"][0]: base64.b64decode(b["data"]) for b in stored.get("buffers", [])}
    raise AssertionError(f"no {widget} in {name}")


def floats(data):
    return torch.frombuffer(bytearray(data), dtype=torch.float32).double()


MOVE = """async (moves) => {
  const root = document.querySelector("EXPLORER");
  const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const results = [];
  for (const move of moves) {
    for (const [trait, share] of Object.entries(move)) {
      const input = root.querySelector(`[data-trait=${trait}]`);
      input.value = Math.round(share * input.max);
      input.dispatchEvent(new Event("input"));
    }
    await frames();
    const sliders = Object.fromEntries([...root.querySelectorAll("[data-trait]")].map(
      (input) => [input.dataset.trait, input.getAttribute("aria-valuetext")]));
    const rows = [...root.querySelectorAll("tbody tr")].map((row) => ({ ...row.dataset, text: row.innerText }));
    results.push({ sliders, rows, ...root.dataset, text: root.innerText });
  }
  return results;
}""".replace("EXPLORER", EXPLORER)


def test_the_state_in_the_page_is_the_models(shipped):
    model, tokenizer = copy.deepcopy(shipped[0]).double(), shipped[1]
    state = stored_state("book/06_sampling", "SamplingExplorer")
    for text, row in zip(state["texts"], floats(state["logits"]).view(-1, state["vocab_size"]), strict=True):
        scores = next_logits(model, torch.tensor([tokenizer.encode(text).ids]))[0]
        assert torch.allclose(row, scores, rtol=0, atol=1e-5)


def test_at_400_random_settings_the_page_shows_pytorchs_probabilities(shown):
    page = shown("book/06_sampling")
    state = stored_state("book/06_sampling", "SamplingExplorer")
    V, logits = state["vocab_size"], floats(state["logits"]).view(len(state["texts"]), -1)
    choose = random.Random(1)
    compared = 0
    for text in range(len(state["texts"])):
        page.locator(f"{EXPLORER} select").select_option(index=text)
        moves = [
            {"temperature": choose.choice((0, 1, choose.random())), "top_k": choose.choice((1, choose.random() ** 2)),
             "top_p": choose.choice((1, choose.random())), "min_p": choose.choice((0, choose.random() ** 3))}
            for _ in range(80)
        ]  # fmt: skip
        for result in page.evaluate(MOVE, moves):
            said = {name: value.replace(",", "") for name, value in result["sliders"].items()}
            temperature = float(said["temperature"])
            top_k = None if said["top_k"] == "off" else int(said["top_k"])
            top_p, min_p = (None if said[name] == "off" else float(said[name]) for name in ("top_p", "min_p"))
            p = next_token_probabilities(logits[text], temperature, top_k, top_p, min_p)
            uncut = next_token_probabilities(logits[text], temperature)
            ids = state["shown_ids"][text]
            others = torch.ones(V, dtype=torch.bool).index_fill(0, torch.tensor(ids), False)
            expected = [*p[ids].tolist(), p[others].sum().item()]
            found = [float(row["probability"]) for row in result["rows"]]
            assert found == pytest.approx(expected, rel=0, abs=1e-6), said
            assert sum(found) == pytest.approx(1, abs=1e-9)
            cut = torch.where(p > 0, 0, uncut)
            assert [float(row["cut"]) for row in result["rows"]] == pytest.approx(
                [*cut[ids].tolist(), cut[others].sum().item()], rel=0, abs=1e-6
            )
            assert int(result["survivors"]) == (p > 0).sum()
            assert float(result["kept"]) == pytest.approx(uncut[p > 0].sum().item(), abs=1e-6)
            assert float(result["entropyBits"]) == pytest.approx(entropy_bits(p).item(), abs=1e-6)
            assert f"{(p > 0).sum():,} of {V:,} tokens can be drawn" in result["text"]
            compared += 1
    assert compared == 400


def test_at_200_random_settings_the_page_counts_as_python_does(shown):
    page = shown("book/03_parameters")
    choose = random.Random(2)
    names = ("n_layers", "d_model", "n_heads", "vocab_size", "context_length")
    for tied in (True, False):
        page.locator(f"{EXPLORER} input[type=checkbox]").set_checked(tied)
        moves = [{name: choose.random() for name in names} for _ in range(100)]
        for result in page.evaluate(MOVE, moves):
            sizes = {name: int(value.replace(",", "")) for name, value in result["sliders"].items()}
            config = GPTConfig(**sizes, tie_weights=tied)  # which also says that the heads divide the width
            assert f"{count_params(config):,}" in result["text"]
            rows = {row["text"].split("\t")[0].strip(): row["text"].split("\t")[1] for row in result["rows"]}
            assert {name: int(value.replace(",", "")) for name, value in rows.items()} == params_by_group(config)


def test_presets_are_the_named_configurations(shown):
    page = shown("book/03_parameters")
    total, chooser = page.locator(".mgw-total"), page.locator(".mgw select")
    assert total.inner_text() == "301,771,520" and chooser.input_value() == "homework"
    for name, config in CONFIGS.items():
        chooser.select_option(name)
        page.wait_for_function(
            "(text) => document.querySelector('.mgw-total').textContent === text", arg=f"{count_params(config):,}"
        )
    page.locator("[data-trait=n_layers]").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('{EXPLORER} select').value === ''")


def test_the_page_shows_where_the_memory_goes(shown):
    page = shown("book/04_memory")
    root, total = page.locator(EXPLORER).first, page.locator(".mgw-total")
    homework = CONFIGS["homework"]
    for attention in ("explicit", "fused"):
        root.get_by_label("Attention").select_option(attention)
        batch = root.get_by_label("Batch size B")
        batch.focus()
        page.keyboard.press("Home")
        for sequences in (1, 2, 3):
            memory = training_memory(homework, sequences, attention=attention, device="cuda")
            page.wait_for_function(
                "([root, bytes]) => root.innerText.includes(bytes)",
                arg=[root.element_handle(), f"{memory.peak.saved_bytes:,}"],
            )
            assert batch.get_attribute("aria-valuetext") == f"{sequences}"
            assert f"{memory.peak_bytes / 1e9:.2f} GB" in total.inner_text() and memory.peak.name in root.inner_text()
            page.keyboard.press("ArrowRight")


def test_the_page_shows_the_heads_weights(shown):
    page = shown("book/01_attention")
    state = stored_state("book/01_attention", "AttentionExplorer")
    T = len(state["tokens"])
    weights = floats(state["weights"]).view(state["n_layers"], state["n_heads"], T, T)
    root = page.locator(EXPLORER).first
    for layer, head in ((1, 2), (3, 3), (4, 1)):
        root.get_by_role("button", name=f"layer {layer}, head {head}").click()
        for position in (0, 5, T - 1):
            chip = root.locator(".mgw-chip").nth(position)
            chip.click()
            page.wait_for_function("(chip) => chip.getAttribute('aria-pressed') === 'true'", arg=chip.element_handle())
            found = [
                float(w) for w in root.locator(".mgw-chip").evaluate_all("(all) => all.map((c) => c.dataset.weight)")
            ]
            assert found == pytest.approx(weights[layer - 1, head - 1, position].tolist(), rel=0, abs=1e-6)
            most = weights[layer - 1, head - 1, position].argmax().item()
            assert f"looks most at “{state['tokens'][most].replace(' ', '·')}”" in root.inner_text()


def test_tokens_can_be_hovered_and_walked_over(shown):
    page = shown("book/01_attention")
    root = page.locator(EXPLORER).first
    chips = root.locator(".mgw-chip")
    chips.nth(4).hover()
    pressed = "(chip) => chip.getAttribute('aria-pressed') === 'true'"
    page.wait_for_function(pressed, arg=chips.nth(4).element_handle())
    chips.nth(4).focus()
    for key, place in (("ArrowRight", 5), ("ArrowDown", 6), ("ArrowLeft", 5), ("ArrowUp", 4), ("Home", 0), ("End", -1)):
        page.keyboard.press(key)
        page.wait_for_function(pressed, arg=chips.nth(place).element_handle())
    maps = root.locator(".mgw-map")
    maps.nth(0).click()
    for key, name in (("ArrowRight", "layer 1, head 2"), ("ArrowDown", "layer 2, head 2"), ("End", "layer 4, head 7")):
        page.keyboard.press(key)
        page.wait_for_function(pressed, arg=root.get_by_role("button", name=name).element_handle())
    assert root.locator("[tabindex='0']").count() == 2  # one stop for the maps, one for the tokens


@pytest.mark.parametrize("page_name", ["book/03_parameters", "book/06_sampling"])
def test_every_slider_moves_by_keyboard_mouse_and_touch(page_name, shown):
    page, phone = shown(page_name), shown(page_name, width=360, has_touch=True, is_mobile=True)
    sliders = page.locator(f"{EXPLORER} input[type=range]")
    assert sliders.count() == {"book/03_parameters": 5, "book/06_sampling": 4}[page_name]
    for i in range(sliders.count()):
        slider = sliders.nth(i)
        top, name = int(slider.get_attribute("max")), slider.get_attribute("data-trait")
        assert page.get_by_label(re.compile(slider.evaluate("(s) => s.labels[0].innerText.trim()"))).count()
        before = page.locator(EXPLORER).inner_text()
        slider.focus()
        values = []
        for key in ("Home", "ArrowRight", "ArrowUp", "PageUp", "End", "ArrowLeft"):
            page.keyboard.press(key)
            values.append(int(slider.input_value()))
        assert values[:3] == [0, 1, 2] and values[3] > 2 and values[4:] == [top, top - 1], name
        page.wait_for_function(f"(text) => document.querySelector('{EXPLORER}').innerText !== text", arg=before)
        box = slider.bounding_box()
        slider.click(position={"x": 0.3 * box["width"], "y": box["height"] / 2})
        top = int(slider.get_attribute("max"))  # the number of possible heads depends on the width
        assert 0.2 * top <= int(slider.input_value()) <= 0.4 * top, name
        thumb = phone.locator(f"{EXPLORER} input[type=range]").nth(i)
        box = thumb.bounding_box()
        assert box["height"] >= 24
        thumb.tap(position={"x": 0.6 * box["width"], "y": box["height"] / 2})
        top = int(thumb.get_attribute("max"))
        assert 0.5 * top <= int(thumb.input_value()) <= 0.7 * top, name


def drawn(page):
    page.wait_for_function(f"document.querySelector('{EXPLORER}').dataset.drawn === '1000'")
    return page.locator(f"{EXPLORER} tbody tr").evaluate_all("(rows) => rows.map((r) => Number(r.dataset.drawn))")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_thousand_draws_can_be_repeated_and_are_gone_when_a_slider_moves(motion, shown):
    page = shown("book/06_sampling", reduced_motion=motion)
    button, seed = page.get_by_role("button", name="Draw 1,000"), page.get_by_role("spinbutton", name="Seed")
    button.click()
    first = drawn(page)
    assert sum(first) == 1000
    shares = [
        float(p)
        for p in page.locator(f"{EXPLORER} tbody tr").evaluate_all("(r) => r.map((x) => x.dataset.probability)")
    ]
    assert p_value(torch.tensor(first), torch.tensor(shares)) > 1e-3
    seed.fill("7")
    seed.press("Tab")
    page.wait_for_function(f"document.querySelector('{EXPLORER}').dataset.drawn === undefined")
    button.click()
    other = drawn(page)
    seed.fill("0")
    seed.press("Tab")
    button.click()
    assert drawn(page) == first != other
    page.locator("[data-trait=temperature]").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"document.querySelector('{EXPLORER} tbody tr').dataset.drawn === ''")
    seed.fill("-5")
    seed.press("Tab")
    assert seed.input_value() == "0"


def test_what_is_cut_is_shown_as_cut(shown):
    page = shown("book/06_sampling")
    page.locator("[data-trait=top_k]").focus()
    page.keyboard.press("Home")
    page.wait_for_function(f"document.querySelector('{EXPLORER}').dataset.survivors === '1'")
    rows = page.locator(f"{EXPLORER} tbody tr")
    assert "100.0\N{NO-BREAK SPACE}%" in rows.nth(0).inner_text() and "cut" in rows.nth(1).inner_text()
    assert rows.nth(1).locator(".mgw-cut").bounding_box()["width"] > 3 and rows.nth(0).locator(".mgw-cut").is_hidden()
    assert "mgw-out" in rows.nth(-1).get_attribute("class")


def test_screen_readers_are_told_once_the_slider_rests(shown):
    page = shown("book/06_sampling")
    spoken = page.locator(f"{EXPLORER} p[role=status]")
    said = f"document.querySelector('{EXPLORER} p[role=status]').textContent"
    page.wait_for_timeout(800)
    assert spoken.text_content() == ""  # nobody has touched it yet
    page.locator("[data-trait=top_p]").focus()
    page.evaluate(
        f"window.heard = []; new MutationObserver(() => heard.push({said})).observe("
        f"document.querySelector('{EXPLORER} p[role=status]'), "
        "{ childList: true, characterData: true, subtree: true })"
    )
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{said}.includes('of 1,024 tokens can be drawn')")
    assert "·thee" in spoken.text_content() and "Entropy" in spoken.text_content()
    page.get_by_role("button", name="Draw 1,000").click()
    page.wait_for_function(f"{said}.startsWith('1,000 drawn: ·thee')")
    assert page.evaluate("heard.length") == 2
    assert page.locator(f"{EXPLORER} output").count() == 0  # each would be a live region of its own


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_moved_widgets_are_accessible(scheme, browser, address):
    with Watched(browser, address, scheme=scheme) as watched:
        page = watched.open("book/06_sampling")
        page.evaluate(MOVE, [{"top_p": 0.5}])
        page.get_by_role("button", name="Draw 1,000").click()
        drawn(page)
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize(
    "name, words", [("01_attention", "who looks at whom"), ("03_parameters", "301,771,520"), ("06_sampling", "31.8 %")]
)
def test_without_scripts_a_sentence_stands_in(name, words, shown):
    page = shown(f"book/{name}", java_script_enabled=False)
    assert page.locator(".mg-no-script", has_text=words).first.is_visible()


# What goes wrong is said: on a small site of its own


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    """A function that builds a site of one executed notebook, as the course is built."""
    folder = tmp_path_factory.mktemp("small")
    for part in ("_config.yml", "book/ext", "book/site_static", "book/references.bib"):
        target = folder / part
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, target)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    path = folder / "book" / "page.ipynb"
    cells = [
        nbformat.v4.new_code_cell(chapters.colab_cell()),
        nbformat.v4.new_markdown_cell("# A page"),
        nbformat.v4.new_code_cell(
            "import torch\nfrom minigpt.widgets import AttentionExplorer, SamplingExplorer\n"
            f"nasty = {NASTY!r}\n"
            "explorer = SamplingExplorer({'<b>after</b> </script>': torch.arange(6.0)}, nasty)\nexplorer"
        ),
        nbformat.v4.new_code_cell("explorer"),
        nbformat.v4.new_code_cell("AttentionExplorer([torch.eye(6)[None]], nasty)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    chapters.run(path)

    def build(change=lambda notebook: None):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        before = json.dumps(notebook)
        change(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")
        command = [Path(sys.executable).parent / "jupyter-book", "build", folder, "-W", "--keep-going", "--all"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        path.write_text(before, encoding="utf-8")
        return done, folder / "_build" / "html"

    return build


def test_a_token_full_of_html_stays_text(small_site, browser):
    done, site = small_site()
    assert done.returncode == 0, done.stderr[-2000:]
    with Watched(browser, f"file://{site}") as watched:
        page = watched.open("book/page")
        assert watched.wrong == []
        assert page.title() != "owned" and page.locator(".mgw").count() == 3
        tokens = page.locator(".mgw").first.locator("tbody th").all_inner_texts()
        assert set(NASTY) == {token.replace("·", " ") for token in tokens if " more" not in token} - {""}
        chips = page.locator(".mgw").nth(2).locator(".mgw-chip .mgw-code").all_inner_texts()
        assert [chip.replace("·", " ") for chip in chips] == NASTY
        assert page.locator(".mgw script, .mgw img, .mgw b").count() == 0
        # Two views of one widget move together.
        page.locator("[data-trait=temperature]").first.fill("150")
        page.wait_for_function("document.querySelectorAll('[data-trait=temperature]')[1].value === '150'")
    with Watched(browser, f"file://{site}", java_script_enabled=False) as watched:
        watched.page.goto(f"file://{site}/book/page.html")
        sentences = watched.page.locator(".mg-no-script")
        assert sentences.count() == 3 and sentences.first.is_visible()
        assert (
            "Here a widget, which needs JavaScript, shows what comes after '<b>after</b>"
            in sentences.first.inner_text()
        )
        assert "'&amp;', with 63.4 %" in sentences.first.inner_text()


@pytest.mark.long
def test_a_notebook_without_widget_state_is_caught_before_the_build(small_site):
    done, _ = small_site(lambda notebook: notebook["metadata"].pop("widgets"))
    assert done.returncode != 0
    assert "page.ipynb: cell 2 shows a widget whose state is not stored" in done.stdout + done.stderr

    def forget_one(notebook):
        state = notebook["metadata"]["widgets"][STATE]["state"]
        state.pop(notebook["cells"][4]["outputs"][0]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"])

    done, _ = small_site(forget_one)
    assert done.returncode != 0 and "page.ipynb: cell 4 shows a widget" in done.stdout + done.stderr


def test_a_widget_that_cannot_live_says_so_on_the_page(browser, tmp_path):
    state = {
        "1": {"model_module": "anywidget", "state": {"_esm": "export default { render() { throw new Error('ill') } }"}}
    }
    view = '<script type="application/vnd.jupyter.widget-view+json">{"model_id": "%s"}</script>'
    (tmp_path / "page.html").write_text(
        f'<body><script type="{STATE}">{json.dumps({"state": state})}</script>{view % 1}{view % 2}'
        f"<script>{RUNTIME.read_text(encoding='utf-8')}</script>"
    )
    with Watched(browser, f"file://{tmp_path}") as watched:
        alerts = watched.open("page").get_by_role("alert").all_inner_texts()
    assert alerts == [
        "A widget should stand here and does not: ill",
        "A widget should stand here and does not: nothing is stored for the widget 2",
    ]
