"""Chapters without their answers, for a class that is to find them itself."""

import copy
import re

#: A folded answer, and a hint that stands in its place, in a cell of text.
ANSWER = re.compile(r"\n*<details><summary>(?:Answers?|Hint)</summary>.*?</details>", re.DOTALL)

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def without_answers(notebook: dict) -> dict:
    """A copy of a chapter without its folded answers, the cells that compute them, and the solutions in its widgets.

    Args:
        notebook: the chapter as nbformat, or json, reads it.
    """
    notebook = copy.deepcopy(notebook)
    cells, answered = [], False
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"], found = ANSWER.subn("", "".join(cell["source"]))
            answered = found > 0
            if answered:
                cell["metadata"].pop("numbers", None)
        elif answered and {"hide-cell", "remove-cell"} & set(cell["metadata"].get("tags", [])):
            continue
        cells.append(cell)
    notebook["cells"] = cells
    for widget in notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values():
        if "solution" in widget["state"]:
            widget["state"]["solution"] = ""
    return notebook
