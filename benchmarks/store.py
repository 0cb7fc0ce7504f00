"""What benchmarks share: a process of its own for a measurement, a file for the results."""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from minigpt.files import write_files

RESULTS = Path(__file__).parent / "results"


def store(name: str, measured_on: dict, results: list[dict]) -> None:
    """Write results/NAME.json, all of it or nothing."""
    text = json.dumps({"measured_on": measured_on, "results": results}, indent=1) + "\n"
    write_files({RESULTS / f"{name}.json": lambda path: path.write_text(text, encoding="utf-8")})


def apart(function: Callable, *arguments):
    """Call a function in a process of its own, which takes its memory along when it ends."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()
