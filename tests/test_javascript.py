"""The laws of the JavaScript that `make lint` does not know."""

import ast
import re
from functools import cache

import pytest
from conftest import BROWSER, ROOT

PACKAGE = BROWSER.parent
FILES = sorted([*PACKAGE.rglob("*.js"), *(ROOT / "book").rglob("*.js")])
#: All have a Python file of the same name, but the worker and the products of matrices, which Python has from PyTorch.
TWINS = sorted({path.stem for path in BROWSER.glob("*.js")} - {"worker", "simd"})


def exported(path) -> set[str]:
    """The names that a module exports."""
    return set(re.findall(r"^export (?:async )?(?:function|const|let|class) (\w+)", path.read_text("utf-8"), re.M))


def imported_names(tree: ast.Module, module: str) -> set[str]:
    """What a Python file imports from a module of minigpt, or from one below it."""
    prefix = re.compile(rf"minigpt\.(\w+\.)*{module}(\.|$)")
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and prefix.match(node.module or "")]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def with_helpers(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> list[ast.FunctionDef]:
    """A function, its fixtures and the functions of its file that it calls, and theirs."""
    reached = [function]
    for one in reached:
        names = {arg.arg for arg in one.args.args} | {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
        reached += [functions[name] for name in names if name in functions and functions[name] not in reached]
    return reached


@cache
def browser_tests() -> list[tuple[set[str], set[str], dict[str, set[str]]]]:
    """For each test that computes in the browser: what it calls there, its names, what its file imports by module."""
    found = []
    for path in (ROOT / "tests").glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = {module: imported_names(tree, module) for module in TWINS}
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for test in functions.values():
            parts = with_helpers(test, functions) if test.name.startswith("test_") else []
            if "arithmetic" in [argument.arg for part in parts for argument in part.args.args]:
                nodes = [node for part in parts for node in ast.walk(part)]
                texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                called = set(re.findall(r"\bm\.(\w+)", " ".join(texts)))
                found.append((called, {n.id for n in nodes if isinstance(n, ast.Name)}, imports))
    return found


@pytest.mark.parametrize("module", TWINS)
def test_javascript_that_computes_has_a_twin_in_python(module):
    said = (BROWSER / f"{module}.js").read_text("utf-8").partition("\n")[0]
    named = re.search(r"minigpt/[\w/]+\.py", said)
    twin = ROOT / named[0]
    assert twin.exists() and module in (twin.stem, twin.parent.name)


#: In Python drawing is part of `draw`: of this, tests look at what comes out.
WITHOUT_TWIN = {"drawer"}


@pytest.mark.parametrize("module", TWINS)
def test_what_javascript_computes_is_compared_with_python_in_the_browser(module):
    called, compared = set(), set()
    for calls, names, imports in browser_tests():
        called |= calls
        compared |= calls if names & imports[module] else set()
    assert exported(BROWSER / f"{module}.js") <= compared | (called & WITHOUT_TWIN)


def test_what_is_exported_is_imported_somewhere():
    imports = [re.findall(r"^import \{([^}]*)\}", path.read_text("utf-8"), re.M) for path in FILES]
    imported = {name for texts in imports for text in texts for name in re.findall(r"\w+", text)}
    for path in FILES:
        assert exported(path) - imported == set(), path.name


def test_no_line_is_longer_than_pythons():
    long = [
        (path.name, n)
        for path in FILES
        for n, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert long == []
