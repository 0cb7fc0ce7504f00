"""A widget in a live JupyterLab: moved in the browser, read in a cell, and set from one."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

CELLS = [
    "from minigpt import pretrained\n"
    "from minigpt.widgets import SamplingExplorer\n"
    "model, tokenizer = pretrained.load('shakespeare'), pretrained.load_tokenizer('shakespeare')\n"
    "explorer = SamplingExplorer.of(model, tokenizer, ['I love', 'O'])\n"
    "explorer",
    "kept = (explorer.probabilities > 0).sum().item()\nprint(f'read: {explorer.temperature} {explorer.top_k} {kept}')",
    "explorer.temperature, explorer.top_k, explorer.text = 0.25, 33, 1",
    "from minigpt import CONFIGS, GPT\n"
    "from minigpt.widgets import Playground\n"
    "untrained = GPT(CONFIGS['mini'].but(vocab_size=1024))\n"
    "Playground(untrained, tokenizer, max_new_tokens=9)",
    "from minigpt.widgets import ByHand\nByHand('softmax')",
]


@pytest.fixture
def lab(tmp_path):
    """A running JupyterLab with nobody's settings, and a notebook in it."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    nbformat.write(notebook, tmp_path / "live.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path / "home"
    folders = {f"JUPYTER{name}": str(home / name.strip("_").lower()) for name in ("_CONFIG_DIR", "_RUNTIME_DIR")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "spaces")}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={tmp_path}"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token="),
    ]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "IPYTHONDIR": str(home), **folders}
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/status", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "lab.log").read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/lab/tree/live.ipynb"
    finally:
        server.terminate()
        server.wait(20)


def test_a_slider_is_read_and_set_by_python_cells(lab, browser):
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)  # the status bar: the kernel is there
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    widget = page.locator(".mgw").first
    slider = widget.locator("[data-trait=temperature]")
    slider.wait_for(timeout=60_000)

    # What the third cell has set from Python is what the widget shows.
    page.wait_for_function("document.querySelector('.mgw [data-trait=temperature]')?.value === '25'", timeout=60_000)
    assert "of 1,024 tokens" in widget.inner_text()
    assert widget.locator("[data-trait=top_k]").get_attribute("aria-valuetext") == "33"  # between two of its steps
    assert widget.locator("select").input_value() == "1"
    outputs = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    assert outputs.inner_text().strip() == "read: 1.0 None 1024"

    # Arrow keys are the slider's, not the notebook's; what they do arrives in Python.
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "29"
    assert page.evaluate("document.activeElement.dataset.trait") == "temperature"
    page.keyboard.press("d")
    page.keyboard.press("d")  # would delete a cell if it reached the notebook
    assert page.locator(".jp-CodeCell").count() == len(CELLS)
    top_k = widget.locator("[data-trait=top_k]")
    top_k.focus()
    page.keyboard.press("Home")
    page.locator(".jp-CodeCell").nth(1).locator(".jp-InputPrompt").click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "document.querySelectorAll('.jp-CodeCell')[1].querySelector('.jp-OutputArea-output')?.innerText.trim() === "
        "'read: 0.29 1 1'",
        timeout=30_000,
    )

    # A model that was made here writes in the page: its weights come from the kernel.
    playground = page.locator(".mgw").nth(1)
    playground.scroll_into_view_if_needed()
    playground.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_function(
        "document.querySelectorAll('.mgw')[1].dataset.state === 'written'"
        " && document.querySelectorAll('.mgw')[1].querySelectorAll('.mgw-piece').length === 9",
        timeout=30_000,
    )

    # An exercise by hand: its keys are its own, and its Python comes from the kernel.
    exercise = page.locator(".mgw").nth(2)
    code = exercise.locator("textarea")
    code.scroll_into_view_if_needed()
    code.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("def softmax(scores):")
    page.keyboard.press("Enter")
    page.keyboard.type("return")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert code.input_value() == "def softmax(scores):\n    return\n        "
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelectorAll('.mgw')[2].dataset.state === 'failed'", timeout=60_000)
    assert "needs a return" in exercise.inner_text() and code.evaluate("code => code === document.activeElement")
    assert not re.search(r"Error", page.locator(".jp-Notebook").inner_text())
    page.close()
