"""The source text of an object, and the comments in it: what `annotate` shows and `shapes` checks."""

import inspect
import io
import tokenize
from collections.abc import Iterator


def source_of_object(thing: object) -> str:
    """The source of a module, class or function, moved to the left margin.

    The first line's indent is what is removed: lines inside a string may have less.

    Raises:
        TypeError, OSError: there is no Python source, as for a number or a built-in.
    """
    source = inspect.getsource(thing)
    indent = source[: len(source) - len(source.lstrip(" "))]
    return "\n".join(line.removeprefix(indent) for line in source.split("\n"))


def comment_tokens(source: str) -> Iterator[tokenize.TokenInfo]:
    """Every comment of a source, in order; a # inside a string is none."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return (token for token in tokens if token.type == tokenize.COMMENT)


def has_own_line(comment: tokenize.TokenInfo) -> bool:
    """Whether nothing but space stands before a comment."""
    return comment.line.lstrip().startswith("#")
