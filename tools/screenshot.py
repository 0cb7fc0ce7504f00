"""Take the picture of the built site for the README: `make site`, then `.venv/bin/python tools/screenshot.py`."""

import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "_build" / "html" / "book" / "01_attention.html"
TARGET = ROOT / ".github" / "screenshot.png"


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1320, "height": 760})
        page.goto(PAGE.as_uri())
        page.wait_for_selector("mjx-container")
        page.evaluate("document.querySelector('#MultiHeadAttention-forward-step-1').scrollIntoView()")
        page.wait_for_timeout(500)
        page.screenshot(path=TARGET)
        browser.close()
    Image.open(TARGET).convert("RGB").quantize(64).save(TARGET, optimize=True)  # a third of the size


if __name__ == "__main__":
    main()
