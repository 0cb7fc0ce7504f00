"""What several test files need: the repository's root, the built site, a browser, the JavaScript that computes."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from minigpt import pretrained
from minigpt.widgets.explorer import IMPORT

ROOT = Path(__file__).resolve().parents[1]
BROWSER = ROOT / "minigpt" / "browser"
REPOSITORY = "https://github.com/some-teacher/gpt-course"
#: The Content-Security-Policy that README tells a server to send.
POLICY = re.search(r"Content-Security-Policy: (.*)", (ROOT / "README.md").read_text(encoding="utf-8"))[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

# One core for each process of `pytest --numprocesses`; both for a single one.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
torch.set_num_threads(1 if WORKERS > 1 else 2)


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", default=False, help="run tests marked slow, too")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if {"browser", "site"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("browser")
        if item.get_closest_marker("slow") and not config.getoption("--slow", False):
            item.add_marker(pytest.mark.skip(reason="slow; --slow runs it"))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shipped():
    """The model that comes with the package, and its tokenizer."""
    return pretrained.load("shakespeare"), pretrained.load_tokenizer("shakespeare")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site, built once for all processes of this run."""
    together = tmp_path_factory.getbasetemp()
    together = together.parent if WORKERS > 1 else together
    out = together / "site"
    with FileLock(together / "site.lock"):
        if not out.exists():
            build_site(tmp_path_factory.mktemp("site-build")).rename(out)
    return out


def build_site(out: Path) -> Path:
    """The site in `out`, built as a fork would build it: clean, warnings as errors, its own repository."""
    program = Path(sys.executable).parent / "jupyter-book"
    command = [program, "build", ROOT, "-W", "--keep-going", "--path-output", out]
    environment = {**os.environ, "MINIGPT_REPOSITORY": REPOSITORY}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=out)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out / "_build" / "html"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def served(folder: Path, policy: str | None = None, handler: type = QuietHandler):
    """A server of a folder, which may send a Content-Security-Policy; its address."""

    class Handler(handler):
        def end_headers(self):
            if policy:
                self.send_header("Content-Security-Policy", policy)
            super().end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def address(site) -> str:
    """Where the built site is served."""
    with served(site) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, else Playwright's own. None at all skips, but fails in CI."""
    from playwright.sync_api import Error, sync_playwright

    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=found, args=FLAGS)
        except Error as error:
            reason = "no browser found; one command cures it: .venv/bin/playwright install chromium"
            if os.environ.get("CI"):
                pytest.fail(f"{reason}\n{error}")
            pytest.skip(reason)
        yield running
        running.close()


@pytest.fixture(scope="module")
def arithmetic(browser):
    """A function that runs a body in the browser, with the modules of minigpt/browser as m and its argument as a.

    JSON has no -Infinity: null stands for it.
    """
    page = browser.new_page()
    modules = [path for path in sorted(BROWSER.glob("*.js")) if path.name != "worker.js"]
    texts = [path.read_text(encoding="utf-8") for path in modules]
    data = [(names, file) for text in texts for names, file in IMPORT.findall(text) if file.endswith(".toml")]
    objects = [
        f"const {name} = {json.dumps(tomllib.loads((BROWSER / file).read_text('utf-8')))};" for name, file in data
    ]
    source = "".join([*objects, *(IMPORT.sub("", text) for text in texts)])
    address = f"data:text/javascript;base64,{base64.b64encode(source.encode()).decode()}"
    page.evaluate(f"import('{address}').then((module) => {{ window.m = module; }})")
    yield lambda body, argument=None: page.evaluate(f"(a) => {{ {body} }}", argument)
    page.close()
