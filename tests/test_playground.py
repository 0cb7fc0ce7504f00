"""The playground and the explorers' own texts, on the built site: what readers type, open and take away."""

import contextlib
import io
import json
import os
import re
import signal
import time

import pytest
import torch
import traitlets
from axe_playwright_python.sync_playwright import Axe
from conftest import POLICY, QuietHandler, served
from playwright.sync_api import expect
from watched import Watched

from minigpt import CONFIGS, GPT, pretrained
from minigpt.quantization import dequantized, page_file
from minigpt.sampling import complete, generate, next_logits, next_token_probabilities
from minigpt.tokenizer import END_OF_TEXT
from minigpt.widgets import AttentionExplorer, Playground
from minigpt.widgets.engine import shipped_name

CHAPTER = "book/08_playground"


@pytest.fixture(scope="module")
def in_page():
    """The shipped model as it is in the page, and its tokenizer."""
    return dequantized(pretrained.load("shakespeare")).eval(), pretrained.load_tokenizer("shakespeare")


@pytest.fixture
def shown(browser, address):
    """A function that opens a page of the site; everything else is blocked, and anything wrong fails the test."""
    opened = []

    def open_page(name=CHAPTER, fragment="", **options):
        watched = Watched(browser, address, **options)
        watched.context.route(lambda url: not url.startswith((address, "data:", "blob:")), lambda route: route.abort())
        watched.context.add_init_script(
            "Object.defineProperty(navigator, 'clipboard',"
            " { value: { writeText: async (text) => { window.copied = text; } } });"
        )
        opened.append(watched)
        return watched.open(name, fragment)

    yield open_page
    for watched in opened:
        assert watched.wrong == []
        watched.context.close()


def write(page, prompt=None):
    if prompt is not None:
        page.get_by_label("The text so far").fill(prompt)
    page.get_by_role("button", name="Write", exact=True).click()
    wait(page)


def wait(page, state="written"):
    page.wait_for_timeout(50)  # a slider's text begins in the next frame
    expect(page.locator(".mgw").first).to_have_attribute("data-state", state, timeout=60_000)


def texts(page):
    """What the panes hold, prompts included."""
    return [text.inner_text() for text in page.locator(".mgw-text").all()]


def set_slider(page, trait, value, pane=0):
    """Move a slider to the place at which it says a value."""
    slider = page.locator(f"[data-trait={trait}]").nth(pane)
    said = slider.evaluate(
        """(input, wanted) => {
          for (let place = 0; place <= input.max; place++) {
            input.value = place;
            input.dispatchEvent(new Event("input"));
            if (input.getAttribute("aria-valuetext") === wanted) return wanted;
          }
        }""",
        value,
    )
    assert said == value


# The Python side


def test_a_playground_runs_the_named_model_and_any_other():
    named = Playground("shakespeare", temperature=0.5)
    assert named.runs and named.model_name == "shakespeare" and "temperature 0.5" in repr(named)
    model, tokenizer = pretrained.load("shakespeare"), pretrained.load_tokenizer("shakespeare")
    assert shipped_name(model.double(), tokenizer) == "shakespeare"
    with torch.no_grad():
        model.norm.bias[0] += 1
    assert shipped_name(model, tokenizer) == Playground(model, tokenizer).model_name == ""
    assert not any("weight" in name for name in named.get_state())


