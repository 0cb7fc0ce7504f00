"""The exercises by hand: what their checks say, in both Pythons, and the widget that readers solve them in."""

import inspect
import json
import math
import re
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from byhand_answers import ANSWERS
from conftest import ROOT, QuietHandler
from playwright.sync_api import expect
from torch.nn import functional as F
from watched import Watched

from minigpt import CONFIGS, memory, novelty, parameters, quantization
from minigpt.marking import byhand, exercises
from minigpt.marking.answer import MOST_PRINTED, in_python, verdict_on_source
from minigpt.marking.verdict import Case, Draw, Exercise, judge, number_text, verdict
from minigpt.memory.step import training_memory
from minigpt.sampling import next_token_probabilities
from minigpt.widgets import ByHand
from minigpt.widgets.byhand import python_for_the_page

NAMES = byhand.names()
#: What README tells a server to send.
POLICY = re.search(r"Content-Security-Policy: (.*)", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
LIGHT_AND_DARK = "<style>:root { color-scheme: light dark } body { background: Canvas; color: CanvasText }</style>"


def exercise(name) -> Exercise:
    return exercises.find(f"byhand.{name}")


def as_learner(name, mistake) -> str:
    """A mistake as a learner's code: its function under the name that is asked for, and the functions that it calls."""
    functions = {key: one for key, one in vars(byhand.module(name)).items() if inspect.isfunction(one)}
    used = [mistake]
    for one in used:
        named = re.findall(r"\w+", inspect.getsource(one))
        used += [function for key, function in functions.items() if key in named and function not in used]
    code = "\n\n".join(["import math", *map(inspect.getsource, used)])
    code = re.sub(rf"\b{name}\b", "reference", code)
    return f"{code}\n\n{name} = {mistake.__name__}\n"


# The checks


def test_every_chapter_has_its_exercises_and_every_exercise_a_second_answer():
    assert len(NAMES) >= 12 and sorted(ANSWERS) == NAMES
    assert [f"byhand.{name}" for name in NAMES] == [name for name in exercises.names() if name.startswith("byhand.")]


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_has_many_cases_and_many_mistakes(name):
    one = exercise(name)
    drawn = [one.arguments(seed) for seed in range(10)]
    varying = [case for case in range(len(one.cases)) if any(others[case] != drawn[0][case] for others in drawn)]
    assert one.name == name and len(one.cases) >= 6 and len(varying) >= 2
    words = [mistake.words for mistake in one.mistakes]
    assert len(set(words)) == len(words) >= 5 and all(
        re.match(r"[A-Za-z]", text) and text[-1] in ".?)" for text in words
    )
    assert len({case.says for case in one.cases}) == len(one.cases)
    source = inspect.getsource(byhand.module(name))
    imports = re.findall(r"^(?:import|from) ([\w.]+)", source, re.M)
    assert set(imports) <= {"math", "minigpt.marking.verdict"}
    assert len(byhand.module(name).HINTS) >= 2 and len(byhand.module(name).TASK.split()) > 20


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_pass_and_the_stub_says_what_to_do(name):
    for seed in range(5):
        for source in (byhand.solution(name), ANSWERS[name]):
            result = verdict_on_source(exercise(name), source, seed)
            assert result.passed, result
            assert re.fullmatch(rf"{name}: right in all \d cases\.", result.text)
        result = verdict_on_source(exercise(name), byhand.stub(name), seed)
        assert not result.passed and "needs a return" in result.mistake


@pytest.mark.parametrize("name", NAMES)
def test_every_mistake_is_met_with_its_own_words(name):
    for mistake in exercise(name).mistakes:
        for seed in (0, 1, 2):
            result = verdict(exercise(name), mistake.answer, seed)
            assert not result.passed and result.mistake == mistake.words and result.text.endswith(mistake.words)
        assert verdict_on_source(exercise(name), as_learner(name, mistake.answer)).mistake == mistake.words


@pytest.mark.parametrize(
    "name, answer, said",
    [
        ("softmax", lambda scores: [1 / 0], None),  # it fails everywhere, not only where scores add up to 0
        ("softmax", lambda scores: [1 / len(scores) for _ in scores], None),
        ("layer_params", lambda d_model, n_heads: 20 if d_model == 2 else 5, None),
        ("gpt_params", lambda d_model, n_layers, vocab_size, context_length: 1 / 0, None),
        ("top_k", lambda probabilities, k: [][0], None),
        ("temperature", lambda scores, tau: scores[99], None),
        ("step_bytes", lambda n_params, optimizer: 0, None),
        ("step_bytes", lambda n_params, optimizer: 3 * n_params * (4 if optimizer == "adamw" else 2), None),
        ("longest_copy", lambda text, source: [], "Your list is always empty, even where words are shared."),
    ],
)
def test_what_an_answer_shares_with_a_mistake_by_chance_is_not_taken_for_it(name, answer, said):
    assert verdict(exercise(name), answer).mistake == said


def close(plain, tensor):
    return torch.allclose(torch.tensor(plain, dtype=torch.double), tensor.double(), atol=1e-6)


def test_the_references_compute_what_the_package_computes():
    right = {name: exercise(name).reference for name in NAMES}
    draw = Draw(7)
    q, k, v = (torch.tensor(draw.numbers(5, 4), dtype=torch.double) for _ in range(3))
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert close(right["one_head"](q.tolist(), k.tolist(), v.tolist()), expected)
    scores, scale, shift = (torch.tensor(draw.numbers(9), dtype=torch.double) for _ in range(3))
    assert close(right["softmax"](scores.tolist()), scores.softmax(-1))
    masked = torch.tensor(right["causal_mask"](draw.numbers(4, 4)))
    assert torch.equal(masked.isinf(), torch.ones(4, 4).triu(1).bool())
    normed = F.layer_norm(scores, (9,), scale, shift)
    assert close(right["layer_norm"](scores.tolist(), scale.tolist(), shift.tolist()), normed)
    p = scores.softmax(-1)
    for tau in (0, 0.3, 2):
        assert close(right["temperature"](scores.tolist(), tau), next_token_probabilities(scores, tau))
    for k in (1, 4, 50):
        assert close(right["top_k"](p.tolist(), k), next_token_probabilities(scores, top_k=k))
    for part in (0.01, 0.5, 0.9):
        assert close(right["top_p"](p.tolist(), part), next_token_probabilities(scores, top_p=part))
    numbers, factor = right["quantize"](scores.tolist())
    quantized, factors = quantization.quantize(scores[None])
    assert numbers == quantized[0].tolist() and abs(factor - factors.item()) < 1e-8
    for config in (CONFIGS["homework"], CONFIGS["gpt2"], CONFIGS["gpt3-175b"]):
        C, L = config.d_model, config.n_layers
        assert right["layer_params"](C, config.n_heads) == parameters.attention_params(C)
        assert right["gpt_params"](C, L, config.vocab_size, config.context_length) == parameters.count_params(config)
        assert right["kv_cache_bytes"](C, config.n_heads, L, 100, 4) == memory.kv_cache_bytes(config, length=100)
    stages = training_memory(CONFIGS["homework"], batch_size=1).stages
    kept = max(stage.parameters_bytes + stage.gradients_bytes + stage.optimizer_bytes for stage in stages)
    counters = kept - right["step_bytes"](parameters.count_params(CONFIGS["homework"]), "adamw")
    assert 0 <= counters < 1000  # AdamW counts its steps, for each tensor once
    text, source = (
        novelty.words("good night sweet prince and flights of angels"),
        novelty.words("say good night sweet lady"),
    )
    assert right["longest_copy"](text, source) == novelty.longest_overlap([text], source)
    assert right["bits_per_byte"](8 * 0.6931471805599453, 1, 1) == pytest.approx(8)


def test_the_numbers_in_tasks_and_hints_are_computed():
    said = []
    for name in NAMES:
        texts = " ".join([byhand.module(name).TASK, *byhand.module(name).HINTS])
        for call, number in re.findall(r"(\w+\([^()]*\)) (?:is|=) (\d+(?:,\d{3})*)", texts):
            assert f"{eval(call, {name: exercise(name).reference}):,}" == number  # noqa: S307 (ours)
            said.append(call)
        for number, log in re.findall(r"((?:1 / )?math\.log\(2\)) ≈ (\d\.\d+)", texts):
            value = eval(number, {"math": math})  # noqa: S307 (ours)
            assert f"{value:.{len(log) - 2}f}" == log
            said.append(number)
        assert all(f"{math.e:.3f}" == e for e in re.findall(r"e ≈ (\d\.\d+)", texts))
    assert len(said) >= 5
    assert math.exp(709) < math.inf
    with pytest.raises(OverflowError):  # "from about 710 on"
        math.exp(710)


def test_where_scripts_are_off_the_task_is_said():
    sys.path.insert(0, str(ROOT / "book" / "ext"))
    import minigpt_site

    widget = ByHand("top_p")
    states = json.dumps({"state": {"1": {"state": {"description": widget.description}}}})
    files = [SimpleNamespace(attributes={"type": minigpt_site.WIDGET_STATE, "body": states})]
    view = f'<script type="{minigpt_site.WIDGET_VIEW}">{{"model_id": "1"}}</script>'
    context = {"script_files": files, "body": view}
    minigpt_site.give_widgets_a_stand_in(None, "", "", context, None)
    said = re.search("<noscript>(.*)</noscript>", context["body"])[1]
    assert "needs JavaScript, shows an exercise in Python, top_p, and checks what you write: Top-p keeps" in said


# What is said of code that can't be tried


@pytest.mark.parametrize(
    "source, text, words",
    [
        (
            "def softmax(scores:\n    return 1",
            "Python does not understand your line 1.",
            "SyntaxError: '(' was never closed",
        ),
        (
            "x = 1\n  y = 2\n\nz = 3\n",
            "Python does not understand your line 2.",
            "2: y = 2\nIndentationError: unexpected",
        ),
        (
            "import os",
            "Your code ends before it can be tried: ImportError in your line 1.",
            "os can't be imported here",
        ),
        ("\n1 / 0", "Your code ends before it can be tried: ZeroDivisionError in your line 2.", "2: 1 / 0\nZeroDiv"),
        ("exit()", "Your code ends before it can be tried: SystemExit in your line 1.", "SystemExit"),
        (
            "def soft_max(scores):\n    return 1",
            "Your code must define a function softmax; it has none of that name.",
            "",
        ),
        ("softmax = 3", "softmax must be a function; got 3", ""),
        (
            "def softmax(s):\n    return input()",
            "got: RuntimeError in your line 2",
            "nobody is there to answer input()",
        ),
        ("def softmax(s):\n    import random", "got: ImportError in your line 2", "random can't be imported here"),
        ("def softmax(s):\n    return softmax(s)", "got: RecursionError", "RecursionError: maximum recursion depth"),
        ("def softmax():\n    return 1", "got: TypeError", "0 positional arguments but 1 was given"),
        ("def softmax(s):\n    yield 1", "got: something that is no number, text or list of them", ""),
        (
            "def softmax(s):\n    return 2.0 ** 5000",
            "got: OverflowError in your line 2",
            "Numerical result out of range",
        ),
    ],
)
def test_code_that_does_not_run_is_told_where_and_why(source, text, words):
    result = verdict_on_source(exercise("softmax"), source)
    assert not result.passed and text in result.text and words in in_python(result, source)
    assert bool(words) == bool(in_python(result, source))


def test_what_code_prints_is_handed_on_up_to_a_limit():
    said = []
    source = "def softmax(s):\n    print('shares of', s, end='!')\n    print('x' * 4000, end='')\n    print(end='')\n"
    verdict_on_source(exercise("softmax"), source, write=said.append)
    assert said[0] == "shares of [0.0, 0.0]!" and "" not in said and "more than is shown" in said[-1]
    assert sum(map(len, said)) < MOST_PRINTED + 100
    print("tests print as before")


def test_a_difference_between_lists_of_other_shapes_is_said():
    pair = Exercise(lambda: ([1, 2], 3), [Case("", lambda draw: ())], [], name="pair")
    assert "The first difference" not in judge(pair, [{"value": [4, 3]}]).text
    assert "[0][1]: 2 is wanted; got 5." in judge(pair, [{"value": [[1, 5], 3]}]).text
    assert "must be None" not in judge(pair, [{"value": [1, 2, 3]}]).text


@pytest.mark.parametrize(
    "value, text",
    [
        (1.00001, "1.0"),
        (-12345.67, "-12,345.7"),
        (1e15, "1.000e+15"),
        (-1e308, "-1.000e+308"),
        (-0.0, "0.0"),
        (12345.0, "12,345.0"),
    ],
)
def test_numbers_are_written_short(value, text):
    assert number_text(value) == text


def test_an_exercise_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="name must be one of bits_per_byte, .*; got 'soft'"):
        ByHand("soft")


