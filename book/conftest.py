"""What `pytest --nbval book/` asks each chapter besides: whether the numbers in its text are those that its kernel
computes, whether the shapes in its cells' comments are its tensors', and whether its widgets hold what is stored."""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import nbformat
from nbval.plugin import IPyNbCell, IPyNbFile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import chapters  # noqa: E402

ASK_SHAPES = """
import json
from minigpt.page import shapes as _shapes
print(json.dumps(_shapes.wrong(_shapes.check_cell({!r}, globals()))))
"""
PRINT_STATE = 'print(json.dumps(checksums(Widget.get_manager_state()["state"])))'


def pytest_collection_modifyitems(items):
    """Put the questions behind the cells of each chapter, as cells of its own."""
    asked: dict[IPyNbFile, dict[int, list[IPyNbCell]]] = {}
    for notebook in {item.parent: None for item in items if isinstance(item, IPyNbCell)}:
        asked[notebook] = questions(notebook)
    items[:] = [
        one
        for item in items
        for one in [item, *(asked[item.parent].get(item.cell_num, ()) if isinstance(item, IPyNbCell) else ())]
    ]


def questions(notebook: IPyNbFile) -> dict[int, list[IPyNbCell]]:
    """For the number of a code cell, what is asked behind it."""
    code = [i for i, cell in enumerate(notebook.nb.cells) if cell.cell_type == "code"]
    asked: dict[int, list[IPyNbCell]] = {}
    for question in chapters.questions(notebook.nb):
        number = code.index(question.behind)
        name = f"Cell {number}, numbers in the text {question.cell.id}"
        asked.setdefault(number, []).append(cell(notebook, number, name, question.source, question.said))
    for number, i in enumerate(code):
        source = notebook.nb.cells[i].source
        if re.search(r"\S.*# \(", source):
            name = f"Cell {number}, shapes in the comments"
            asked.setdefault(number, []).append(cell(notebook, number, name, ASK_SHAPES.format(source), []))
    if "widgets" in notebook.nb.metadata:
        last, state = len(code) - 1, chapters.widget_state(notebook.nb)
        source = chapters.STATE_QUESTION + PRINT_STATE
        asked.setdefault(last, []).append(cell(notebook, last, "state of the widgets", source, state))
    return asked


def cell(notebook: IPyNbFile, number: int, name: str, source: str, answer: object) -> IPyNbCell:
    output = nbformat.v4.new_output("stream", name="stdout", text=json.dumps(answer) + "\n")
    code = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    options = defaultdict(bool, check=True)
    return IPyNbCell.from_parent(notebook, name=name, cell_num=number, cell=code, options=options)