def test_weights_go_over_the_channel_when_asked_for_and_are_in_no_state(monkeypatch):
    tokenizer = pretrained.load_tokenizer("shakespeare")
    model = GPT(CONFIGS["mini"].but(n_layers=1, vocab_size=1024))
    playground = Playground(model, tokenizer)
    sent = []
    monkeypatch.setattr(playground, "send", lambda content, buffers=None: sent.append((content, buffers)))
    with torch.no_grad():
        model.norm.bias[0] += 1  # trained after the widget was made
    playground._handle_custom_msg({"ask": "model"}, [])
    playground._handle_custom_msg({"ask": "weather"}, [])
    assert sent == [({"model": True}, [page_file(model, tokenizer)])]
    with torch.no_grad():
        model.head.weight[0, 0] = torch.nan
    playground._handle_custom_msg({"ask": "model"}, [])
    assert "finite" in sent[1][0]["error"]
    held = sum(len(value) for value in playground.get_state().values() if isinstance(value, bytes | str))
    assert held < 200_000


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Playground(3), TypeError, "model must be a GPT or the name of one; got int"),
        (lambda: Playground(GPT(CONFIGS["mini"])), TypeError, "tokenizer must be a tokenizers.Tokenizer; got NoneType"),
        (lambda: Playground("shakespeare", temperature=-1), ValueError, "temperature must be at least 0"),
        (lambda: Playground("shakespeare", max_new_tokens=0), traitlets.TraitError, "max_new_tokens"),
        (lambda: Playground("shakespeare", second={"top_k": 1}), ValueError, "second must hold temperature, top_k"),
        (lambda: Playground("shakespeare", warmth=1), TypeError, "settings must be among .*; got 'warmth'"),
    ],
)
def test_what_a_playground_cannot_be_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


# What JavaScript computes beside sampling.py and model.py


def test_cuts_in_javascript_are_those_that_python_makes(arithmetic):
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1), dtype=torch.double) * 3
    knobs = {"temperature": 0.9, "top_k": 20, "top_p": 0.8, "min_p": 0.2}
    said = arithmetic(
        "return m.cutsOf(Float64Array.from(a), { temperature: 0.9, topK: 20, topP: 0.8, minP: 0.2 })"
        ".map((cut) => cut ?? null);",
        logits.tolist(),
    )
    expected = [None] * 40
    for n, cut in enumerate(("top_k", "top_p", "min_p"), 2):
        p = next_token_probabilities(logits, **dict(list(knobs.items())[:n]))
        expected = [
            old or (cut.replace("_", "-") if gone else None) for old, gone in zip(expected, p == 0, strict=True)
        ]
    assert said == expected and set(said) == {None, "top-k", "top-p", "min-p"}
    # What a low temperature makes 0 by itself, no knob has cut.
    said = arithmetic("return m.cutsOf(Float64Array.of(0, 9), { temperature: 0.01 }).map((cut) => cut ?? null);")
    assert said == [None, None]


# A reader writes


def test_the_home_page_begins_with_a_line_to_type_into(shown, in_page):
    page = shown("book/index")
    assert page.locator(".bd-article .mgw").first.evaluate(
        "el => !el.closest('.bd-article').querySelector('table, figure, svg') || el.getBoundingClientRect().top < 500"
    )
    write(page, "ROMEO:\nO")
    assert texts(page) == ["ROMEO:\nO" + complete(*in_page, "ROMEO:\nO", 100, temperature=0.8, seed=0, progress=False)]


@pytest.mark.parametrize("prompt", ["", "🙂 naïve 東京", "a" * 10_000, "<script>alert(1)</script>\n\n"])
def test_any_text_is_continued_as_in_python(prompt, shown, in_page):
    page = shown()
    set_slider(page, "max_new_tokens", "12")
    write(page, prompt)
    model, tokenizer = in_page
    ids = tokenizer.encode(prompt or END_OF_TEXT).ids
    new = [int(token) for token in generate(model, ids, 12, temperature=0.8, seed=0, progress=False)]
    pieces = page.locator(".mgw-piece").evaluate_all("all => all.map(one => one.textContent)")
    expected = tokenizer.decode(new)
    assert len(pieces) == 12 and "".join(pieces).replace("◦", "") == expected.rstrip("\N{REPLACEMENT CHARACTER}")
    assert page.get_by_label("The text so far").input_value() == prompt