def test_the_kernel_answers_for_the_site(monkeypatch):
    widget, sent = ByHand("softmax"), []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: sent.append(content))
    widget._handle_custom_msg({"ask": "python"}, [])
    widget._handle_custom_msg({"ask": "model"}, [])
    assert sent == [{"python": python_for_the_page()}] and len(sent[0]["python"]) > 1_000_000
    assert "an exercise in Python, softmax" in repr(widget)
    held = json.dumps({key: value for key, value in widget.get_state().items() if key not in ("_esm", "_css")})
    assert len(held) < 60_000 and "$B" not in held


# In the browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Where a folder is served that has a page for a widget, NAME.html, and what the site would have beside it."""
    sys.path.insert(0, str(ROOT / "book" / "ext"))
    import minigpt_site

    folder = tmp_path_factory.mktemp("pages")
    (folder / "_static").mkdir()
    script = (ROOT / "book" / "site_static" / "widgets.js").read_text(encoding="utf-8")
    (folder / "_static" / "widgets.js").write_text(script, encoding="utf-8")
    minigpt_site.write_python(folder / "_static" / "python")
    for name in ("softmax", "one_head"):
        (folder / f"{name}.html").write_text(page_of([ByHand(name)]), encoding="utf-8")
    (folder / "two.html").write_text(page_of([ByHand("softmax"), ByHand("softmax")]), encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()


def page_of(widgets) -> str:
    stored = {
        str(n): {"model_module": "anywidget", "state": w.get_state(), "buffers": []} for n, w in enumerate(widgets)
    }
    states = json.dumps({"state": stored}).replace("<", "\\u003c")
    views = "".join(
        f'<script type="application/vnd.jupyter.widget-view+json">{{"model_id": "{n}"}}</script>' for n in stored
    )
    return (
        '<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">'
        '<link rel="icon" href="data:,"><title>An exercise</title>'
        f"{LIGHT_AND_DARK}"
        f'<script type="application/vnd.jupyter.widget-state+json">{states}</script>'
        f"<main><h1>An exercise</h1>{views}</main>"
        '<script src="_static/widgets.js" defer></script></html>'
    )


@pytest.fixture
def opened(browser, pages):
    """A function that opens a page; everything else is blocked, and anything wrong fails the test."""
    watched = []

    def open_page(name="softmax", **options):
        one = Watched(browser, pages[0], **options)
        one.context.route(lambda url: not url.startswith((pages[0], "data:", "blob:")), lambda route: route.abort())
        watched.append(one)
        return one.open(name)

    yield open_page
    for one in watched:
        assert one.wrong == []
        one.context.close()


def field_of(page, n=0):
    return page.get_by_label("Your code for").nth(n)


def check(page, code=None, state=r"passed|failed|stopped", n=0):
    if code is not None:
        field_of(page, n).fill(code)
    page.get_by_role("button", name="Check").nth(n).click()
    expect(page.locator(".mgw").nth(n)).to_have_attribute("data-state", re.compile(state), timeout=60_000)
    return page.locator(".mgw-result").nth(n).inner_text()


CODES = [
    *[(name, byhand.stub(name)) for name in NAMES],
    *[(name, byhand.solution(name)) for name in NAMES],
    *ANSWERS.items(),
    *[(name, as_learner(name, mistake.answer)) for name in NAMES for mistake in exercise(name).mistakes],
]
ODD = [
    "def softmax(s:\n    pass",
    "def softmax(s):\n    x = 1\n      y = 2\n    return x\n",
    "  x = 1",
    "def softmax(s):\n    # nothing yet\n",
    "def softmax(s):\nreturn 1",
    "def softmax(s):\n    return 'open",
    "def softmax(s):\n    return s]",
    "import os",
    "from random import random",
    "exit()",
    "softmax = 3",
    "x = 3",
    "def softmax(s):\n    return softmax(s)",
    "def softmax(s):\n    return input('why? ')",
    "def softmax(s):\n    return s[: 1] + s[1 :]",
    "def softmax(s):\n    return [math.exp(1)]",
    "import math\ndef softmax(s):\n    return [math.e ** 1000]",
    "import math\ndef softmax(s):\n    return [math.exp(1000)]",
    "def softmax(s):\n    return [-123456.7, 1e308, 1e-9, -1e16, 123456, -123456, 1 / 3, float('nan'), float('-inf')]",
    "def softmax(s):\n    s.append(1)\n    return [0.5, 0.5]",
    "def softmax(s):\n    yield 1",
    "def softmax():\n    return 1",
    "def softmax(s):\n    return {'a': (1, 2), 'b': None, 'c': True}",
    "def softmax(s):\n    assert len(s) > 9, 'too short'",
    "class softmax:\n    pass",
]


def test_both_pythons_say_the_same_word_for_word(browser, pages):
    """Of stubs, solutions, mistakes and what learners write else: one worker judges them all."""
    codes = CODES + [("softmax", source) for source in ODD]
    worker = (ROOT / "minigpt" / "widgets" / "byhand_worker.js").read_text(encoding="utf-8")
    page = browser.new_page()
    try:
        page.goto(f"{pages[0]}/_static/python/LICENCE.txt")
        said = page.evaluate(
            """async ([source, python, codes]) => {
              const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
              const answer = (message) => new Promise((resolve) => {
                worker.onmessage = ({ data }) => data.printed || resolve(data);
                worker.onerror = (event) => resolve({ error: event.message });
                worker.postMessage(message);
              });
              const said = [await answer({ python })];
              for (const [name, source] of codes) said.push(await answer({ name, source }));
              worker.terminate();
              return said;
            }""",
            [worker, python_for_the_page(), [list(code) for code in codes]],
        )
    finally:
        page.close()
    assert said[0] == {"ready": True}
    for (name, source), answer in zip(codes, said[1:], strict=True):
        result = verdict_on_source(exercise(name), source)
        got = answer["verdict"]
        assert got["text"] == result.text, source
        assert (got["passed"], got["mistake"]) == (result.passed, result.mistake or "")
        assert bool(got["python"]) == bool(in_python(result, source))


def test_a_reader_solves_an_exercise_and_finds_it_again(opened):
    page = opened()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    field = field_of(page)
    assert field.input_value() == byhand.stub("softmax")
    said = check(page)
    assert "right in 0 of 6 cases" in said and "needs a return" in said
    mistake = exercise("softmax").mistakes[0]
    said = check(page, as_learner("softmax", mistake.answer))
    assert mistake.words in said and mistake.words in page.locator(".mgw-refusal").inner_text()
    assert not page.locator("details").evaluate("details => details.open")
    said = check(page, ANSWERS["softmax"], "passed")
    assert said == "✓ softmax: right in all 6 cases."
    assert page.locator("details").evaluate("details => details.open")
    assert page.locator("details pre").inner_text().strip() == byhand.solution("softmax").strip()
    assert sum("/python/python.js" in url for url in asked) == 1  # three checks, one load
    page.reload()
    page.wait_for_selector("html[data-widgets=ready]", state="attached")
    assert field_of(page).input_value() == ANSWERS["softmax"]
    page.get_by_role("button", name="Reset").click()
    assert field_of(page).input_value() == byhand.stub("softmax")
    page.get_by_role("button", name="Undo the reset").click()
    assert field_of(page).input_value() == ANSWERS["softmax"]
    page.get_by_role("button", name="Reset").click()
    field_of(page).focus()
    page.keyboard.press("Control+z")
    assert field_of(page).input_value() == ANSWERS["softmax"]


def test_nothing_is_loaded_before_the_first_check(browser, pages):
    with Watched(browser, pages[0]) as watched:
        asked = []
        watched.context.on("request", lambda request: asked.append(request.url))
        page = watched.open("softmax")
        field_of(page).fill("x = 1")
        page.get_by_role("button", name="Hint").click()
        assert not any("/python/" in url for url in asked)
        check(page)
        assert any("/python/" in url for url in asked) and watched.wrong == []


def test_hints_come_one_at_a_time(opened):
    page = opened()
    hints = byhand.module("softmax").HINTS
    for n in range(len(hints)):
        page.get_by_role("button", name=f"Hint {n + 1} of {len(hints)}").click()
        assert page.locator(".mgw-hints li").all_inner_texts() == hints[: n + 1]
    page.get_by_role("button", name="No more hints").click(force=True)
    assert page.locator(".mgw-hints li").count() == len(hints)


def test_a_reader_with_a_keyboard_only(opened):
    page = opened()
    field = field_of(page)
    while not field.evaluate("field => field === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("def softmax(scores):")
    page.keyboard.press("Enter")
    assert field.input_value() == "def softmax(scores):\n    "
    page.keyboard.type("if scores:")
    page.keyboard.press("Enter")
    page.keyboard.type("return 1")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("x = [")
    page.keyboard.press("Tab")
    assert field.input_value() == "def softmax(scores):\n    if scores:\n        return 1\n    x = [   "
    page.keyboard.press("Control+z")
    assert field.input_value().endswith("    x = [")
    page.keyboard.press("Control+a")
    page.keyboard.press("Tab")
    assert field.input_value() == "    def softmax(scores):\n        if scores:\n            return 1\n        x = ["
    page.keyboard.press("Shift+Tab")
    assert field.input_value() == "def softmax(scores):\n    if scores:\n        return 1\n    x = ["
    page.keyboard.press("Control+Enter")
    expect(page.locator(".mgw")).to_have_attribute("data-state", "failed", timeout=60_000)
    assert "Python does not understand your line 4." in page.locator(".mgw-result").inner_text()
    assert page.locator(".mgw-wrong").inner_text() == "4"
    page.keyboard.press("Tab")
    assert field.evaluate("field => field === document.activeElement")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.get_by_role("button", name="Check").evaluate("button => button === document.activeElement")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+Tab")
    assert not field.evaluate("field => field === document.activeElement")


def test_a_loop_without_an_end_is_ended_and_what_it_printed_is_there(opened):
    page = opened()
    said = check(page, "def softmax(s):\n    print('here', s)\n    while True:\n        print('x' * 100)\n", "stopped")
    assert said.startswith("Your code was still running after 5 seconds")
    printed = page.locator(".mgw-printed pre").inner_text()
    assert printed.startswith("here [0.0, 0.0]\nxxx") and len(printed) < MOST_PRINTED + 100
    assert "right in all" in check(page, ANSWERS["softmax"], "passed")
    assert page.locator(".mgw-printed").is_hidden()


def test_code_that_takes_too_much_freezes_nothing(browser, pages):
    with Watched(browser, pages[0]) as watched:
        hurry = "const wait = setTimeout; window.setTimeout = (f, ms) => wait(f, ms === 5000 ? 1000 : ms);"
        watched.context.add_init_script(hurry)
        page = watched.open("softmax")
        for code in ("x = 'x' * 10**10", "while True: print('', end='')", "x = []\nwhile True: x += [1] * 10**6"):
            said = check(page, f"print('begun')\n{code}\n")
            assert "softmax: not yet" in said or said.startswith("Your code was still running")
            assert page.locator(".mgw-printed pre").inner_text().startswith("begun")
        assert watched.wrong == []


def test_an_error_shows_the_line_and_pythons_own_words(opened):
    page = opened()
    said = check(page, "def softmax(scores):\n    total = 0\n    return [s / total for s in scores]\n")
    assert "got: ZeroDivisionError in your line 3" in said and "3: return [s / total for s in scores]" in said
    assert "ZeroDivisionError: " in said and page.locator(".mgw-wrong").inner_text() == "3"
    page.keyboard.press("Tab")
    field_of(page).press("End")
    page.keyboard.type(" ")
    assert page.locator(".mgw-wrong").count() == 0


def test_a_second_check_ends_the_first(browser, pages):
    with Watched(browser, pages[0]) as watched:
        page = watched.open("softmax")
        field_of(page).fill("while True: pass")
        page.get_by_role("button", name="Check").click()
        assert "right in all" in check(page, ANSWERS["softmax"], "passed")
        # The worker of the first one was ended, perhaps before it had come.
        assert [wrong for wrong in watched.wrong if not wrong.startswith("failed: blob:")] == []


def test_two_of_the_same_exercise_do_not_fight(opened):
    page = opened("two")
    field_of(page, 0).fill(ANSWERS["softmax"])
    assert field_of(page, 1).input_value() == byhand.stub("softmax")
    assert "needs a return" in check(page, n=1)
    assert "right in all" in check(page, n=0)
    assert page.locator(".mgw-result").nth(1).inner_text() != page.locator(".mgw-result").nth(0).inner_text()


def test_a_browser_that_keeps_nothing_checks_all_the_same(browser, pages):
    with Watched(browser, pages[0]) as watched:
        watched.context.add_init_script(
            "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('', 'SecurityError'); } });"
        )
        page = watched.open("softmax")
        assert "right in all" in check(page, ANSWERS["softmax"])
        page.get_by_role("button", name="Reset").click()
        assert watched.wrong == []


def test_from_a_folder_on_disk(browser, pages):
    with Watched(browser, f"file://{pages[1]}") as watched:
        page = watched.open("softmax")
        assert "right in all" in check(page, ANSWERS["softmax"])
        assert watched.wrong == []


def with_policy(page, pages, policy):
    def answer(route):
        response = route.fetch()
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": policy})

    page.context.route(f"{pages[0]}/*.html*", answer)
    page.goto(f"{pages[0]}/softmax.html")
    page.wait_for_selector("html[data-widgets=ready]", state="attached")


def test_under_a_strict_content_security_policy(opened, pages):
    assert "'unsafe-eval'" not in POLICY and "script-src 'self' 'unsafe-inline'" not in POLICY
    page = opened()
    with_policy(page, pages, POLICY)
    assert "right in all" in check(page, ANSWERS["softmax"])


def test_a_policy_that_forbids_workers_is_said(browser, pages):
    with Watched(browser, pages[0]) as watched:
        page = watched.open("softmax")
        with_policy(page, pages, POLICY.replace("worker-src blob:", "worker-src 'none'"))
        said = check(page, ANSWERS["softmax"], "stopped")
        assert said.startswith("Python does not start here: this browser, or the policy of the server")


def test_python_that_does_not_come_is_said_and_can_be_tried_again(browser, pages):
    with Watched(browser, pages[0]) as watched:
        page = watched.open("softmax")
        page.route("**/python.js", lambda route: route.abort())
        assert "Try again when there is a connection" in check(page, ANSWERS["softmax"], "stopped")
        page.unroute("**/python.js")
        assert "right in all" in check(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_exercise_is_accessible(scheme, opened):
    page = opened(scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="Hint").click()
    check(page, "def softmax(s):\n    print(s)\n    return 1 / 0\n")
    page.locator("summary").click()
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    check(page, as_learner("softmax", exercise("softmax").mistakes[0].answer))
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("name", ["softmax", "one_head"])
def test_on_a_phone_nothing_scrolls_sideways(name, opened):
    page = opened(name, width=360)
    check(page, as_learner(name, exercise(name).mistakes[0].answer))
    page.locator("summary").click()
    page.get_by_role("button", name="Hint").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert field_of(page).evaluate("field => parseFloat(getComputedStyle(field).fontSize)") >= 16
