"""Plant faults in a module, one at a time, and see whether its tests notice.

    python tools/mutants.py attention                  forty faults, drawn from seed 0
    python tools/mutants.py memory/step --count 100 --seed 1

Faults are small: `<` for `<=`, `+` for `-`, `and` for `or`, a number one larger, True for False, `min` for `max`, a
call left out. Each is planted in a copy of the repository, and the module's own tests run there until one fails. The
program prints the faults that no test noticed, and how many were noticed. Some unnoticed faults change nothing, for
instance at a bound that nothing can reach.
"""

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: More tests of a module, besides tests/test_NAME.py and, for a module in a subpackage, tests/test_SUBPACKAGE.py.
MORE_TESTS = {
    "attention": ["comments", "model"],
    "model": ["comments", "attention"],
    "files": ["train"],
    "pretrained": ["gpt2"],
    "memory/step": ["memory_widget"],
}
COMPARE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is"}
ARITHMETIC = {"+": "-", "-": "+", "*": "+", "//": "*", "/": "*", "%": "//", "**": "*", "@": "+"}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Fault:
    """A fault: `text` in place of the source from `begin` to `end`."""

    begin: int
    end: int
    text: str


def faults(source: str) -> Iterator[Fault]:
    """Every fault that can be planted in a source; docstrings, annotations and messages are left alone."""
    tree = ast.parse(source)
    lines = [0]
    for line in source.encode().split(b"\n"):
        lines.append(lines[-1] + len(line) + 1)

    def place(node, end=False):
        row, column = (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)
        return len(source.encode()[: lines[row - 1] + column].decode())

    def between(left, right, changes):
        begin, end = place(left, end=True), place(right)
        for symbol in re.finditer("|".join(sorted(map(re.escape, changes), key=len, reverse=True)), source[begin:end]):
            yield Fault(begin + symbol.start(), begin + symbol.end(), changes[symbol[0]])
            return

    silent = set()
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if getattr(node, field, None):
                silent |= set(ast.walk(getattr(node, field)))
        if isinstance(node, ast.Raise):
            silent |= set(ast.walk(node))
        if isinstance(node, ast.JoinedStr):
            silent |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in silent:
            continue
        if isinstance(node, ast.Compare):
            for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
                yield from between(left, right, COMPARE)
        elif isinstance(node, ast.BinOp):
            yield from between(node.left, node.right, ARITHMETIC)
        elif isinstance(node, ast.BoolOp):
            yield from between(node.values[0], node.values[1], {"and": "or", "or": "and"})
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Fault(place(node), place(node.operand), "")
        elif isinstance(node, ast.Name) and node.id in NAMES:
            yield Fault(place(node), place(node, end=True), NAMES[node.id])
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield Fault(place(node), place(node, end=True), str(not node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            yield Fault(place(node), place(node, end=True), repr(node.value + 1))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield Fault(place(node), place(node, end=True), "pass")


def is_noticed(module: Path, wrong: str, tests: list[str], copy: Path, seconds: float) -> bool:
    """Whether a test fails, or does not end in time, when the module in the copy is replaced by `wrong`."""
    target = copy / module.relative_to(ROOT)
    target.write_text(wrong, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", *tests]
    command += ["-o", "addopts="]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=seconds)
        return done.returncode != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        target.write_bytes(module.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", help="its name: attention, train/trainer, ...")
    parser.add_argument("--count", type=int, default=40, help="how many faults to plant")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--seconds", type=float, default=600, help="a test run that takes longer has noticed")
    options = parser.parse_args()
    module = ROOT / "minigpt" / f"{options.module}.py"
    tests = [f"tests/test_{name}.py" for name in [*options.module.split("/"), *MORE_TESTS.get(options.module, ())]]
    tests = [name for name in tests if (ROOT / name).exists()]
    source = module.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", ".git", "_build", "__pycache__", "runs"))
        if is_noticed(module, source, tests, copy, options.seconds):
            sys.exit(f"the tests of {module.name} must pass before faults are planted; they do not")
        every = list(dict.fromkeys(faults(source)))
        chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
        lived = 0
        for fault in sorted(chosen, key=lambda fault: fault.begin):
            wrong = source[: fault.begin] + fault.text + source[fault.end :]
            if is_noticed(module, wrong, tests, copy, options.seconds):
                continue
            lived += 1
            row = source.count("\n", 0, fault.begin)
            line = source.split("\n")[row].strip()
            print(
                f"{module.name}:{row + 1}: {source[fault.begin : fault.end]} -> {fault.text or 'nothing'}: {line}",
                flush=True,
            )
    print(f"{module.name}: {len(chosen) - lived} of {len(chosen)} noticed; {len(every)} could be planted")


if __name__ == "__main__":
    main()
