"""The speed of the course's GPT in the page: python benchmarks/page_model.py

The model that comes with the package, as the page's file in 8 bits, is read by minigpt/browser/worker.js in headless
Chromium. The file's bytes are there and the worker runs when the clock starts. First it stops at the first token of a
text, then at each of the others: the median of their distances is the time for a token, in steps of 0.1 ms as
Chromium's clock goes. Every run has a new page.

Chromium's processor throttling at 4 (roughly a phone) does not reach a worker. So there the worker's code runs on the
page's own thread, with a stand-in for what a worker calls `self`; the same without throttling says what that changes.
Where a browser or a page's policy refuses WebAssembly, a loop in JavaScript multiplies: it is timed, too.

Beside it, PyTorch reads the same file in Python, and all of them must write the same text. What was hoped for is
printed beside the results. Results go to minigpt/results/page_model.json.
"""

import argparse
import base64
import gzip
import json
import shutil
import statistics
import time

import torch
from playwright.sync_api import Browser, sync_playwright
from safetensors.torch import load
from store import measured_on, store
from tokenizers import Tokenizer

from minigpt import GPTConfig, pretrained
from minigpt.quantization import dequantize, page_file
from minigpt.sampling import generate
from minigpt.widgets.explorer import bundle

PROMPT, NEW_TOKENS, SEED, TEMPERATURE = "ROMEO:\nWhat light", 200, 0, 0.8
ROUNDS = 5
FLAGS = ["--no-sandbox", "--disable-gpu"]
#: Where the code runs, and how much slower the processor is made; then what was hoped for, in milliseconds.
CASES = [
    ("worker", 1, {"first_token_ms": 300, "token_ms": 2}),
    ("worker without WebAssembly", 1, {}),
    ("page's thread", 1, {}),
    ("page's thread", 4, {"token_ms": 8}),
    ("PyTorch", 1, {}),
]
MEASURE = """async ({ source, file, where, prompt, settings }) => {
  const { buffer } = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
  let post, answered;
  if (where.startsWith("worker")) {
    const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => answered(data);
    post = (request, transfer) => worker.postMessage(request, transfer);
  } else {
    let hears;
    const self = { addEventListener: (_, listener) => (hears = listener), postMessage: (data) => answered(data) };
    new Function("self", source)(self);
    post = (data) => hears({ data });
  }
  const [times, tokens] = [[], []];
  const ask = (request, transfer = []) => new Promise((resolve, reject) => {
    answered = ({ token, done, error, isSimd }) => {
      if (token !== undefined) {
        times.push(performance.now() - began);
        tokens.push(token);
      }
      if (done) error ? reject(new Error(error)) : resolve(isSimd);
    };
    post(request, transfer);
  });
  await ask({ id: 0, name: "stop" }).catch(() => {}); // It runs now, and says that it has no model yet.
  const began = performance.now();
  const isSimd = await ask({ id: 1, name: "load", buffer }, [buffer]);
  await ask({ id: 2, name: "write", prompt, settings });
  return [times, tokens, isSimd];
}"""


def in_browser(browser: Browser, file: bytes, where: str, slower: int) -> tuple[list[float], list[int]]:
    """When each token came, in milliseconds from the file's bytes on, and the tokens."""
    page = browser.new_page()
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    settings = {"temperature": TEMPERATURE, "maxNewTokens": NEW_TOKENS, "seed": SEED}
    without = "without WebAssembly" in where
    source = ("delete globalThis.WebAssembly;" if without else "") + bundle("../browser/worker.js")
    asked = {"where": where, "prompt": PROMPT, "settings": settings, "source": source}
    times, tokens, is_simd = page.evaluate(MEASURE, asked | {"file": base64.b64encode(file).decode()})
    page.close()
    assert is_simd != without, "the other loop ran"
    return times, tokens


def in_pytorch(file: bytes) -> tuple[list[float], list[int]]:
    """The same in Python."""
    began = time.perf_counter()
    facts = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])["__metadata__"]
    stored = load(file)
    weights = {
        name: dequantize(tensor, stored[f"{name}.scale"]) if tensor.dtype == torch.int8 else tensor
        for name, tensor in stored.items()
        if not name.endswith(".scale")
    }
    model = pretrained.build(GPTConfig(**json.loads(facts["config"])), weights).eval()
    prompt = Tokenizer.from_str(facts["tokenizer"]).encode(PROMPT).ids
    times, tokens = [], []
    for token in generate(model, prompt, NEW_TOKENS, temperature=TEMPERATURE, seed=SEED, progress=False):
        times.append((time.perf_counter() - began) * 1_000)
        tokens.append(int(token))
    return times, tokens


def summary(runs: list[list[float]]) -> dict:
    """Medians of the runs, and the least and the most."""
    found = {
        "first_token_ms": [times[0] for times in runs],
        "token_ms": [statistics.median(b - a for a, b in zip(times, times[1:], strict=False)) for times in runs],
    }
    return {name: round(statistics.median(values), 2) for name, values in found.items()} | {
        name.replace("_ms", "_spread_ms"): [round(min(values), 2), round(max(values), 2)]
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    torch.set_num_threads(parser.parse_args().threads)
    model, tokenizer = pretrained.load("shakespeare"), pretrained.load_tokenizer("shakespeare")
    file, prompt_tokens = page_file(model, tokenizer), len(tokenizer.encode(PROMPT).ids)
    assert prompt_tokens + NEW_TOKENS <= model.config.context_length
    runs, texts = {(where, slower): [] for where, slower, _ in CASES}, set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(ROUNDS):
            for where, slower in runs:
                run = in_pytorch(file) if where == "PyTorch" else in_browser(browser, file, where, slower)
                runs[where, slower].append(run[0])
                texts.add(tuple(run[1]))
        version = browser.version
        browser.close()
    assert len(texts) == 1 and len(texts.pop()) == NEW_TOKENS
    results = [{"file_bytes": len(file), "file_bytes_gzipped": len(gzip.compress(file, 9))}]
    print(results[0])
    asked = {"prompt_tokens": prompt_tokens, "new_tokens": NEW_TOKENS, "rounds": ROUNDS}
    for where, slower, hoped in CASES:
        results.append({"where": where, "slower": slower} | asked | summary(runs[where, slower]))
        print(results[-1], *(f"(hoped for: {name} {most})" for name, most in hoped.items()))
    store("page_model", measured_on(chromium=version, threads=torch.get_num_threads()), results)


if __name__ == "__main__":
    main()
