"""MemoryExplorer: its arithmetic against Python's, to the byte, and itself on a page, moved as readers do."""

import json
import random
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import traitlets
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from watched import Watched

import minigpt.widgets as widgets
from minigpt import CONFIGS, GPTConfig
from minigpt.config import ACTIVATIONS
from minigpt.memory import OPTIMIZERS, PRECISIONS, STAGES, in_gigabytes, training_memory
from minigpt.page import plots
from minigpt.widgets import MemoryExplorer

BROWSER = Path(widgets.__file__).parents[1] / "browser"
RUNTIME = (ROOT / "book" / "site_static" / "widgets.js").read_text(encoding="utf-8")
PARTS = ("parameters", "gradients", "optimizer", "saved", "temporaries")


# The Python side


def test_the_memory_is_that_of_the_settings():
    explorer = MemoryExplorer("gpt2", batch_size=7, sequence_length=100, precision="bf16", checkpointing=True)
    assert explorer.memory == training_memory(
        CONFIGS["gpt2"], 7, 100, "bf16", "adamw", "explicit", checkpointing=True, device="cuda"
    )
    assert in_gigabytes(explorer.memory.peak_bytes) in repr(explorer)
    assert f"“{explorer.memory.peak.name}”" in explorer.description
    own = CONFIGS["mini"].but(dropout=0.1, bias=False)
    explorer = MemoryExplorer(own, device="cpu")
    assert explorer.config == own and explorer.config_name == "your own"
    assert explorer.memory == training_memory(own, 1)
    assert MemoryExplorer(CONFIGS["gpt2"]).config_name == "gpt2"


def test_a_shorter_context_takes_the_whole_of_it():
    explorer = MemoryExplorer("gpt2", sequence_length=512)
    explorer.config_name = "mini"
    assert explorer.sequence_length is None and explorer.memory == training_memory(CONFIGS["mini"], 1, device="cuda")
    explorer.sequence_length = 64
    explorer.config_name = "gpt2"
    assert explorer.sequence_length == 64
    explorer.set_state({"sequence_length": 1_024, "config_name": "gpt2-xl"})  # as a front end would
    assert explorer.sequence_length == 1_024


