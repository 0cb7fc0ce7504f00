"""The model in the page beside the same weights in onnxruntime-web: python benchmarks/page_model_onnx.py FOLDER

FOLDER is where `npm install onnxruntime-web` was said. Python needs two packages more, onnx and onnxruntime: they make
the model as it is in the page an ONNX file, in 32 bits, and in 8 (there the products are of whole numbers, too). Keys
and values of earlier positions are inputs and outputs. All is timed as in page_model.py, in turns, with one thread of
WebAssembly: more need headers that many hosts of pages don't send. The bytes of the model and of the runtime are there
when the clock starts. All read the text that minigpt writes; how many of its tokens they would have drawn, too, is
stored. Results go to minigpt/results/page_model_onnx.json.
"""

import argparse
import base64
import gzip
import json
import shutil
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import onnxruntime.quantization
import torch
from page_model import FLAGS, MEASURE, NEW_TOKENS, PROMPT, ROUNDS, SEED, TEMPERATURE, in_pytorch, summary
from playwright.sync_api import sync_playwright
from store import measured_on, store
from torch import nn

from minigpt import GPT, pretrained
from minigpt.quantization import dequantized, page_file
from minigpt.widgets.explorer import bundle

WORKER = """
const to64 = (numbers) => new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), [1, numbers.length]);
let ort, session;
const requests = {
  async stop() {
    ort = await import(`${AT}/ort.wasm.bundle.min.mjs`);
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = await (await fetch(`${AT}/ort-wasm-simd-threaded.wasm`)).arrayBuffer();
  },
  async load({ buffer }) {
    session = await ort.InferenceSession.create(new Uint8Array(buffer), { executionProviders: ["wasm"] });
  },
  async write({ id, settings }) {
    const random = randomNumbers(settings.seed);
    let [unread, positions] = [PROMPT_IDS, PROMPT_IDS.map((_, i) => i)];
    let kept = { past_keys: new ort.Tensor("float32", [], EMPTY), past_values: new ort.Tensor("float32", [], EMPTY) };
    for (const ours of TEXT) {
      const found = await session.run({ tokens: to64(unread), positions: to64(positions), ...kept });
      kept = { past_keys: found.keys, past_values: found.values };
      const logits = found.logits.data;
      const probabilities = nextTokenProbabilities(logits, settings);
      self.postMessage({ id, token: drawer(probabilities, random)(), probabilities, logits });
      [unread, positions] = [[ours], [positions.at(-1) + 1]];
    }
  },
};
self.addEventListener("message", async ({ data: { name, ...request } }) => {
  try {
    await requests[name](request);
    self.postMessage({ id: request.id, done: true });
  } catch (error) {
    self.postMessage({ id: request.id, done: true, error: error.message });
  }
});
"""


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class WithoutObjects(nn.Module):
    """A GPT whose cache is tensors: ONNX has no others."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, tokens, positions, past_keys, past_values):
        """(1, T), (1, T), twice (L, H, P, D) -> (V,), twice (L, H, P + T, D)."""
        model, kept = self.model, []
        x = model.token_embedding(tokens) + model.position_embedding(positions)  # (1, T, C)
        for block, keys, values in zip(model.blocks, past_keys, past_values, strict=True):
            attention, normed = block.attention, block.norm1(x)
            heads = partial(torch.unflatten, dim=-1, sizes=(attention.n_heads, attention.d_head))
            asks, keys_now, values_now = (
                heads(linear(normed)).transpose(1, 2) for linear in (attention.query, attention.key, attention.value)
            )  # (1, H, T, D)
            keys, values = torch.cat([keys[None], keys_now], 2), torch.cat([values[None], values_now], 2)
            scores = asks @ keys.transpose(-2, -1) / attention.d_head**0.5  # (1, H, T, P + T)
            future = torch.arange(keys.shape[2]) > positions[0, :, None]  # (T, P + T)
            found = scores.masked_fill(future, -torch.inf).softmax(-1) @ values  # (1, H, T, D)
            x = x + attention.output(found.transpose(1, 2).flatten(2))
            x = x + block.feed_forward(block.norm2(x))
            kept.append((keys[0], values[0]))
        logits = model.head(model.norm(x)[0, -1])  # (V,)
        return logits, *(torch.stack(part) for part in zip(*kept, strict=True))


def onnx_files(model: GPT, folder: Path) -> dict[str, bytes]:
    """The model as ONNX, in 32 and in 8 bits."""
    config, plain, small = model.config, folder / "plain.onnx", folder / "small.onnx"
    past = torch.zeros(config.n_layers, config.n_heads, 3, config.d_model // config.n_heads)
    names = ["tokens", "positions", "past_keys", "past_values"], ["logits", "keys", "values"]
    moving = {name: {1: "T"} for name in names[0][:2]} | {name: {2: name} for name in names[0][2:] + names[1][1:]}
    inputs = torch.tensor([[1, 2]]), torch.tensor([[3, 4]]), past, past
    how = {"input_names": names[0], "output_names": names[1], "dynamic_axes": moving}
    with torch.no_grad():
        torch.onnx.export(WithoutObjects(model).eval(), inputs, str(plain), opset_version=17, dynamo=False, **how)
    onnxruntime.quantization.quantize_dynamic(plain, small, per_channel=True)
    return {"onnxruntime-web, 32 bits": plain.read_bytes(), "onnxruntime-web, 8 bits": small.read_bytes()}


def in_browser(browser, address: str, source: str, file: bytes, where: str, slower: int):
    """As in page_model.py, for any worker, on a page of the server's."""
    page = browser.new_page()
    page.goto(f"{address}/")
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": slower})
    settings = {"temperature": TEMPERATURE, "maxNewTokens": NEW_TOKENS, "seed": SEED}
    asked = {"where": where, "prompt": PROMPT, "settings": settings, "source": source}
    times, tokens, _ = page.evaluate(MEASURE, asked | {"file": base64.b64encode(file).decode()})
    page.close()
    return times, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    package = parser.parse_args().folder / "node_modules" / "onnxruntime-web"
    runtime = [package / "dist" / name for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")]
    model, tokenizer = pretrained.load("shakespeare"), pretrained.load_tokenizer("shakespeare")
    file, config = page_file(model, tokenizer), model.config
    with tempfile.TemporaryDirectory() as folder:
        files = {"minigpt": file} | onnx_files(dequantized(model), Path(folder))
    text = in_pytorch(file)[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=package / "dist"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    known = {
        "AT": address,
        "PROMPT_IDS": tokenizer.encode(PROMPT).ids,
        "TEXT": text,
        "EMPTY": [config.n_layers, config.n_heads, 0, config.d_model // config.n_heads],
    }
    constants = "".join(f"const {name} = {json.dumps(value)};" for name, value in known.items())
    theirs = bundle("../browser/sampling.js") + constants + WORKER
    cases = [(name, *how) for name in files for how in (("worker", 1), ("page's thread", 4))]
    runs = {case: [] for case in cases}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for _ in range(ROUNDS):
            for name, *how in cases:
                source = bundle("../browser/worker.js") if name == "minigpt" else theirs
                runs[name, *how].append(in_browser(browser, address, source, files[name], *how))
        version = browser.version
        browser.close()
    server.shutdown()
    results = []
    for (name, where, slower), found in runs.items():
        parts = [files[name]] + ([] if name == "minigpt" else [part.read_bytes() for part in runtime])
        same = {sum(a == b for a, b in zip(tokens, text, strict=True)) for _, tokens in found}
        sizes = {"bytes": sum(map(len, parts)), "bytes_gzipped": sum(len(gzip.compress(part, 9)) for part in parts)}
        asked = {"new_tokens": NEW_TOKENS, "same_tokens": min(same), "rounds": ROUNDS}
        results.append({"case": name, "where": where, "slower": slower} | sizes | asked)
        results[-1] |= summary([times for times, _ in found])
        print(results[-1])
    runtime_version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    store("page_model_onnx", measured_on(chromium=version, onnxruntime_web=runtime_version), results)


if __name__ == "__main__":
    main()
