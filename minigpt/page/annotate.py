"""Show the source of anything in the package, with its comments in a column beside the code.

Docstrings, and comments on lines of their own, become notes. A note and the code under it are a
section with an anchor. Comments behind code (mostly shapes) stay where they are. The output is one
piece of HTML without scripts: it looks the same on the built site, in Jupyter and in Colab.
"""

import ast
import re
import textwrap
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import PythonLexer

from minigpt.page.source import comment_tokens, find_source, has_own_line

DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Section:
    """A note and the code that it explains.

    Attributes:
        anchor: the section's address on the page: the names of the class and function that it is
            in, then `step-4` if the note begins with "4. ", else the section's number in that
            function, from 0 (the signature).
        note: the comment or docstring, without # and quotation marks.
        code: the lines of code, without blank lines at both ends; "" if there are none.
        is_docstring: whether the note is a docstring.
    """

    anchor: str
    note: str
    code: str
    is_docstring: bool = False


@dataclass(frozen=True)
class Annotated:
    """The result of `annotate`; a notebook shows it as notes beside code.

    Attributes:
        name: the name of the class, function or module.
        sections: notes and code, in the order of the source.
        bare: the same source without comments and docstrings.
    """

    name: str
    sections: tuple[Section, ...]
    bare: str

    @property
    def code_lines(self) -> int:
        """The number of lines that hold code."""
        return count_lines(self.bare)

    @property
    def note_lines(self) -> int:
        """The number of lines of comments and docstrings, without comments behind code."""
        return sum(count_lines(section.note) for section in self.sections)

    def __repr__(self):
        return f"{self.name}: {self.code_lines} lines of code, {self.note_lines} of notes"

    def _repr_html_(self):
        name = escape(self.name)
        return (
            f'<style>{style()}</style><div class="mg-src" role="region" aria-label="Annotated source of {name}">'
            f'<div class="mg-src-bar"><label><input type="checkbox">without comments</label>'
            f"<span>{escape(repr(self))}</span></div>"
            f'<ol class="mg-full">{"".join(map(section_html, self.sections))}</ol>'
            f'<div class="mg-bare mg-code">{code_html(self.bare, name)}</div></div>'
        )


def annotate(source_of: object) -> Annotated:
    """Show the source of a class, function or module beside its comments.

    Show an object only once on a page; the second time, its sections would have the same addresses.

    Args:
        source_of: the class, function or module to show; it may be defined in a file or in a notebook's cell.

    Raises:
        TypeError: there is no Python source to show; this is so for a number, a built-in or a lambda.
    """
    source = find_source(source_of)
    return Annotated(source.name, sections(source.text, source.name), without_comments(source.text))


def sections(source: str, name: str) -> tuple[Section, ...]:
    """Cut a source into sections. A section begins at a comment on its own line, a def, a class or a docstring."""
    lines = source.split("\n")
    notes = comment_lines(source)
    docs, starts = docstrings(source)
    scopes = scope_of_lines(source, name)
    cut: list[Section] = []
    note: list[str] = []
    code: list[str] = []
    scope, numbers = name, {}

    def close(is_docstring=False):
        nonlocal note, code
        text = "\n".join(code).strip("\n")
        if text or note:
            number = numbers[scope] = numbers.get(scope, -1) + 1
            step = re.match(r"(\d+)\. ", note[0]) if note else None
            anchor = f"{scope}-step-{step[1]}" if step else f"{scope}-{number}"
            if any(section.anchor == anchor for section in cut):
                anchor = f"{scope}-{number}"
            cut.append(Section(anchor, "\n".join(note), text, is_docstring))
        note, code = [], []

    number = 1
    while number <= len(lines):
        if number in docs:
            end, text = docs[number]
            note = [*note, "", *text.splitlines()] if note else text.splitlines()
            close(is_docstring=True)
            number = end
        elif number in notes:
            if code:
                close()
            note.append(notes[number])
        else:
            if number in starts and any(line.strip() for line in code):
                close()
            if not code:
                scope = scopes.get(number, name)
            code.append(lines[number - 1])
        number += 1
    close()
    return tuple(cut)


def comment_lines(source: str) -> dict[int, str]:
    """The line number and text of every comment that has its line to itself."""
    return {
        token.start[0]: token.string.lstrip("#:").removeprefix(" ").rstrip()
        for token in comment_tokens(source)
        if has_own_line(token)
    }


def docstrings(source: str) -> tuple[dict[int, tuple[int, str]], set[int]]:
    """The places of docstrings (first line: last line and text), and the lines on which defs and classes begin.

    A docstring that shares its line with other code counts as code.
    """
    lines, docs, starts = source.split("\n"), {}, set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, *DEFINITIONS)):
            continue
        if not isinstance(node, ast.Module):
            starts.add(first_line(node))
        text = ast.get_docstring(node)
        if text is not None:
            string = node.body[0]
            before = lines[string.lineno - 1][: string.col_offset]
            behind = lines[string.end_lineno - 1].encode()[string.end_col_offset :].decode()
            if not before.strip() and not behind.partition("#")[0].strip():
                docs[string.lineno] = (string.end_lineno, text)
    return docs, starts