@pytest.mark.parametrize(
    "trait, value, message",
    [
        ("config_name", "gpt5", "config_name must be one of tiny, mini, shakespeare"),
        ("sequence_length", 1_025, "sequence_length must be at most context_length=1024; got 1025"),
        ("sequence_length", 0, "sequence_length must be at least 1; got 0"),
        ("batch_size", 0, "batch_size must be at least 1; got 0"),
        ("batch_size", 4_097, "batch_size must be at most 4,096; got 4097"),
        ("batch_size", True, "batch_size must be an int; got True (bool)"),
        ("sequence_length", True, "sequence_length must be an int; got True (bool)"),
        ("sequence_length", 10**30, f"sequence_length must be at most 1,000,000,000; got {10**30}"),
        ("precision", "fp8", "precision must be one of fp32"),
        ("optimizer", "lion", "optimizer must be one of adamw"),
        ("attention", "flash", "attention must be one of explicit, fused"),
        ("device", "tpu", "device must be one of cpu, cuda"),
        ("checkpointing", "yes", "'checkpointing' trait"),
    ],
)
def test_a_refused_setting_leaves_the_one_before(trait, value, message):
    explorer = MemoryExplorer("homework")
    before = getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError) as caught:
        setattr(explorer, trait, value)
    assert message in str(caught.value) and getattr(explorer, trait) == before
    with pytest.raises(traitlets.TraitError):
        MemoryExplorer("homework", **{trait: value} if trait != "config_name" else {"batch_size": -1})


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: MemoryExplorer(5), TypeError, "config must be a GPTConfig or one of tiny, mini"),
        (lambda: MemoryExplorer("gpt5"), ValueError, "config must be a GPTConfig or one of tiny, mini"),
        (lambda: MemoryExplorer("mini", batch=2), TypeError, "settings must be among attention, batch_size"),
        (lambda: MemoryExplorer("mini", device="cpu", attention="fused", precision="bf16"), ValueError, "attention"),
        (lambda: MemoryExplorer(CONFIGS["gpt3-175b"].but(n_layers=1_000)), ValueError, "less than 2^53 bytes"),
    ],
)
def test_what_cannot_be_shown_is_named(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


def test_settings_that_become_impossible_together_raise_when_asked():
    explorer = MemoryExplorer("mini", precision="amp-fp16")
    explorer.device = "cpu"
    with pytest.raises(ValueError, match="precision must be fp32, amp-bf16 or bf16 on a CPU"):
        _ = explorer.memory


# The arithmetic alone, in the browser


def random_config(choose):
    n_heads = choose.randint(1, 16)
    return GPTConfig(
        vocab_size=choose.choice((1, 65, 5_000, 50_257, 300_000)),
        context_length=choose.choice((1, 33, 1_000, 4_096)),
        d_model=n_heads * choose.randint(1, 128),
        n_heads=n_heads,
        n_layers=choose.choice((1, 2, 3, 12, 50)),
        d_ff=choose.choice((None, 1, 999, 20_000)),
        dropout=choose.choice((0.0, 0.1)),
        attention_dropout=choose.choice((0.0, 0.1)),
        bias=choose.random() < 0.5,
        tie_weights=choose.random() < 0.5,
        activation=choose.choice(ACTIVATIONS),
    )


def random_settings(choose, config):
    return {
        "batch_size": choose.choice((1, 2, 3, 16, 512)),
        "sequence_length": choose.choice((None, choose.randint(1, config.context_length))),
        "precision": choose.choice(tuple(PRECISIONS)),
        "optimizer": choose.choice(OPTIMIZERS),
        "attention": choose.choice(("explicit", "fused")),
        "checkpointing": choose.random() < 0.5,
        "device": choose.choice(("cpu", "cuda")),
    }


def stages_of(memory):
    """The stages as JavaScript has them."""
    return [
        {"name": stage.name, "detail": stage.detail, "total": stage.total_bytes}
        | {part: getattr(stage, f"{part}_bytes") for part in PARTS}
        for stage in memory.stages
    ]


def test_every_part_of_every_stage_in_javascript_is_pythons_to_the_byte(arithmetic):
    choose = random.Random(0)
    configs = [*CONFIGS.values(), *(random_config(choose) for _ in range(585))]
    asked = [[asdict(config), random_settings(choose, config)] for config in configs]
    asked[0][1] |= {"batch_size": 4_096}
    for _, settings in asked:  # the widget has no control for it
        settings |= {"accumulating": choose.random() < 0.3}
    found = arithmetic(
        """return a.map(([config, settings]) => {
            if (m.impossible(config, settings)) return null;
            const stages = m.stepStages(config, settings);
            return [stages, m.fullest(stages)];
        });""",
        asked,
    )
    possible = 0
    for config, (_, settings), theirs in zip(configs, asked, found, strict=True):
        try:
            memory = training_memory(config, **settings)
        except ValueError:
            assert theirs is None, (config, settings)
            continue
        ours = stages_of(memory)
        assert theirs == [ours, ours[memory.stages.index(memory.peak)]], (config, settings)
        possible += 1
    assert 400 < possible < 580
    assert arithmetic("return [m.STAGES, m.PARTS];") == [list(STAGES), list(PARTS)]


def test_the_largest_step_that_can_be_asked_for_is_counted_exactly(arithmetic):
    config = CONFIGS["gpt3-175b"].but(dropout=0.1)
    settings = random_settings(random.Random(0), config) | {
        "batch_size": 4_096, "sequence_length": None, "precision": "fp32", "attention": "explicit",
        "checkpointing": False, "device": "cpu",
    }  # fmt: skip
    ours = stages_of(training_memory(config, **settings))
    assert 10**15 < max(stage["total"] for stage in ours) < 2**53
    assert arithmetic("return m.stepStages(...a);", [asdict(config), settings]) == ours


# The widget on a page, with nothing but the page to be reached


@pytest.fixture
def shown(browser, tmp_path):
    """A function that opens a page with a widget stored in it; anything wrong fails the test."""
    opened = []

    def open_page(explorer, **options):
        stored = {"state": {"1": {"model_module": "anywidget", "state": explorer.get_state()}}}
        text = json.dumps(stored).replace("</", "<\\/")
        (tmp_path / "page.html").write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Memory</title>'
            '<meta name="viewport" content="width=device-width">'
            "<style>:root { color-scheme: light dark; font-family: DejaVu Sans, sans-serif; "
            "color: light-dark(#222832, #ced6dd); background: light-dark(#fff, #14181e) } "
            "body { max-width: 45rem; margin: 0 auto; padding: 0 1rem }"
            "</style><main><h1>Memory</h1>"
            '<script type="application/vnd.jupyter.widget-view+json">{"model_id": "1"}</script></main>'
            f'<script type="application/vnd.jupyter.widget-state+json">{text}</script><script>{RUNTIME}</script>',
            encoding="utf-8",
        )
        watched = Watched(browser, f"file://{tmp_path}", **options)
        opened.append(watched)
        return watched.open("page")

    yield open_page
    for watched in opened:
        assert watched.wrong == []
        watched.context.close()