def test_the_text_follows_the_knobs_and_the_seed(shown, in_page):
    page = shown()
    write(page, "The king")
    for trait, said, knobs in (
        ("temperature", "0.30", {"temperature": 0.3}),
        ("top_k", "5", {"temperature": 0.3, "top_k": 5}),
        ("top_p", "0.90", {"temperature": 0.3, "top_k": 5, "top_p": 0.9}),
    ):
        set_slider(page, trait, said)
        wait(page)
        assert texts(page) == ["The king" + complete(*in_page, "The king", 100, seed=0, progress=False, **knobs)]
    page.get_by_role("button", name="Again").click()
    wait(page)
    assert texts(page) == ["The king" + complete(*in_page, "The king", 100, seed=1, progress=False, **knobs)]
    page.get_by_label("stop at a line's end").check()
    wait(page)
    assert texts(page)[0].rstrip("\n").count("\n") == 0 and texts(page)[0].endswith("\n")


def test_stop_stops_and_keeps_what_is_there(shown):
    page = shown()
    set_slider(page, "max_new_tokens", "1,000")
    page.get_by_role("button", name="Write", exact=True).click()
    page.locator(".mgw-piece").nth(20).wait_for()
    page.get_by_role("button", name="Stop", exact=True).click()
    wait(page)
    there = page.locator(".mgw-piece").count()
    page.wait_for_timeout(300)
    assert 20 < there == page.locator(".mgw-piece").count() < 1_000


def test_two_panes_and_the_three_experiments(shown, in_page):
    page = shown()
    page.get_by_label("The text so far").fill("I will")
    expected = {
        "Temperature 0 and 2": ({"temperature": 0}, {"temperature": 2}),
        "Top-p 0.5 and 0.1": ({"top_p": 0.5}, {"top_p": 0.1}),
        "200 and 16 tokens": ({"max_new_tokens": 200}, {"max_new_tokens": 16}),
    }
    for name, knobs in expected.items():
        page.get_by_role("button", name=name).click()
        wait(page)
        open_knobs = {"temperature": 1, "max_new_tokens": 100, "seed": 0, "progress": False}
        assert texts(page) == ["I will" + complete(*in_page, "I will", **{**open_knobs, **own}) for own in knobs]
    assert texts(page)[0].startswith(texts(page)[1])
    page.get_by_role("button", name="Top-p 0.5 and 0.1").click()
    wait(page)
    surprises = []
    for place in range(8):
        page.locator(".mgw-pane").nth(1).locator(".mgw-piece").nth(place).dispatch_event("click")
        expect(page.locator(".mgw-opened .mgw-headline").first).to_contain_text(f"Token {place + 1}:")
        surprises.append(re.search("surprise of (.*) bits", page.locator(".mgw-opened").inner_text())[1])
    assert "0.0" in surprises and not any(surprise.startswith("-") for surprise in surprises)
    page.get_by_role("button", name="200 and 16 tokens").click()
    wait(page)
    set_slider(page, "max_new_tokens", "20", pane=1)
    wait(page)
    assert page.locator(".mgw-pane").nth(1).locator(".mgw-piece").count() == 20
    page.get_by_label("two settings side by side").uncheck()
    wait(page)
    assert len(texts(page)) == 1


# A reader opens a token


