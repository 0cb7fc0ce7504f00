"""What a submission says: from a notebook's text to the code behind one name.

A notebook is not run from top to bottom. For each name that is asked for, only the lines that it needs are taken: its
last definition, what that uses, and so on. So a training loop, a plot or a check neither costs time nor counts.
"""

import ast
import json
import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Statement:
    """A line of a notebook, or several that belong together.

    Attributes:
        cell: the number of its code cell, from 1.
        order: its place in the notebook.
        node: the line itself.
        binds: the names that it gives a meaning to, or changes the meaning of.
        now: the names that it needs as it is run.
        later: the names that its functions need when they are called.
    """

    cell: int
    order: int
    node: ast.stmt
    binds: frozenset[str]
    now: frozenset[str]
    later: frozenset[str]


@dataclass(frozen=True)
class Submission:
    """The lines of a notebook, and the cells that can't be read, each with the reason."""

    statements: list[Statement]
    unreadable: dict[int, str]

    def defining(self, name: str) -> list[Statement]:
        """The lines that give a name its meaning, in their order. The last one counts."""
        return self._by_name.get(name, [])

    @cached_property
    def _by_name(self) -> dict[str, list[Statement]]:
        found: dict[str, list[Statement]] = {}
        for statement in self.statements:
            for name in statement.binds:
                found.setdefault(name, []).append(statement)
        return found

    def needed_for(self, name: str) -> list[Statement]:
        """The lines to run so that a name has the meaning that it has at the end, in their order.

        A name may mean different things at different places: what a line needs as it is run is what the name means
        there, and what a function needs is what the name means where the function is called.
        """
        needed: dict[int, Statement] = {}
        asked, wanted = set(), [(name, len(self.statements))]
        while wanted:
            name, place = wanted.pop()
            if (name, place) in asked:
                continue
            asked.add((name, place))
            for statement in self._meaning(name, place):
                needed[statement.order] = statement
                wanted += [(used, statement.order) for used in statement.now]
                wanted += [(used, place) for used in statement.later]
        return [needed[order] for order in sorted(needed)]

    def _meaning(self, name: str, place: int) -> list[Statement]:
        """The last definition of a name before a place, and all lines after it that may change what it means."""
        lines = [line for line in self.defining(name) if line.order < place]
        if not lines:
            return [line for line in self.defining("*") if line.order < place]  # from torch import *
        whole = [i for i, line in enumerate(lines) if not isinstance(line.node, PERHAPS) and name not in line.now]
        return lines[whole[-1] :] if whole else lines


#: Lines that may leave a name as it was; and imports: `import torch.nn` adds to what `import torch` has brought.
PERHAPS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.Match, ast.Import)

#: The methods that change the list, set or dict that they are called on. Those of tensors end with "_".
CHANGING = {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "sort"}
CHANGING |= {"setdefault", "update"}


def read(text: str, is_notebook: bool) -> Submission:
    """Read a submission; raise a ValueError that says what is wrong with it as a whole."""
    statements, unreadable = [], {}
    for number, source in enumerate(code_cells(text) if is_notebook else [text], 1):
        try:
            body = parsed(source)
        except SyntaxError as error:
            unreadable[number] = f"line {error.lineno} is not Python"
        except TypeError:
            unreadable[number] = "it is no text"
        except (ValueError, RecursionError, MemoryError) as error:
            unreadable[number] = f"Python gives up on it ({type(error).__name__})"
        else:
            for node in body:
                statements.append(Statement(number, len(statements), node, bound(node), *used(node)))
    return Submission(statements, unreadable)


def code_cells(text: str) -> list:
    """The sources of a notebook's code cells, each a text or, in a notebook that no program wrote, anything."""
    try:
        cells = json.loads(text)["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the file is no notebook (of version 4)") from None
    return ["".join(map(str, source)) if isinstance(source, list) else source for source in code]


def parsed(source: str) -> list[ast.stmt]:
    """The lines of a cell. Those that only a notebook understands are left out, if there are any."""
    if not isinstance(source, str):
        raise TypeError("source must be a text")
    source = source.removeprefix("\ufeff")  # some editors put it before a file, and so it gets into a cell
    try:
        return ast.parse(source).body
    except SyntaxError:
        return ast.parse(without_magics(source)).body


#: `%%time` and `%%capture` have Python below them, other cells with %% have not.
OF_PYTHON = re.compile(r"\s*%%(?:time|capture|prun)\b.*")
#: What stands behind `%time` is Python.
TIMED = re.compile(r"^(\s*)%time\s+(?=\S)")
#: "%pip install", "!ls", "x = !ls", "?max", "max?".
MAGIC = re.compile(r"^(\s*)(?:[\w., ]+=\s*)?(?:[%!?].*|[\w.%*]+\?\??\s*)$")


def without_magics(source: str) -> str:
    """A cell without what only a notebook understands. The other lines keep their numbers."""
    if source.lstrip().startswith("%%") and not OF_PYTHON.match(source):
        return ""
    lines, goes_on = [], False
    for line in OF_PYTHON.sub("pass", source, count=1).split("\n"):
        line = TIMED.sub(r"\1", line)
        magic = MAGIC.match(line)
        if goes_on or magic:
            lines.append("" if goes_on else f"{magic[1]}pass")
            goes_on = line.rstrip().endswith("\\")
        else:
            lines.append(line)
    return "\n".join(lines)


def bound(node: ast.stmt) -> frozenset[str]:
    """The names that a line gives a meaning to, or changes the meaning of, at the top level."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset({node.name})
    if isinstance(node, ast.Import | ast.ImportFrom):  # of `from x import *` the name is "*"
        return frozenset((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    if isinstance(node, ast.AnnAssign) and node.value is None:  # `n: int` sets nothing
        return frozenset()
    names = set()
    for inner in at_this_level(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            names.add(inner.id)
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(inner.name)
        elif isinstance(inner, ast.Import | ast.ImportFrom):
            names |= bound(inner)
        elif isinstance(inner, ast.Attribute | ast.Subscript) and isinstance(inner.ctx, ast.Store):
            owner = inner
            while isinstance(owner, ast.Attribute | ast.Subscript):
                owner = owner.value
            if isinstance(owner, ast.Name):
                names.add(owner.id)
        elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            method, owner = inner.func.attr, inner.func.value
            while isinstance(owner, ast.Subscript):
                owner = owner.value
            if isinstance(owner, ast.Name) and (method in CHANGING or re.search("[a-z]_$", method)):
                names.add(owner.id)
    return frozenset(names)


def at_this_level(node: ast.AST):
    """A line's parts, without those inside a function, a class or a comprehension, whose names are their own."""
    inside = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
    comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    waiting = [node]
    while waiting:
        part = waiting.pop()
        yield part
        if not isinstance(part, inside | comprehension):
            waiting += ast.iter_child_nodes(part)


def used(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """The names whose meaning a line needs as it is run, and those that its functions need when they are called."""
    now, later = set(), set()
    waiting = [(node, now)]
    while waiting:
        part, names = waiting.pop()
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
            names.add(part.target.id)
        is_function = isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for field, value in ast.iter_fields(part):
            inside = value if isinstance(value, list) else [value]
            when = later if is_function and field == "body" else names
            waiting += [(child, when) for child in inside if isinstance(child, ast.AST)]
    return frozenset(now), frozenset(later)