MOVE = """async (moves) => {
  const root = document.querySelector(".mgw");
  const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const controls = [...root.querySelectorAll("[data-trait]")];
  const results = [];
  for (const move of moves) {
    for (const [trait, value] of Object.entries(move)) {
      const input = root.querySelector(trait === "config_name" ? "select" : `[data-trait=${trait}]`);
      if (input.type === "range") input.value = Math.round(value * input.max);
      else if (input.type === "checkbox") input.checked = value;
      else input.value = value;
      input.dispatchEvent(new Event(input.type === "range" ? "input" : "change"));
    }
    await frames();
    const sliders = Object.fromEntries(controls.filter((input) => input.type === "range").map(
      (input) => [input.dataset.trait, Number(input.getAttribute("aria-valuetext").replaceAll(",", ""))]));
    const rows = [...root.querySelectorAll(".mgw-stages tbody tr:not([hidden])")].map((row) => ({
      ...row.dataset, peak: row.matches(".mgw-peak"), cells: [...row.cells].map((cell) => cell.innerText),
      said: row.querySelector("[role=img]").ariaLabel, width: row.querySelector(".mgw-stack").offsetWidth,
      widths: [...row.querySelectorAll(".mgw-part")].map((part) => part.getBoundingClientRect().width) }));
    const parts = [...root.querySelectorAll(".mgw-plain tbody tr")].map(
      (row) => [...row.cells].map((cell) => cell.innerText));
    const visible = (selector) => [...root.querySelectorAll(selector)].filter((node) => node.checkVisibility()).map(
      (node) => node.innerText);
    results.push({ sliders, rows, parts, text: root.innerText, headline: visible(".mgw-headline"),
      refusal: visible(".mgw-refusal"), cards: visible(".mgw-cards li") });
  }
  return results;
}"""


def test_at_120_random_settings_the_page_shows_pythons_bytes(shown):
    page = shown(MemoryExplorer("homework"))
    choose = random.Random(3)
    moves = []
    for _ in range(120):
        name = choose.choice(list(CONFIGS))
        settings = random_settings(choose, CONFIGS[name])
        sizes = {"batch_size": choose.random(), "sequence_length": choose.choice((1, choose.random()))}
        moves.append({"config_name": name, **settings, **sizes})
    refused = 0
    for move, result in zip(moves, page.evaluate(MOVE, moves), strict=True):
        settings = {name: value for name, value in (move | result["sliders"]).items() if name != "config_name"}
        try:
            memory = training_memory(CONFIGS[move["config_name"]], **settings)
        except ValueError:
            assert result["refusal"][0].startswith("No such step. ")
            assert not result["headline"] and not result["cards"] and "B" not in result["text"].split("No such step")[1]
            refused += 1
            continue
        assert result["refusal"] == []
        check_result(result, memory, settings["device"])
    assert 10 < refused < 60


