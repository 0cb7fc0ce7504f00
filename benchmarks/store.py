"""The common part of the benchmarks: a separate process for a measurement, a file of results, facts on the machine."""

import json
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from minigpt.files import write_files
from minigpt.results import FOLDER


def measured_on(**more) -> dict:
    """The machine and the versions that results depend on; a benchmark may add more."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **more,
    }


def store(name: str, where: dict, results: list[dict]) -> None:
    """Write minigpt/results/NAME.json, all of it or nothing; `where` is what measured_on() says."""
    text = json.dumps({"measured_on": where, "results": results}, indent=1) + "\n"
    write_files({FOLDER / f"{name}.json": lambda path: path.write_text(text, encoding="utf-8")})


def apart(function: Callable, *arguments):
    """Call a function in a process of its own, whose memory is free again when it ends."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()
