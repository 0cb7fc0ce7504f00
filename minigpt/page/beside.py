"""Python beside the JavaScript that does the same in the page."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import dedent

from pygments.lexer import Lexer
from pygments.lexers import JavascriptLexer, PythonLexer

import minigpt
from minigpt.page.annotate import code_html, count_lines, docstrings, style
from minigpt.page.source import find_source

BROWSER = Path(minigpt.__file__).parent / "browser"


@dataclass(frozen=True)
class Beside:
    """The result of `beside`; a notebook shows the two sources side by side, on a phone one above the other."""

    name: str
    python: str
    javascript: str

    def __repr__(self):
        python, javascript = count_lines(self.python), count_lines(self.javascript)
        return f"{self.name}: {python} lines of Python, {javascript} of JavaScript"

    def _repr_html_(self):
        blocks = [block(self.python, "Python", PythonLexer()), block(self.javascript, "JavaScript", JavascriptLexer())]
        return f'<style>{style()}</style><div class="mg-src mg-beside">{"".join(blocks)}</div>'


def block(code: str, language: str, lexer: Lexer) -> str:
    return f'<div class="mg-code"><p>{language}</p>{code_html(code, escape(language), lexer)}</div>'


def beside(source_of: object, file: str, method: str) -> Beside:
    """A Python function, without its docstring, beside a method in minigpt/browser.

    Args:
        source_of: a Python function or method.
        file: the name of a file in minigpt/browser, such as "model.js".
        method: a method there, such as "GPT.forward", or a function.

    Raises:
        TypeError: there is no Python source.
        ValueError: the file holds no such method.

    >>> beside(minigpt.GPT.hidden_states, "model.js", "GPT.hiddenStates").name
    'GPT.hiddenStates'
    """
    python = find_source(source_of).text
    for first, (last, _) in docstrings(python)[0].items():
        lines = python.split("\n")
        python = "\n".join(lines[: first - 1] + lines[last:])
    javascript = javascript_source((BROWSER / file).read_text(encoding="utf-8"), method)
    if javascript is None:
        raise ValueError(f"method must be one of {file}; got {method!r}")
    return Beside(method, python.rstrip("\n"), javascript)


def javascript_source(text: str, method: str) -> str | None:
    """A method `Class.name`, or a function, of a formatted source: from its line to the brace in the same column."""
    owner, _, name = method.rpartition(".")
    if owner:
        found = re.search(rf"^(?:export )?class {owner} .*?^}}", text, re.MULTILINE | re.DOTALL)
        text = found[0] if found else ""
    keyword = "" if owner else r"(?:export )?function\*? "
    found = re.search(rf"^( *){keyword}{name}\(.*?^\1}}", text, re.MULTILINE | re.DOTALL)
    return dedent(found[0]).removeprefix("export ") if found else None