def check_result(result, memory, device):
    """All that a page says of a step against what Python says."""
    peak, total = memory.peak, memory.peak_bytes
    scale, unit, binary, decimals = (1e9, "GB", 2**30, 2) if total >= 1e9 else (1e6, "MB", 2**20, 1)

    def rounded(size):
        return pytest.approx(size, abs=0.5001 * 10**-decimals)

    said = re.fullmatch(r"([\d,.]+) (.B) \(([\d,.]+) (.iB)\) at the fullest stage: (.*)", result["headline"][0])
    assert [said[2], said[4], said[5]] == [unit, unit[0] + "iB", peak.name]
    assert [number(said[1]), number(said[3])] == [rounded(total / scale), rounded(total / binary)]
    fullest = [max((m for m in memory.stages if m.name == name), key=lambda m: m.total_bytes, default=None)
               for name in STAGES]  # fmt: skip
    for row, stage in zip(result["rows"], filter(None, fullest), strict=True):
        sizes = [getattr(stage, f"{part}_bytes") for part in PARTS]
        assert row["cells"][0] == stage.name and row["peak"] == (stage is peak)
        assert [int(row[part]) for part in PARTS] == sizes
        assert number(row["cells"][2]) == rounded(stage.total_bytes / scale)
        assert [number(size) for size in re.findall(r"([\d,.]+) .B", row["said"])] == [
            rounded(n / scale) for n in sizes
        ]
        assert row["widths"] == pytest.approx([row["width"] * size / total for size in sizes], abs=4)
    assert [number(size) for _, size, _ in result["parts"]] == [getattr(peak, f"{part}_bytes") for part in PARTS]
    assert sum(number(share.rstrip("\N{NO-BREAK SPACE}%")) for *_, share in result["parts"]) == pytest.approx(
        100, abs=0.3
    )
    if device == "cpu":
        assert result["cards"] == [] and len(result["headline"]) == 1
        return
    sizes = [number(card.split(" GB")[0]) for card in result["cards"]]
    assert sizes == [8, 12, 16, 24, 40, 80, 141]
    for size, card in zip(sizes, result["cards"], strict=True):
        assert ("too small" in card) == (total > size * 1e9)
        if total <= size * 1e9:
            assert number(card.split("\n")[1].removesuffix(" left")) == pytest.approx(size - total / 1e9, abs=0.0501)
    fitting = [size for size in sizes if total <= size * 1e9]
    assert result["headline"][1] == (
        f"The tensors fit on a GPU of {fitting[0]:g} GB." if fitting else "The tensors fit on none of these GPUs."
    )


def number(text):
    return float(text.replace(",", ""))


def test_impossible_combinations_say_so_and_nothing_else(shown):
    page = shown(MemoryExplorer("homework"))
    on_cpu = {"device": "cpu", "attention": "fused"}
    moves = [on_cpu | {"precision": "amp-fp16"}, {"precision": "bf16"}, {"precision": "fp32"}, {"device": "cuda"}]
    found = [result["refusal"] for result in page.evaluate(MOVE, moves)]
    assert found == [
        ["No such step. The course trains in fp16 on GPUs only. On a CPU, choose fp32, amp-bf16 or bf16."],
        ["No such step. On a CPU in 16 bits, the course's attention is always the explicit one. Choose it, or fp32."],
        [],
        [],
    ]
    page = shown(MemoryExplorer(CONFIGS["mini"].but(dropout=0.1)))
    (result,) = page.evaluate(MOVE, [on_cpu])
    assert result["refusal"] == [
        "No such step. On a CPU, no fused kernel drops attention weights. Choose explicit attention."
    ]


def test_a_change_of_the_model_keeps_a_length_that_is_possible(shown):
    page = shown(MemoryExplorer("gpt2", sequence_length=512))
    names = ("gpt3-xl", "mini", "gpt2")
    found = page.evaluate(MOVE, [{"config_name": name} for name in names])
    assert [result["sliders"]["sequence_length"] for result in found] == [512, 128, 1_024]
    page = shown(MemoryExplorer(CONFIGS["mini"].but(context_length=10), batch_size=7))
    (result,) = page.evaluate(MOVE, [{}])
    assert result["sliders"] == {"batch_size": 7, "sequence_length": 10}
    assert page.locator(".mgw select").first.input_value() == "your own"