def test_an_opened_token_shows_what_it_was_drawn_from(shown, in_page):
    model, tokenizer = in_page
    page = shown()
    set_slider(page, "top_k", "8")
    write(page, "ROMEO:\nI am")
    place = 30
    page.locator(".mgw-piece").nth(place).click()
    opened = page.locator(".mgw-opened")
    opened.wait_for()
    ids = tokenizer.encode("ROMEO:\nI am").ids
    new = [int(t) for t in generate(model, ids, place + 1, temperature=0.8, top_k=8, seed=0, progress=False)]
    before = torch.tensor([ids + new[:-1]])
    logits = next_logits(model, before)[0]
    p = next_token_probabilities(logits, 0.8, top_k=8)
    data = opened.evaluate("node => ({ ...node.dataset })")
    assert int(data["token"]) == new[-1] and abs(float(data["probability"]) - p[new[-1]].item()) < 1e-5
    assert int(data["rank"]) == (logits > logits[new[-1]]).sum() + 1
    shares = opened.locator(".mgw-bars tbody tr td:last-child").all_inner_texts()
    assert shares[8:10] == ["top-k", "top-k"] and all("%" in share for share in shares[:8])
    # The pieces take the colours of the chosen head's last row: those of layer 1, head 2.
    opened.get_by_role("button", name="layer 1, head 2").click()
    weights = model.attention_weights(before)[0][0, 1, -1]
    shades = page.locator(".mgw-text > span").evaluate_all(
        "all => all.map(one => one.style.getPropertyValue('--weight')).filter(Boolean).map(Number)"
    )
    assert (torch.tensor(shades) - weights).abs().max() < 1e-5
    # What each layer would have said: the last one says what the model says.
    opened.get_by_text("What each layer would have said").click()
    last = opened.locator("details tbody tr").last.locator("td").all_inner_texts()
    assert last[1] == f"{100 * logits.softmax(-1).max():.1f}\u00a0%"
    assert opened.locator("details tbody tr").count() == model.config.n_layers + 1
    opened.get_by_role("button", name="Close").click()
    assert opened.is_hidden() and page.locator(".mgw-text [style*='--weight']").count() == 0


def test_the_logit_lens_is_the_head_on_each_layer(arithmetic):
    """Of a small model with random weights."""
    config = CONFIGS["mini"].but(vocab_size=23, context_length=9, d_model=8, n_heads=2, n_layers=3, d_ff=16)
    model = GPT(config).eval()
    weights = {name: parameter.flatten().tolist() for name, parameter in model.named_parameters()}
    tokens = [1, 5, 2, 7]
    said = arithmetic(
        """const weights = Object.fromEntries(Object.entries(a.weights).map(([k, w]) => [k, Float32Array.from(w)]));
        return new m.GPT(a.config, weights).logitLens(a.tokens).map((scores) => [...scores]);""",
        {"config": {**vars(config)}, "weights": weights, "tokens": tokens},
    )
    with torch.no_grad():
        x = model.embed(torch.tensor([tokens]))
        expected = [model.head(model.norm(x))[0, -1]]
        for block in model.blocks:
            x = block(x)
            expected.append(model.head(model.norm(x))[0, -1])
    assert (torch.tensor(said) - torch.stack(expected)).abs().max() < 1e-5


def test_tokens_are_opened_by_keyboard(shown):
    page = shown()
    write(page)
    page.locator(".mgw-piece").first.focus()
    page.keyboard.press("Enter")
    title = page.locator(".mgw-opened .mgw-headline").first
    expect(title).to_contain_text("Token 1:")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(title).to_contain_text("Token 3:")
    page.keyboard.press("End")
    expect(title).to_contain_text("Token 100:")
    assert page.locator(".mgw-piece[tabindex='0']").count() == 1


# A reader takes something away


@pytest.mark.parametrize(
    "prompt, stops", [('He said "🙂\\n"', False), ("", False), ("ROMEO:", True), ("\ud800x", False)]
)
def test_the_copied_python_writes_the_same_text(prompt, stops, shown):
    page = shown()
    set_slider(page, "top_p", "0.95")
    set_slider(page, "max_new_tokens", "20")
    page.evaluate(
        """(prompt) => {
          const field = document.querySelector("[data-trait=prompt]");
          field.value = prompt;
          field.dispatchEvent(new Event("input"));
        }""",
        prompt,
    )
    page.get_by_label("stop at a line's end").set_checked(stops)
    write(page)
    page.get_by_role("button", name="Copy the Python").click()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(page.evaluate("window.copied"), {})  # noqa: S102 (ours)
    assert out.getvalue().removesuffix("\n") == "".join(
        page.locator(".mgw-text > span").evaluate_all("all => all.map(one => one.textContent)")
    ).replace("◦", "")


def test_a_link_brings_prompt_and_settings_back(shown):
    page = shown()
    page.get_by_role("button", name="Top-p 0.5 and 0.1").click()
    write(page, "Ünïcode & #?\n")
    page.get_by_role("button", name="Copy a link").click()
    link = page.evaluate("window.copied")
    assert " " not in link and "\n" not in link
    other = shown(fragment=f"#{link.partition('#')[2]}")
    write(other)
    assert texts(other) == texts(page) and len(texts(page)) == 2


