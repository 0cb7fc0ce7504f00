"""The chapters say what their cells print, define nothing twice, and come out the same again."""

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import ROOT
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, set_seed

import minigpt
from minigpt import CONFIGS, GPT
from minigpt.sampling import generate

sys.path.insert(0, str(ROOT / "tools"))
import chapters  # noqa: E402

CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
names = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def prose(notebook) -> str:
    """The text of a chapter."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@names
def test_a_chapter_defines_nothing_that_the_package_has(path):
    package = set()
    for module in Path(minigpt.__file__).parent.rglob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        package |= {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "%pip" not in cell.source:
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, ast.ClassDef), "a chapter shows classes of the package, it has none"
                if isinstance(node, ast.FunctionDef):
                    assert node.name not in package


@names
def test_a_chapter_begins_with_the_colab_cell_and_asks_before_it_tells(path):
    notebook = nbformat.read(path, as_version=4)
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    assert notebook.cells[0].source == chapters.colab_cell()
    assert f"git+{repository['url']}@{repository['branch']}" in notebook.cells[0].source
    if path.stem[0].isdigit():
        text = prose(notebook)
        for part in ("Predict", "## Move it", "## Exercises", "<details>", "## Where next", "Paper and code"):
            assert part in "\n".join(c.source for c in notebook.cells), part
        assert text.count("?") > 5


@pytest.mark.parametrize("name", ["README.md", "book/index.ipynb"])
def test_the_python_that_is_promised_is_the_one_that_is_required(name):
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    promised = set(re.findall(r"Python (3\.\d+)", (ROOT / name).read_text(encoding="utf-8")))
    assert {f">={version}" for version in promised} == {required}


@names
def test_stored_outputs_hold_nothing_that_changes_by_itself(path):
    raw = path.read_text(encoding="utf-8")
    without_scripts = re.sub(r'"_esm": ".*",', "", raw)
    assert not re.search(r"0x[0-9a-f]{8,}|/home/|/tmp/|/root/|/work/|image/png", without_scripts)
    notebook = json.loads(raw)
    widgets = notebook["metadata"].pop("widgets", None)
    assert notebook["metadata"].pop(chapters.OUTPUTS)
    assert notebook["metadata"] == chapters.METADATA
    ids = chapters.widget_ids(widgets)
    assert ids == [f"{number:032x}" for number in range(1, len(ids) + 1)]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert path.stat().st_size < 400_000


@names
def test_every_picture_has_an_alternative_text(path):
    html = "".join(
        output.get("data", {}).get("text/html", "")
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
    )
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', html)
    assert len(labels) == html.count("<svg") and all(len(label) > 40 for label in labels)


def test_a_chapter_that_fails_keeps_its_file(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(chapters.colab_cell()), nbformat.v4.new_code_cell("1 / 0")]
    )
    path = tmp_path / "bad.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    with pytest.raises(Exception, match="ZeroDivisionError"):
        chapters.run(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# no Colab cell")]), path)
    with pytest.raises(ValueError, match="the first cell must be the Colab cell"):
        chapters.run(path)


@pytest.mark.parametrize(
    "old, new", [("301,771,520", "301,771,521"), ("aria-label=", "aria-labels="), ("26.1 %", "26.2 %")]
)
def test_a_changed_number_in_a_stored_output_turns_nbval_red(old, new, tmp_path):
    source = ROOT / "book" / "03_parameters.ipynb"
    notebook = nbformat.read(source, as_version=4)
    changed = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for holder, key in ((output, "text"), (output.get("data", {}), "text/html")):
                if not changed and old in holder.get(key, ""):
                    holder[key] = holder[key].replace(old, new, 1)
                    changed += 1
    assert changed == 1
    path = tmp_path / source.name
    nbformat.write(notebook, path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:]


def glossary_rows():
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`([^`]+)`", line.split("|")[2 if line.startswith("| $") or line.startswith("|  |") else 1]
                       + line.split("|")[-2]) for line in text.splitlines() if line.startswith("|")]  # fmt: skip
    return [row for row in rows if len(row) == 2]


def test_the_glossarys_names_exist_on_both_sides():
    rows = dict(glossary_rows())
    ours = GPT(CONFIGS["mini"])
    theirs = GPT2LMHeadModel(GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=9, n_positions=4))
    fields = inspect.signature(minigpt.GPTConfig).parameters
    knobs = {name: rows.pop(name) for name in set(rows) & set(inspect.signature(generate).parameters)}
    assert {"temperature", "top_k", "top_p", "min_p", "max_new_tokens", "stop", "seed"} == set(knobs)
    assert all(hasattr(GenerationConfig(), other) for name, other in knobs.items() if name != "seed")
    assert knobs["seed"] == f"transformers.{set_seed.__name__}"
    modules = {name: other for name, other in rows.items() if name not in fields}
    assert set(fields) - set(rows) == {"bias"}
    for name in set(rows) & set(fields):
        assert hasattr(theirs.config, rows[name]), rows[name]
    ours_have = {name.rpartition(".")[0] for name in ours.state_dict()}
    assert {name for name in ours_have if not re.match(r"blocks\.[1-9]", name)} <= set(modules)
    for name, other in modules.items():
        assert ours.get_submodule(name) is not None and theirs.get_submodule(other) is not None