def test_every_control_has_a_name_and_moves_by_keyboard(shown):
    page = shown(MemoryExplorer("homework"))
    total = page.locator(".mgw-total")
    page.keyboard.press("Tab")
    for role, name, key in (
        ("combobox", "Model", "ArrowDown"),
        ("slider", "Batch size B", "ArrowRight"),
        ("slider", "Sequence length T", "ArrowLeft"),
        ("combobox", "Precision", "ArrowDown"),
        ("combobox", "Optimizer", "ArrowDown"),
        ("combobox", "Attention", "ArrowDown"),
        ("combobox", "Device", "ArrowDown"),
        ("checkbox", "checkpointing", "Space"),
    ):
        control = page.get_by_role(role, name=name, exact=True)
        assert control.evaluate("(node) => node === document.activeElement"), name
        assert control.bounding_box()["height"] >= 19
        before = page.locator(".mgw").inner_text()
        page.keyboard.press(key)
        page.wait_for_function("(text) => document.querySelector('.mgw').innerText !== text", arg=before)
        if name == "Attention":
            page.get_by_label("Precision").select_option("fp32")  # or the CPU is refused
            control.focus()
        page.keyboard.press("Tab")
    assert total.is_visible() and page.locator(".mgw-refusal").is_hidden()
    expected = training_memory(
        CONFIGS["gpt2"], 2, 512, "fp32", "adamw-fused", "fused", checkpointing=True, device="cpu"
    )
    assert total.inner_text() == in_gigabytes(expected.peak_bytes).split(" (")[0]


def test_screen_readers_are_told_once_the_slider_rests(shown):
    page = shown(MemoryExplorer("homework"))
    spoken = page.locator(".mgw [role=status]")
    assert spoken.text_content() == ""
    page.get_by_label("Batch size B").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.mgw [role=status]').textContent !== ''")
    peak = training_memory(CONFIGS["homework"], 2, device="cuda").peak
    assert spoken.text_content() == (
        f"{in_gigabytes(peak.total_bytes)} at the fullest stage: {peak.name}. The tensors fit on a GPU of 12 GB."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_widget_is_accessible_in_its_colours_also_when_it_refuses(scheme, shown):
    page = shown(MemoryExplorer("gpt2-xl"), scheme=scheme)
    for moves in ([], [{"device": "cpu", "precision": "amp-fp16"}]):
        page.evaluate(MOVE, moves)
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
    drawn = page.locator(".mgw-swatch").evaluate_all("(all) => all.map((node) => getComputedStyle(node).background)")
    colours = [f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:], 16)})" for c in plots.SERIES]
    for colour, background in zip([colours[i] for i in (0, 2, 1, 3)], drawn, strict=False):
        assert background.startswith(colour)
    assert "repeating-linear-gradient" in drawn[4]  # told apart by more than its colour


@pytest.mark.parametrize("width", [360, 600, 1_280])
@pytest.mark.parametrize("config", ["mini", "gpt3-175b"])
def test_nothing_is_cut_off_on_a_phone_or_elsewhere(config, width, shown):
    page = shown(MemoryExplorer(config, batch_size=512), width=width, has_touch=True, is_mobile=width == 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.locator(".mgw").evaluate(
        "(root) => [...root.querySelectorAll('th, td, p, li, label, select')].filter((node) => "
        "node.checkVisibility() && !node.matches('[role=status]') && "
        "(node.scrollWidth > node.clientWidth + 1 "
        "|| node.getBoundingClientRect().right > root.getBoundingClientRect().right))"
        ".map((node) => node.innerText)"
    )
    assert cut == []
    bars = page.locator(".mgw-stages tr:not([hidden]) .mgw-stack").evaluate_all(
        "(all) => all.map((b) => b.offsetWidth)"
    )
    assert len(bars) == 7 and min(bars) > 200
