"""Make the lessons' notebooks from their masters; the same masters always give the same bytes.

    python tools/lessons.py                             all lessons
    python tools/lessons.py lessons/masters/03*.ipynb   some
    python tools/lessons.py --chapters FOLDER           copies of the chapters without their answers

From lessons/masters/NN_name.ipynb come lessons/NN_name.ipynb, which learners get, and lessons/solved/NN_name.ipynb,
with the solutions, executed. In a master, a solution stands between the lines

    ### BEGIN SOLUTION
    ### END SOLUTION

and learners find `...` in its place. A line `name = ...` right before it is the learner's, and is left out where the
solution is. What stands between BEGIN HIDDEN TESTS and END HIDDEN TESTS is for nbgrader alone, which takes the masters
as they are.
"""

import argparse
import copy
import re
from pathlib import Path

import nbformat
from chapters import METADATA, NUMBERS, OUTPUTS, ROOT, colab_cell, executed, outputs_checksum, write

from minigpt.page.answers import without_answers

LESSONS = ROOT / "lessons"
HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n.*?^### END HIDDEN TESTS\n?", re.MULTILINE | re.DOTALL)
SOLUTION = re.compile(
    r"(?P<stub>^\w+ = \.\.\.\n)?^(?P<indent> *)### BEGIN SOLUTION\n(?P<solution>.*?)^ *### END SOLUTION(?:\n|$)",
    re.MULTILINE | re.DOTALL,
)
#: What a learner finds in place of an answer in words.
IN_WORDS = "*Your answer:*"


def solutions(source: str) -> list[str]:
    """The solutions in the source of a cell."""
    return [match["solution"] for match in SOLUTION.finditer(source)]


def with_solutions(source: str) -> str:
    """The source of a cell of a master as the solved notebook has it."""
    return SOLUTION.sub(lambda match: match["solution"], HIDDEN.sub("", source)).rstrip("\n")


def without_solutions(source: str, is_code: bool = True) -> str:
    """The source of a cell of a master as learners get it."""

    def left(match):
        if not is_code:
            return IN_WORDS
        return match["stub"] or (f"{match['indent']}...\n" if match["indent"] else "")

    return SOLUTION.sub(left, HIDDEN.sub("", source)).rstrip("\n")


def solved_copy(master: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The solved notebook, executed."""
    notebook = copy.deepcopy(master)
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
        cell.source = with_solutions(cell.source)
        if cell.cell_type == "markdown":  # it lies one folder deeper
            cell.source = cell.source.replace("](../", "](../../")
    return executed(notebook)


def learners_copy(master: nbformat.NotebookNode, solved: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook for learners, without solutions and outputs; the numbers in its text are the solved one's."""
    notebook = copy.deepcopy(master)
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell, computed in zip(notebook.cells, solved.cells, strict=True):
        cell.metadata.pop("nbgrader", None)
        cell.source = without_solutions(cell.source, cell.cell_type == "code")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        elif NUMBERS in computed.metadata:
            cell.source = computed.source.replace("](../../", "](../")
            cell.metadata[NUMBERS] = computed.metadata[NUMBERS]
    notebook.cells[0].source, notebook.cells[0].metadata = colab_cell(), nbformat.from_dict({"tags": ["remove-cell"]})
    notebook.metadata[OUTPUTS] = outputs_checksum(notebook)
    return notebook


def make(path: Path, folder: Path = LESSONS) -> None:
    """Write both notebooks of a master into a folder: the learner's, and below "solved" the solved one."""
    master = nbformat.read(path, as_version=4)
    solved = solved_copy(master)
    (folder / "solved").mkdir(exist_ok=True)
    write(folder / "solved" / path.name, solved)
    write(folder / path.name, learners_copy(master, solved))


def handout(chapter: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter without its answers."""
    notebook = without_answers(chapter)
    notebook.metadata[OUTPUTS] = outputs_checksum(notebook)
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--chapters", type=Path, metavar="FOLDER", help="write the chapters without their answers there"
    )
    parser.add_argument("masters", nargs="*", type=Path, help="only these")
    options = parser.parse_args()
    if options.chapters:
        options.chapters.mkdir(parents=True, exist_ok=True)
        for path in sorted((ROOT / "book").glob("[0-9]*.ipynb")):
            write(options.chapters / path.name, handout(nbformat.read(path, as_version=4)))
        print(f"{options.chapters}: the chapters without their answers")
        return
    for path in options.masters or sorted((LESSONS / "masters").glob("*.ipynb")):
        make(path)
        print(f"{path.name}: made")


if __name__ == "__main__":
    main()
