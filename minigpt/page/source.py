"""The source text of an object, and the comments in it: what `annotate` shows and `shapes` checks."""

import ast
import inspect
import io
import linecache
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from types import FunctionType, ModuleType


@dataclass(frozen=True)
class Source:
    """The source text of an object, and where it is.

    Attributes:
        name: the object's own name.
        text: its source, moved to the left margin by the indent of the first line. (Lines inside a string may
            have a smaller indent; they stay as they are.)
        path: the file; for a notebook's cell, the name that Python gave it.
        first_line: the line of the file on which the text begins, counted from 1.
    """

    name: str
    text: str
    path: str
    first_line: int


def find_source(source_of: object) -> Source:
    """The source of a module, class, function or method, defined in a file or in a notebook's cell.

    For a decorated function, a partial function or a property, it is the source of the function inside.

    Raises:
        TypeError: there is no Python source. This is so for a number, a built-in, a lambda, or something that
            `exec` made; the message says why.
    """
    thing = function_inside(source_of)
    name = getattr(thing, "__name__", "").rpartition(".")[2]
    try:
        if isinstance(thing, type):
            path, first, lines = class_source(thing)
        elif isinstance(thing, ModuleType):
            path, first, lines = inspect.getsourcefile(thing), 1, inspect.getsourcelines(thing)[0]
        elif inspect.isroutine(thing) and not isinstance(thing, FunctionType):
            raise OSError("what is built in has none")
        elif not isinstance(thing, FunctionType):
            inner = getattr(thing, "_orig_mod", thing)  # the module inside the wrapper of torch.compile
            raise OSError(f"if anything here has one, it is the class {type(inner).__name__}")
        elif name == "<lambda>":
            raise OSError("a lambda has no lines to itself; a def has")
        else:
            path, (lines, first) = thing.__code__.co_filename, inspect.getsourcelines(thing)
    except (TypeError, OSError) as error:
        got = shorten(repr(source_of), 100)
        raise TypeError(f"source_of must be a module, class or function with a source; got {got} ({error})") from error
    text = "".join(lines)
    indent = text[: len(text) - len(text.lstrip(" \t"))]
    return Source(name, "\n".join(line.removeprefix(indent) for line in text.split("\n")), path, first)


def function_inside(thing: object) -> object:
    """The function itself, without its decorators, bound arguments and the object that it is bound to."""
    while True:
        inner = inspect.unwrap(thing) if callable(thing) else thing
        for kind, attribute in ((partial, "func"), (property, "fget"), (object, "__func__")):
            if isinstance(inner, kind):
                inner = getattr(inner, attribute, inner)
        if inner is thing:
            return thing
        thing = inner


def class_source(cls: type) -> tuple[str, int, list[str]]:
    """The file, first line and lines of a class.

    Python remembers the module of a class, but not the file and line: a notebook has no file, and may define the
    same name twice. But the methods of the class know their files and lines, and the class is around them.

    Raises:
        OSError, TypeError: the source can't be found.
    """
    inside = [function_inside(value) for value in vars(cls).values()]
    # Methods that were taken from elsewhere, or made by a dataclass, are left out.
    start = f"{cls.__qualname__}."
    own = [f for f in inside if isinstance(f, FunctionType) and f.__code__.co_qualname.startswith(start)]
    for method in own:
        path, line = method.__code__.co_filename, method.__code__.co_firstlineno
        lines = linecache.getlines(path)
        around = [
            (node.lineno, min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno)
            for node in ast.walk(ast.parse("".join(lines)))
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__ and node.lineno <= line <= node.end_lineno
        ]
        if around:
            _, first, last = max(around)
            return path, first, lines[first - 1 : last]
    try:
        if not own:
            lines, first = inspect.getsourcelines(cls)
            return inspect.getsourcefile(cls), first, lines
    except (TypeError, OSError):
        pass
    raise OSError("a class without a file is found by its methods, of which none has a source")


def comment_tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Every comment of a source, in order; a # inside a string is not a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return (token for token in tokens if token.type == tokenize.COMMENT)


def has_own_line(comment: tokenize.TokenInfo) -> bool:
    """Whether a comment has its line to itself."""
    return comment.line.lstrip().startswith("#")
