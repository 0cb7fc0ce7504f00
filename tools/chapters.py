"""Execute chapters and store their outputs; the same sources always give the same bytes.

    python tools/chapters.py                  all chapters
    python tools/chapters.py book/03*.ipynb   some

If a chapter fails, its file stays as it was. Timings and the machine's Python version are left out, and the
random ids of widgets are replaced by numbers. The first cell, which makes a chapter run in Colab, is
written anew from _config.yml. The numbers in the text are computed in the chapter's kernel, when all
cells have run, and written into the text (see minigpt/page/prose.py).
"""

import json
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from minigpt.data import PLAYS_PACKAGE
from minigpt.files import write_files
from minigpt.page import prose

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
#: The metadata key for the bound numbers of a cell of text, as the kernel has computed them.
NUMBERS = "numbers"
#: The metadata key for a checksum of all outputs of a notebook. It shows whether someone changed them by hand.
OUTPUTS = "outputs_crc32"


def colab_cell() -> str:
    """The first cell of every chapter: in Colab it installs the package and the plays; elsewhere it does nothing.

    A %pip that fails doesn't stop a cell, so the lines after it check whether the package is there.
    """
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    url, branch = repository["url"], repository["branch"]
    return (
        "# Colab needs the course's package first. Everywhere else this cell does nothing.\n"
        "import importlib.util\n"
        "import sys\n\n"
        'if "google.colab" in sys.modules:\n'
        f"    %pip install -q git+{url}@{branch}\n"
        f"    %pip install -q --no-deps {PLAYS_PACKAGE}\n"
        "    importlib.invalidate_caches()\n"
        '    if importlib.util.find_spec("minigpt") is None:\n'
        "        raise RuntimeError(\n"
        f'            "no course at {url}: in a fork, set repository url in "\n'
        '            "_config.yml to its address, run make chapters and push"\n'
        "        )"
    )


def run(path: Path) -> None:
    """Execute one chapter in place."""
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0]
    if first.cell_type != "code" or "google.colab" not in first.source:
        raise ValueError(f"{path}: the first cell must be the Colab cell")
    write(path, executed(notebook))


def write(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Write a notebook; if that fails, its file stays as it was."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    write_files({path: lambda place: place.write_text(text, encoding="utf-8")})


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its outputs and the right numbers in its text. Its first cell becomes the Colab cell."""
    first = notebook.cells[0]
    first.source = colab_cell()
    first.metadata = {"tags": ["remove-cell"]}
    asked = [(question, nbformat.v4.new_code_cell(question.source)) for question in questions(notebook)]
    for question, asking in reversed(asked):
        notebook.cells.insert(question.behind + 1, asking)
    # A stream is cut into pieces at places that depend on timing, so the pieces are joined.
    where = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, timeout=2_000, coalesce_streams=True, resources=where).execute()
    for cell in notebook.cells:
        cell.metadata.pop(NUMBERS, None)
    for question, asking in asked:
        notebook.cells.remove(asking)
        right = question.cell.metadata[NUMBERS] = json.loads(asking.outputs[0].text)
        question.cell.source = prose.rewritten(question.cell.source, right)
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(METADATA | ({"widgets": widgets} if widgets else {}))
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code_cells, 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    _, notebook = nbformat.validator.normalize(notebook)
    nbformat.validate(notebook)
    notebook = nbformat.reads(numbered(nbformat.writes(notebook), widget_ids(widgets)), as_version=4)
    notebook.metadata[OUTPUTS] = outputs_checksum(notebook)
    return notebook


@dataclass(frozen=True)
class Question:
    """A question to the kernel: what are the right values of the bound numbers in a cell of text?

    Attributes:
        cell: the cell of text.
        behind: the index of the code cell after which the question is asked. A text may be about the cells
            before it and about the next one, so it is asked after the next one, or after the last.
        source: the code that asks the question.
        said: the numbers as they are in the text.
    """

    cell: nbformat.NotebookNode
    behind: int
    source: str
    said: list[str]


def questions(notebook) -> list[Question]:
    """The questions about all cells of text that have bound numbers, in their order."""
    code = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    asked = []
    for i, cell in enumerate(notebook.cells):
        bound = prose.bound_numbers(cell.source) if cell.cell_type == "markdown" else []
        if bound:
            wanted = [(number.kind, number.text, number.expression) for number in bound]
            # The code uses no name of the chapter, because the chapter may have given it another meaning.
            answers = f"__import__('minigpt.page.prose').page.prose.answers(globals(), {wanted!r})"
            source = f"print(__import__('json').dumps({answers}))"
            behind = next((j for j in code if j > i), code[-1])
            asked.append(Question(cell, behind, source, [number.text for number in bound]))
    return asked


#: The code that asks a kernel for the state of its widgets: for each widget, in the order in which they were made,
#: a checksum of each trait. Left out are the versions of the packages that draw the widgets.
STATE_QUESTION = """
import json, zlib
from ipywidgets import Widget

def checksums(state):
    numbers = {model_id: f"{number:032x}" for number, model_id in enumerate(state, 1)}
    def of(value):
        text = json.dumps(value, sort_keys=True)
        for model_id, number in numbers.items():
            text = text.replace(model_id, number)
        return zlib.crc32(text.encode())
    return [
        {trait: of(value) for trait, value in model["state"].items() if not trait.endswith("_module_version")}
        for model in state.values()
    ]
"""


def widget_state(notebook) -> list[dict[str, int]]:
    """The state of the widgets that a notebook has stored, in the form that STATE_QUESTION gives."""
    names: dict = {}
    exec(STATE_QUESTION, names)  # noqa: S102 (the lines above)
    return names["checksums"](notebook.metadata["widgets"][WIDGET_STATE]["state"])


def outputs_checksum(notebook) -> int:
    """The CRC-32 of the outputs of all cells and of the state of the widgets."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    widgets = notebook.metadata.get("widgets", {})
    return zlib.crc32(json.dumps([outputs, widgets], sort_keys=True).encode())


def widget_ids(widgets: dict | None) -> list[str]:
    """The ids of the stored widget models, in the order in which they were made."""
    return list(widgets[WIDGET_STATE]["state"]) if widgets else []


def numbered(text: str, ids: list[str]) -> str:
    """A notebook's text with the random ids of its widgets replaced by their numbers."""
    for number, random_id in enumerate(ids, 1):
        text = text.replace(random_id, f"{number:032x}")
    return text


def main() -> None:
    chapters = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "book").glob("*.ipynb"))
    for path in chapters:
        run(path)
        print(f"{path.name}: executed, {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