@pytest.mark.parametrize(
    "fragment",
    [
        "%",
        "null",
        "[]",
        '{"temperature":"hot","seed":-1,"prompt":5,"second":{}}',
        '{"top_p":7,"top_k":1e21,"temperature":1e999}',
    ],
)
def test_what_a_link_cannot_mean_is_let_be(fragment, shown):
    page = shown(fragment=f"#playground={fragment}")
    assert page.get_by_label("The text so far").input_value() == "JULIET:\nI love"
    assert page.locator("[data-trait=temperature]").get_attribute("aria-valuetext") == "0.80"
    assert page.locator(".mgw-pane").count() == 1


# The explorers' own texts


def test_the_sampling_explorer_reads_the_readers_own_text(shown, in_page):
    model, tokenizer = in_page
    page = shown("book/06_sampling")
    own = "My kingdom for a"
    page.get_by_label("A text of your own").fill(own)
    page.keyboard.press("Enter")
    expect(page.locator(".mgw-chooser select")).to_have_value("own")
    p = next_logits(model, torch.tensor([tokenizer.encode(own).ids]))[0].softmax(-1)
    shares = page.locator(".mgw tbody tr").evaluate_all("rows => rows.map(row => Number(row.dataset.probability))")
    best = p.topk(len(shares) - 1).values
    assert (torch.tensor(shares[:-1]) - best).abs().max() < 1e-5 and abs(sum(shares) - 1) < 1e-6
    page.locator(".mgw-chooser select").select_option("0")
    assert (
        abs(sum(page.locator(".mgw tbody tr").evaluate_all("rows => rows.map(r => +r.dataset.probability)")) - 1) < 1e-6
    )


def test_the_attention_explorer_reads_the_readers_own_text(shown, in_page):
    model, tokenizer = in_page
    page = shown("book/01_attention")
    own = "Et tu, Brute?"
    root = page.locator(".mgw").filter(has=page.get_by_label("A text of your own")).first
    root.get_by_label("A text of your own").fill(own)
    root.get_by_role("button", name="Read it").click()
    ids = tokenizer.encode(own).ids
    expect(root.locator(".mgw-chip")).to_have_count(len(ids))
    root.get_by_role("button", name="layer 2, head 3").click()
    root.locator(".mgw-chip").last.click()
    page.wait_for_timeout(100)
    weights = root.locator(".mgw-chip").evaluate_all("chips => chips.map(chip => Number(chip.dataset.weight))")
    expected = model.attention_weights(torch.tensor([ids]))[1][0, 2, -1]
    assert (torch.tensor(weights) - expected).abs().max() < 1e-5


def test_an_explorer_without_a_model_has_no_line_for_a_text():
    explorer = AttentionExplorer([torch.eye(2)[None]], ["a", "b"])
    assert not explorer.runs


# From a folder, under a strict policy, and when something fails


def test_from_a_folder_on_disk(browser, site, in_page):
    with Watched(browser, f"file://{site}") as watched:
        page = watched.open(CHAPTER)
        write(page)
        assert texts(page) == [
            "JULIET:\nI love" + complete(*in_page, "JULIET:\nI love", 100, temperature=0.8, seed=0, progress=False)
        ]


#: Remembers what the worker says of the model: whether WebAssembly multiplies.
LISTENING = """window.Worker = class extends Worker {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => { window.isSimd ??= data.isSimd; });
  }
};"""


@pytest.mark.parametrize("webassembly", [True, False])
def test_under_a_strict_content_security_policy(webassembly, browser, site, in_page):
    policy = POLICY if webassembly else POLICY.replace("'wasm-unsafe-eval' ", "")
    assert webassembly == ("wasm" in policy) and "unsafe" not in re.search("script-src (.*?);", policy)[1][22:]
    with served(site, policy) as address, Watched(browser, address) as watched:
        watched.page.add_init_script(LISTENING)
        page = watched.open(CHAPTER)
        write(page)
        expected = complete(*in_page, "JULIET:\nI love", 100, temperature=0.8, seed=0, progress=False)
        assert texts(page) == ["JULIET:\nI love" + expected]
        assert page.evaluate("window.isSimd") == webassembly and watched.wrong == []


