"""Execute the chapters as other machines would, and compare what they print with their stored outputs.

    python tools/machines.py                                        all chapters on all machines: hours
    python tools/machines.py --processors avx2 --threads 1 4 book/06_sampling.ipynb
    python tools/machines.py --report machines.md                   the table, into a file, too

Every chapter runs under nbval. Settings of PyTorch, MKL, oneDNN, NumPy, OpenBLAS and the C library make them avoid
some instructions of this processor, so that they round as on processors without these instructions. Some things
can't be tested that way: another operating system, an ARM processor, and MKL's AVX-512 paths on a processor that
isn't Intel's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy._core import _multiarray_umath as numpy_core

ROOT = Path(__file__).resolve().parents[1]
#: The features of this processor for which NumPy has variants of its functions.
NUMPY_VARIANTS = [name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[name]]
#: For each processor the settings that make this machine compute like it, and PyTorch's name for what is then used.
PROCESSORS = {
    "own": ({}, torch.backends.cpu.get_cpu_capability()),
    "avx2": (
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "NPY_DISABLE_CPU_FEATURES": ",".join(n for n in NUMPY_VARIANTS if "512" in n or n == "X86_V4"),
            "OPENBLAS_CORETYPE": "Haswell",
        },
        "AVX2",
    ),
    "default": (
        {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "NPY_DISABLE_CPU_FEATURES": ",".join(NUMPY_VARIANTS),
            "OPENBLAS_CORETYPE": "Nehalem",
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-FMA",
        },
        "DEFAULT",
    ),
}
THREADS = (1, 2, 4)


@dataclass(frozen=True)
class Cell:
    """The result of one cell of a chapter: "passed", "failed" or "skipped", its seconds, and the error if it failed."""

    chapter: str
    name: str
    outcome: str
    seconds: float
    message: str


def settings(processor: str, threads: int) -> dict[str, str]:
    """The environment variables that imitate a machine with this processor, and with so many threads for every library.

    MKL uses no more threads than there are cores, unless MKL_DYNAMIC is FALSE.
    """
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **PROCESSORS[processor][0], **counts, "MKL_DYNAMIC": "FALSE"}


def capability(environment: dict[str, str]) -> str:
    """The instructions that PyTorch uses in an environment, by PyTorch's names: DEFAULT, AVX2, AVX512, ..."""
    command = [sys.executable, "-c", "import torch; print(torch.backends.cpu.get_cpu_capability())"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def execute(chapter: Path, environment: dict[str, str], options: list[str]) -> list[Cell]:
    """Run a chapter under nbval.

    Args:
        chapter: a notebook.
        environment: the environment of the processes that run it.
        options: more options for pytest.

    Raises:
        RuntimeError: pytest broke off; the message holds its output.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += [f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml", *options, chapter]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"pytest must run all cells; it ended with {done.returncode}:\n{done.stdout[-3000:]}")
        cells = []
        for case in ElementTree.parse(report).iter("testcase"):
            wrong = next((e for e in case if e.tag in ("failure", "error")), None)
            skipped = case.find("skipped") is not None
            outcome = "skipped" if skipped else "passed" if wrong is None else "failed"
            message = "" if wrong is None else wrong.text or wrong.get("message", "")
            cells.append(Cell(chapter.stem, case.get("name"), outcome, float(case.get("time")), message))
    return cells


def time_limit(options: list[str]) -> float:
    """The seconds that nbval gives to a cell."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    words = config["tool"]["pytest"]["ini_options"]["addopts"].split() + options
    return float([word.partition("=")[2] for word in words if word.startswith("--nbval-cell-timeout=")][-1])


def table(cells_of: dict[str, list[Cell]], chapters: list[str], limit: float) -> str:
    """A Markdown table, machines by chapters: cells passed and failed, the slowest, its share of the time limit."""
    lines = [f"| machine | {' | '.join(chapters)} |", "|---" * (1 + len(chapters)) + "|"]
    for machine, cells in cells_of.items():
        row = []
        for chapter in chapters:
            mine = [cell for cell in cells if cell.chapter == chapter]
            passed, failed = (sum(cell.outcome == outcome for cell in mine) for outcome in ("passed", "failed"))
            slowest = max(mine, key=lambda cell: cell.seconds)
            count = f"{passed} passed" + (f", **{failed} failed**" if failed else "")
            row.append(f"{count}; {slowest.name} took {slowest.seconds:.0f} s, {slowest.seconds / limit:.0%}")
        lines.append(f"| {machine} | {' | '.join(row)} |")
    return "\n".join(lines)


def failures(cells_of: dict[str, list[Cell]]) -> str:
    """The cells that failed, each with the machines on which it failed and the error on the first of them."""
    where, first = defaultdict(list), {}
    for machine, cells in cells_of.items():
        for cell in cells:
            if cell.outcome == "failed":
                where[cell.chapter, cell.name].append(machine)
                first.setdefault((cell.chapter, cell.name), cell.message)
    lines = []
    for (chapter, name), machines in where.items():
        lines += [f"{chapter}, {name}: {'; '.join(machines)}", "```", first[chapter, name][-2000:].strip(), "```", ""]
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks; all of book/ if none is named")
    parser.add_argument("--processors", nargs="+", choices=PROCESSORS, default=list(PROCESSORS))
    parser.add_argument("--threads", nargs="+", type=int, default=THREADS)
    parser.add_argument("--report", type=Path, help="where to write the table, too; an existing file is added to")
    parser.add_argument("--pytest", nargs=1, action="extend", default=[], help="one more option for pytest")
    wanted = parser.parse_args(words)
    chapters = [path.resolve() for path in wanted.chapters] or sorted((ROOT / "book").glob("*.ipynb"))
    cells_of = {}
    for processor in wanted.processors:
        for threads in wanted.threads:
            environment = settings(processor, threads)
            machine = f"{processor}, {threads} thread{'s' * (threads != 1)}"
            must, is_ = PROCESSORS[processor][1], capability(environment)
            if must != is_:
                print(f"{machine}: left out, PyTorch can't be made to use {must} here; it uses {is_}", flush=True)
                continue
            cells_of[machine] = [cell for path in chapters for cell in execute(path, environment, wanted.pytest)]
            failed = sum(cell.outcome == "failed" for cell in cells_of[machine])
            seconds = sum(cell.seconds for cell in cells_of[machine])
            print(f"{machine}: {len(cells_of[machine])} cells, {failed} failed, {seconds:.0f} s", flush=True)
    text = table(cells_of, [path.stem for path in chapters], time_limit(wanted.pytest)) + "\n\n" + failures(cells_of)
    print(text)
    if wanted.report:
        with wanted.report.open("a", encoding="utf-8") as file:
            file.write(text)
    return int(any(cell.outcome == "failed" for cells in cells_of.values() for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
