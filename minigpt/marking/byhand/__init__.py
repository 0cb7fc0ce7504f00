"""Exercises in plain Python on lists, one a file. They are checked in the page, too, by the same lines."""

import ast
import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType


def names() -> list[str]:
    """The names of the exercises: "softmax"."""
    return [file.stem for file in sorted(Path(__file__).parent.glob("[a-z]*.py"))]


def module(name: str) -> ModuleType:
    """The file of an exercise, with its TASK, HINTS and EXERCISE; raise a ValueError that lists the names if there is
    none."""
    if name not in names():
        raise ValueError(f"name must be one of {', '.join(names())}; got {name!r}")
    return import_module(f"minigpt.marking.byhand.{name}")


def solution(name: str) -> str:
    """The code of the reference, as a learner could have written it."""
    source = inspect.getsource(module(name).EXERCISE.reference)
    return f"import math\n\n\n{source}" if "math." in source else source


def stub(name: str) -> str:
    """What a learner begins with: the solution with `...` in the place of its lines."""
    source = solution(name)
    function = ast.parse(source).body[-1]
    head = source.splitlines()[: function.body[0].end_lineno]  # the first statement is the docstring
    return "\n".join([*head, "    ...", ""])
