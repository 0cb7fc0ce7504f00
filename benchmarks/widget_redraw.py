"""The time from a moved slider to a drawn widget: python benchmarks/widget_redraw.py

Each widget is opened in headless Chromium, on a page of its own like those of the site, and its controls are used at
random. What the page does is timed: the handlers of the input event, the redraw in the next frame, and the layout
after it. Waiting for that frame is not counted. Each widget is timed once at the machine's speed, and once with
Chromium's processor throttling at 4 (roughly a phone). Results go to minigpt/results/widget_redraw.json.
"""

import base64
import json
import shutil
import statistics
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright
from store import measured_on, store

from minigpt import pretrained
from minigpt.widgets import AttentionExplorer, ParameterExplorer, SamplingExplorer

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "book" / "site_static" / "widgets.js"
MOVES = 600
FLAGS = ["--no-sandbox", "--disable-gpu"]
TIME = """async (moves) => {
  const inputs = [...document.querySelectorAll(".mgw input[type=range], .mgw-chip, .mgw-map")];
  const times = [];
  for (let n = 0; n < moves; n++) {
    const input = inputs[n % inputs.length];
    let started;
    requestAnimationFrame(() => (started = performance.now()));
    const until = performance.now();
    if (input.type === "range") {
      input.value = Math.round(Math.random() * input.max);
      input.dispatchEvent(new Event("input"));
    } else input.click();
    const handled = performance.now() - until;
    times.push(await new Promise((done) => {
      // The widget asked for its frame after `started` and before this: what it does lies between the two.
      requestAnimationFrame(() => {
        document.querySelector(".mgw").getBoundingClientRect();
        done(handled + performance.now() - started);
      });
    }));
  }
  return times;
}"""


def page_of(widget) -> str:
    """A page that holds one widget, in the same form as in a built chapter."""
    state = widget.get_state()
    buffers = [
        {"path": [name], "encoding": "base64", "data": base64.b64encode(value).decode()}
        for name, value in state.items()
        if isinstance(value, bytes)
    ]
    plain = {name: value for name, value in state.items() if not isinstance(value, bytes)}
    stored = {"state": {"1": {"model_module": "anywidget", "state": plain, "buffers": buffers}}}
    return (
        f'<!doctype html><body><script type="application/vnd.jupyter.widget-state+json">'
        f"{json.dumps(stored).replace('<', chr(92) + 'u003c')}</script>"
        '<script type="application/vnd.jupyter.widget-view+json">{"model_id": "1"}</script>'
        f"<script>{RUNTIME.read_text(encoding='utf-8')}</script>"
    )


def main() -> None:
    model, tokenizer = pretrained.load("shakespeare"), pretrained.load_tokenizer("shakespeare")
    torch.manual_seed(0)
    widgets = {
        "SamplingExplorer, V = 1,024": SamplingExplorer.of(model, tokenizer, ["I love", "She"]),
        "SamplingExplorer, V = 50,257": SamplingExplorer(
            {"random": torch.randn(50_257) * 3}, [str(i) for i in range(50_257)]
        ),
        "ParameterExplorer": ParameterExplorer("homework"),
        "AttentionExplorer, 14 tokens, 16 heads": AttentionExplorer.of(
            model, tokenizer, "To-morrow, and to-morrow, and to-"
        ),
    }
    results = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, widget in widgets.items():
            for slower in (1, 4):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.set_content(page_of(widget))
                page.wait_for_selector("html[data-widgets=ready]", state="attached")
                page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
                times = sorted(page.evaluate(TIME, MOVES))
                result = {
                    "widget": name,
                    "slower": slower,
                    "moves": MOVES,
                    "median_ms": round(statistics.median(times), 2),
                    "p95_ms": round(times[int(0.95 * MOVES)], 2),
                    "largest_ms": round(times[-1], 2),
                }
                results.append(result)
                print(result)
                page.close()
        version = browser.version
        browser.close()
    store("widget_redraw", measured_on(chromium=version), results)


if __name__ == "__main__":
    main()
