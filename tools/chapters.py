"""Execute chapters and store their outputs, so that the same sources give the same bytes.

    python tools/chapters.py                  all chapters
    python tools/chapters.py book/03*.ipynb   some

A chapter that fails keeps the file it had. Timings and the machine's Python version are left out, and
widgets, whose ids are random, are numbered. The first cell, which makes a chapter run in Colab, is
written anew from _config.yml.
"""

import sys
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

from minigpt.data import PLAYS_PACKAGE
from minigpt.files import write_files

ROOT = Path(__file__).resolve().parents[1]
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def colab_cell() -> str:
    """The first cell of every chapter: it fetches package and plays in Colab, and does nothing elsewhere."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return (
        "# Colab needs the course's package first. Everywhere else this cell does nothing.\n"
        "import sys\n\n"
        'if "google.colab" in sys.modules:\n'
        f"    %pip install -q git+{repository['url']}@{repository['branch']}\n"
        f"    %pip install -q --no-deps {PLAYS_PACKAGE}"
    )


def run(path: Path) -> None:
    """Execute one chapter in place."""
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0]
    if first.cell_type != "code" or "google.colab" not in first.source:
        raise ValueError(f"{path}: the first cell must be the Colab cell")
    first.source = colab_cell()
    first.metadata = {"tags": ["remove-cell"]}
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(METADATA | ({"widgets": widgets} if widgets else {}))
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code_cells, 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        cell.outputs = merged(cell.outputs)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    _, notebook = nbformat.validator.normalize(notebook)
    nbformat.validate(notebook)
    notebook = nbformat.reads(numbered(nbformat.writes(notebook), widget_ids(widgets)), as_version=4)
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    write_files({path: lambda place: place.write_text(text, encoding="utf-8")})


def widget_ids(widgets: dict | None) -> list[str]:
    """The ids of the stored widget models, in the order they were made."""
    return list(widgets["application/vnd.jupyter.widget-state+json"]["state"]) if widgets else []


def numbered(text: str, ids: list[str]) -> str:
    """A notebook's text with the random ids of its widgets replaced by their numbers."""
    for number, random_id in enumerate(ids, 1):
        text = text.replace(random_id, f"{number:032x}")
    return text


def merged(outputs: list) -> list:
    """Outputs with neighbouring pieces of one stream joined: where they were cut depends on timing."""
    joined = []
    for output in outputs:
        before = joined[-1] if joined else None
        if before and output.output_type == before.output_type == "stream" and output.name == before.name:
            before.text += output.text
        else:
            joined.append(output)
    return joined


def main() -> None:
    chapters = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "book").glob("*.ipynb"))
    for path in chapters:
        run(path)
        print(f"{path.name}: executed, {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