def first_line(node: ast.AST) -> int:
    """The first line of a def or class, decorators included."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def scope_of_lines(source: str, name: str) -> dict[int, str]:
    """For every line, the names of the classes and functions that it is in, joined by hyphens."""
    scopes: dict[int, str] = {}

    def visit(node, path):
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, DEFINITIONS):
                inner = path if child.name == path else f"{path}-{child.name}"
                scopes.update(dict.fromkeys(range(first_line(child), child.end_lineno + 1), inner))
            visit(child, inner)

    visit(ast.parse(source), name)
    return scopes


def without_comments(source: str) -> str:
    """The same program without comments, docstrings and blank lines, except a blank line before each def and class."""
    lines, tree = source.split("\n"), ast.parse(source)
    for token in comment_tokens(source):
        row, column = token.start
        lines[row - 1] = lines[row - 1][:column].rstrip()
    docs, starts = docstrings(source)
    hidden = {line for first, (last, _) in docs.items() for line in range(first, last + 1)}
    for node in ast.walk(tree):
        if isinstance(node, DEFINITIONS) and len(node.body) == 1 and node.body[0].lineno in docs:
            number = node.body[0].lineno  # a body of only a docstring becomes `pass`
            lines[number - 1] = " " * node.body[0].col_offset + "pass"
            hidden.discard(number)
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr))
    inside = {line for string in strings for line in range(string.lineno, string.end_lineno)} - hidden
    kept = [(n, line) for n, line in enumerate(lines, 1) if n not in hidden and (line.strip() or n in inside)]
    return "\n".join(("\n" + line if n in starts and i else line) for i, (n, line) in enumerate(kept))


def count_lines(text: str) -> int:
    """The number of lines that are not blank."""
    return sum(bool(line.strip()) for line in text.splitlines())


def section_html(section: Section) -> str:
    kind = ' class="mg-doc"' if section.is_docstring or not section.note else ""
    link = f'<a href="#{section.anchor}" aria-label="Link to {section.anchor}">#</a>'
    note = f'<div class="mg-note">{link}{note_html(section.note)}</div>' if section.note else ""
    code = f'<div class="mg-code">{code_html(section.code, section.anchor)}</div>' if section.code else ""
    return f'<li id="{section.anchor}"{kind}>{note}{code}</li>'


def code_html(code: str, label: str, lexer: Lexer | None = None) -> str:
    lexer = lexer or PythonLexer(stripnl=False, ensurenl=False)
    marked = highlight(code, lexer, HtmlFormatter(nowrap=True))
    marked = re.sub(r'<span class="(?:n|p|w|nn|bp|nb)">(.*?)</span>', r"\1", marked)  # these have no colour
    indent = min((len(line) - len(line.lstrip()) for line in code.splitlines() if line.strip()), default=0)
    return f'<pre tabindex="0" aria-label="Code of {label}" style="--indent:{indent}"><code>{marked}</code></pre>'


def note_html(note: str) -> str:
    """A note as HTML, with its paragraphs, lists, indented formulas and the Google sections of a docstring."""
    parts = []
    for block in re.split(r"\n\s*\n", note):
        heading, _, rest = block.partition("\n")
        if re.fullmatch(r"(Args|Returns|Raises|Attributes):", heading):
            parts.append(f"<p><strong>{heading}</strong></p>{entries_html(textwrap.dedent(rest))}")
        elif block.startswith(("    ", ">>>")):
            parts.append(f"<pre><code>{escape(textwrap.dedent(block))}</code></pre>")
        elif block.startswith("- "):
            items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
            parts.append(f"<ul>{''.join(f'<li>{inline_html(item)}</li>' for item in items)}</ul>")
        elif block.strip():
            parts.append(f"<p>{inline_html(block)}</p>")
    return "".join(parts)


def entries_html(text: str) -> str:
    """Lines `name: what it is`, continued by deeper lines, as a definition list; any other text as a paragraph."""
    items = re.split(r"\n(?!\s)", text)
    if not all(re.match(r"[\w, ]+: ", item) for item in items):
        return f"<p>{inline_html(text)}</p>"
    pairs = (item.split(": ", 1) for item in items)
    return "<dl>" + "".join(f"<dt>{escape(n)}</dt><dd>{inline_html(what)}</dd>" for n, what in pairs) + "</dl>"


def inline_html(text: str) -> str:
    flowing = escape(" ".join(text.split()), quote=False)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", flowing)


@cache
def style() -> str:
    css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return re.sub(r"\s*([{};,>~])\s*", r"\1", " ".join(css.split()))
