"""The laws of the JavaScript that `make lint` does not know."""

import ast
import re
from functools import cache

import pytest
from conftest import BROWSER, ROOT

PACKAGE = BROWSER.parent
FILES = sorted([*PACKAGE.rglob("*.js"), *(ROOT / "book").rglob("*.js")])
TWINS = sorted(path.stem for path in BROWSER.glob("*.js"))


def exported(path) -> set[str]:
    """The names that a module exports."""
    return set(re.findall(r"^export (?:async )?(?:function|const|let|class) (\w+)", path.read_text("utf-8"), re.M))


def imported_names(tree: ast.Module, module: str) -> set[str]:
    """What a Python file imports from a module of minigpt, or from one below it."""
    prefix = re.compile(rf"minigpt\.{module}(\.|$)")
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and prefix.match(node.module or "")]
    return {alias.asname or alias.name for node in imports for alias in node.names}


@cache
def browser_tests() -> list[tuple[set[str], set[str], dict[str, set[str]]]]:
    """For each test that computes in the browser: what it calls there, its names, what its file imports by module."""
    found = []
    for path in (ROOT / "tests").glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports = {module: imported_names(tree, module) for module in TWINS}
        for test in tree.body:
            if isinstance(test, ast.FunctionDef) and "arithmetic" in [argument.arg for argument in test.args.args]:
                nodes = list(ast.walk(test))
                texts = [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
                called = set(re.findall(r"\bm\.(\w+)", " ".join(texts)))
                found.append((called, {n.id for n in nodes if isinstance(n, ast.Name)}, imports))
    return found


@pytest.mark.parametrize("module", TWINS)
def test_javascript_that_computes_has_a_twin_in_python(module):
    assert (PACKAGE / f"{module}.py").exists() or (PACKAGE / module / "__init__.py").exists()
    said = (BROWSER / f"{module}.js").read_text("utf-8").partition("\n")[0]
    named = re.search(r"minigpt/(\w+)[\w/]*\.py", said)
    assert named[1] == module and (ROOT / named[0]).exists()


#: Random numbers, which are PyTorch's in Python: of these, tests look at what comes out.
WITHOUT_TWIN = {"drawer", "randomNumbers"}


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
