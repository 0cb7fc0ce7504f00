"""Chapters without their answers, for a class that is to find them itself."""

import ast
import copy
import re
from collections.abc import Iterator, Sequence

#: A folded answer, or the hint that stands in its place, in a cell of text.
ANSWER = re.compile(r"\n*<details><summary>(?:Answers?|Hint)</summary>.*?</details>", re.DOTALL)

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def without_answers(chapter: dict) -> dict:
    """A copy of a chapter without its folded answers, the hidden cells that compute them, and its widgets' solutions.

    A hidden cell stays if a later cell needs what it defines.

    Args:
        chapter: the notebook as nbformat, or json, reads it.
    """
    notebook = copy.deepcopy(chapter)
    hidden, answered = [], False
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])  # a text, or a list of its lines
        if cell["cell_type"] == "markdown":
            cell["source"], found = ANSWER.subn("", cell["source"])
            answered = found > 0
            if answered:
                cell["metadata"].pop("numbers", None)
        elif answered and "hide-cell" in cell["metadata"].get("tags", []):
            hidden.append(cell)
    kept = [cell for cell in notebook["cells"] if cell not in hidden]
    notebook["cells"] = [
        cell
        for cell in notebook["cells"]
        if cell["source"] and (cell not in hidden or (defined_in([cell]) - defined_in(kept)) & used_in(kept))
    ]
    for widget in notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values():
        if "solution" in widget["state"]:
            widget["state"]["solution"] = ""
    return notebook


def nodes_of(cells: Sequence[dict]) -> Iterator[ast.AST]:
    """The syntax trees of cells of code, node by node; the Colab cell left out, which is not all Python."""
    for cell in cells:
        if cell["cell_type"] == "code" and "%pip" not in cell["source"]:
            yield from ast.walk(ast.parse(cell["source"]))


def defined_in(cells: Sequence[dict]) -> set[str]:
    """The names that cells define: variables, functions and their arguments, imports."""
    names = set()
    for node in nodes_of(cells):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name)
    return names


def used_in(cells: Sequence[dict]) -> set[str]:
    """The names that cells use."""
    return {node.id for node in nodes_of(cells) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