@pytest.mark.parametrize("harm", ["lost", "cut short", "another version"])
def test_a_file_that_does_not_come_is_said_and_can_be_tried_again(harm, browser, address, site):
    file = (site / "_static" / "models" / "shakespeare.bin").read_bytes()
    bodies = {"cut short": file[:100_000], "another version": file.replace(b'"version":"1"', b'"version":"9"')}
    watched = Watched(browser, address)
    try:
        page = watched.open(CHAPTER)
        answer = (lambda r: r.abort()) if harm == "lost" else (lambda r: r.fulfill(body=bodies[harm]))
        page.route("**/shakespeare.bin", answer)
        page.get_by_label("The text so far").fill("What I typed")
        page.get_by_role("button", name="Write", exact=True).click()
        wait(page, "failed")
        said = page.locator(".mgw-status").inner_text()
        assert ("could not be fetched" if harm == "lost" else "damaged or of another version") in said
        assert page.get_by_label("The text so far").input_value() == "What I typed"
        page.unroute("**/shakespeare.bin")
        write(page)
        assert texts(page)[0].startswith("What I typed") and page.locator(".mgw-status").inner_text() == ""
    finally:
        watched.context.close()


def test_a_connection_that_dies_while_the_file_comes_is_said_and_can_be_tried_again(browser, site):
    whole = (site / "_static" / "models" / "shakespeare.bin").stat().st_size
    asked = []

    class Dying(QuietHandler):
        """Twice the file's headers are right, and the connection ends in the midst of the bytes."""

        def copyfile(self, source, outputfile):
            if self.path.partition("?")[0].endswith(".bin"):
                asked.append(self.path)
                if len(asked) <= 2:
                    outputfile.write(source.read(whole // 2))
                    self.close_connection = True
                    return
            super().copyfile(source, outputfile)

    with served(site, handler=Dying) as address, Watched(browser, address) as watched:
        page = watched.open(CHAPTER)
        page.get_by_label("The text so far").fill("What I typed")
        for _ in range(2):
            page.get_by_role("button", name="Write", exact=True).click()
            wait(page, "failed")
            said = page.locator(".mgw-status").inner_text()
            assert said.startswith("The model's file could not be fetched. Try again when there is a connection.")
            assert page.locator(".mgw-status progress").is_hidden()
            assert page.get_by_label("The text so far").input_value() == "What I typed"
        write(page)
        assert texts(page)[0].startswith("What I typed") and len(texts(page)[0]) > 50
        assert page.locator(".mgw-status").inner_text() == "" and len(asked) == 3


def test_a_tab_that_sleeps_while_it_writes_goes_on(browser, shown, in_page):
    """Asleep, as on a phone: page and worker stop. (Chromium's own freezing never reaches a page of Playwright's.)"""
    page = shown()
    page.evaluate(
        """() => {
          let last = performance.now();
          window.longest = 0;
          setInterval(() => {
            window.longest = Math.max(window.longest, performance.now() - last);
            last = performance.now();
          }, 10);
        }"""
    )
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    tabs = [process["id"] for process in processes if process["type"] == "renderer"]
    set_slider(page, "max_new_tokens", "269")  # more than the context holds: the last ones take longer
    page.get_by_role("button", name="Write", exact=True).click()
    pieces = page.locator(".mgw-piece")
    expect(pieces.nth(240)).to_be_attached(timeout=60_000)
    written = pieces.count()
    for signalled in (signal.SIGSTOP, signal.SIGCONT):
        for tab in tabs:
            os.kill(tab, signalled)
        time.sleep(2)
    wait(page)
    assert written < 269 and page.evaluate("window.longest") > 1_900
    knobs = {"temperature": 0.8, "progress": False}
    begun = "JULIET:\nI love" + complete(*in_page, "JULIET:\nI love", 240, seed=0, **knobs)
    assert texts(page)[0].startswith(begun) and pieces.count() == 269
    set_slider(page, "max_new_tokens", "20")
    write(page, "I will")
    assert texts(page) == ["I will" + complete(*in_page, "I will", 20, seed=0, **knobs)]


def test_memory_that_is_refused_is_said(shown):
    page = shown()
    page.evaluate("() => { window.Worker = class { constructor() { throw new RangeError('Out of memory'); } }; }")
    page.get_by_label("The text so far").fill("What I typed")
    page.get_by_role("button", name="Write", exact=True).click()
    wait(page, "failed")
    assert page.locator(".mgw-status").inner_text() == "Out of memory"
    assert page.get_by_label("The text so far").input_value() == "What I typed"


def test_two_playgrounds_on_a_page_share_the_model_and_nothing_else(browser, address, in_page):
    def stored(playground):
        return {"model_module": "anywidget", "state": playground.get_state(), "buffers": []}

    widgets = {"1": stored(Playground("shakespeare", seed=3)), "2": stored(Playground("shakespeare", small=True))}
    states = json.dumps({"state": widgets}).replace("<", "\\u003c")
    views = "".join(
        f'<script type="application/vnd.jupyter.widget-view+json">{{"model_id": "{n}"}}</script>' for n in widgets
    )
    body = (
        f'<!doctype html><script type="application/vnd.jupyter.widget-state+json">{states}</script>{views}'
        '<script src="../_static/widgets.js" defer></script>'
    )
    with Watched(browser, address) as watched:
        page, asked = watched.page, []
        page.on("request", lambda request: asked.append(request.url))
        page.route("**/book/two.html", lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8"))
        page.goto(f"{address}/book/two.html")
        page.wait_for_selector("html[data-widgets=ready]", state="attached")
        page.evaluate("document.querySelectorAll('.mgw-main').forEach((write) => write.click())")
        for n in (0, 1):
            expect(page.locator(".mgw").nth(n)).to_have_attribute("data-state", "written", timeout=60_000)
        prompt, knobs = "JULIET:\nI love", {"temperature": 0.8, "progress": False}
        assert texts(page) == [prompt + complete(*in_page, prompt, 100, seed=seed, **knobs) for seed in (3, 0)]
        assert sum("/models/" in url for url in asked) == 1


# For everyone


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_opened_playground_is_accessible(scheme, browser, address):
    with Watched(browser, address, scheme=scheme) as watched:
        page = watched.open(CHAPTER)
        page.get_by_role("button", name="Temperature 0 and 2").click()
        wait(page)
        page.locator(".mgw-piece").nth(3).click()
        page.locator(".mgw-opened").wait_for()
        page.get_by_label("show tokens").check()
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


def test_on_a_phone_nothing_scrolls_sideways(shown):
    page = shown(CHAPTER, width=360)
    page.get_by_role("button", name="Temperature 0 and 2").click()
    wait(page)
    page.locator(".mgw-piece").nth(3).click()
    page.locator(".mgw-opened").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_screen_readers_hear_phrases(shown):
    page = shown()
    write(page)
    said = page.locator("[role=log] p").all_inner_texts()
    whole = texts(page)[0]
    assert 5 < len(said) < 40 and all(re.search(r"[.!?;:]$", part) or f"{part}\n" in whole for part in said[:-1])
    assert "".join("".join(said).split()) in "".join(whole.split())


def test_the_model_comes_only_when_it_is_asked_for(browser, address):
    with Watched(browser, address) as watched:
        asked = []
        watched.context.on("request", lambda request: asked.append(request.url))
        page = watched.open(CHAPTER)
        assert not any("/models/" in url for url in asked)
        write(page)
        write(page)
        assert sum("/models/" in url for url in asked) == 1
        assert all(url.startswith((address, f"blob:{address}", "data:")) for url in asked)
