"""What a submission says: from a notebook's text to the code behind one name.

A notebook is not run from top to bottom. For each name that is asked for, only the lines that it needs are taken: its
last definition, what that uses, and so on. So a training loop, a plot or a check neither costs time nor counts.
"""

import ast
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Statement:
    """A line of a notebook, or several that belong together.

    Attributes:
        cell: the number of its code cell, from 1.
        order: its place in the notebook.
        node: the line itself.
        binds: the names that it gives a meaning to.
        uses: the names whose meaning it may need.
    """

    cell: int
    order: int
    node: ast.stmt
    binds: frozenset[str]
    uses: frozenset[str]


@dataclass(frozen=True)
class Submission:
    """The lines of a notebook, and the cells that can't be read, each with the reason."""

    statements: list[Statement]
    unreadable: dict[int, str]

    def defining(self, name: str) -> list[Statement]:
        """The lines that give a name its meaning, in their order. The last one counts."""
        return [statement for statement in self.statements if name in statement.binds]

    def needed_for(self, name: str) -> list[Statement]:
        """The lines to run so that a name has its meaning, in their order."""
        needed: dict[int, Statement] = {}
        asked, wanted = set(), [name]
        while wanted:
            asked.add(name := wanted.pop())
            for statement in self._meaning(name):
                if statement.order not in needed:
                    needed[statement.order] = statement
                    wanted += [used for used in statement.uses if used not in asked]
        return [needed[order] for order in sorted(needed)]

    def _meaning(self, name: str) -> list[Statement]:
        """The last definition of a name, and all lines after it that change what the name means: `total += 1`."""
        lines = self.defining(name) or self.defining("*")  # from torch import *
        whole = [line for line in lines if isinstance(line.node, DEFINITIONS) or name not in line.uses]
        return lines[lines.index(whole[-1]) :] if whole else lines


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def read(text: str, is_notebook: bool) -> Submission:
    """Read a submission; raise a ValueError that says what is wrong with it as a whole."""
    statements, unreadable = [], {}
    for number, source in enumerate(code_cells(text) if is_notebook else [text], 1):
        try:
            body = ast.parse(without_magics(source)).body
        except SyntaxError as error:
            unreadable[number] = f"line {error.lineno} is not Python"
        except (ValueError, RecursionError, MemoryError) as error:
            unreadable[number] = f"it is not Python ({type(error).__name__})"
        else:
            for node in body:
                statements.append(Statement(number, len(statements), node, bound(node), used(node)))
    return Submission(statements, unreadable)


def code_cells(text: str) -> list[str]:
    """The sources of a notebook's code cells."""
    try:
        cells = json.loads(text)["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
        return ["".join(source) for source in code]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError("the file is no notebook (of version 4)") from None


def without_magics(source: str) -> str:
    """A cell without the lines that only a notebook understands: "%pip install", "!ls", "%%time"."""
    lines = source.split("\n")
    return "\n".join("pass" if line.startswith(("%", "!", "?")) else line for line in lines)


def bound(node: ast.stmt) -> frozenset[str]:
    """The names that a line gives a meaning to, at the top level."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset({node.name})
    if isinstance(node, ast.Import | ast.ImportFrom):  # of `from x import *` the name is "*"
        return frozenset((alias.asname or alias.name).partition(".")[0] for alias in node.names)
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


def used(node: ast.stmt) -> frozenset[str]:
    """The names whose meaning a line may need, those inside its functions, too."""
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return frozenset(names)
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    loaded = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
    changed = {node.target.id} if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) else set()
    return frozenset(names - (stored - loaded - changed))
