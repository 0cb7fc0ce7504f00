"""The chapters say what their cells print, define nothing twice, and come out the same again."""

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import chapters
import nbformat
import pytest
import torch
import yaml
from conftest import ROOT
from transformers import GenerationConfig, GPT2Config, set_seed

import minigpt
from minigpt import CONFIGS, GPT, GPTConfig
from minigpt.pretrained import to_gpt2_config, to_gpt2_weights
from minigpt.sampling import generate

CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
names = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def prose(notebook) -> str:
    """The text of a chapter."""
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@names
def test_a_chapter_defines_nothing_that_the_package_has(path):
    package = set()
    folder = Path(minigpt.__file__).parent
    for module in folder.rglob("*.py"):
        if folder / "marking" in module.parents:  # answers to exercises, wrong ones for the most part
            continue
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
    assert not re.search(r"at 0x[0-9a-f]{8,}|/home/|/tmp/|/root/|/work/|image/png", without_scripts)
    notebook = json.loads(raw)
    widgets = notebook["metadata"].pop("widgets", None)
    assert notebook["metadata"].pop(chapters.OUTPUTS)
    assert notebook["metadata"] == chapters.METADATA
    ids = chapters.widget_ids(widgets)
    assert ids == [f"{number:032x}" for number in range(1, len(ids) + 1)]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    assert path.stat().st_size < 500_000  # an explorer that can run the model brings its code


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


def test_what_is_printed_in_pieces_is_stored_as_one(tmp_path):
    source = "import time\nfor word in 'ab':\n    print(word, flush=True)\n    time.sleep(0.5)"
    cells = [nbformat.v4.new_code_cell(chapters.colab_cell()), nbformat.v4.new_code_cell(source)]
    path = tmp_path / "pieces.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    chapters.run(path)
    assert [output.text for output in nbformat.read(path, as_version=4).cells[1].outputs] == ["a\nb\n"]


@pytest.mark.long
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


def glossary_rows(heading: str) -> list[list[str]]:
    """The rows of the glossary's table under a heading, as cells."""
    text = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    part = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]
    return rows[2:]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_glossarys_sizes_are_what_the_loader_takes_them_for():
    """Each of our fields, changed alone, changes that field of Hugging Face's and no other."""
    rows = glossary_rows("Sizes")
    base = CONFIGS["mini"].but(d_ff=300, dropout=0.25, attention_dropout=0.25)
    changed = {
        "vocab_size": 999, "context_length": 99, "d_model": 132, "n_heads": 2, "n_layers": 9, "d_ff": 301,
        "dropout": 0.5, "attention_dropout": 0.125, "tie_weights": False, "activation": "relu",
    }  # fmt: skip
    letters = {"vocab_size": "$V$", "context_length": "$T_{max}$", "d_model": "$C$", "n_heads": "$H$",
               "n_layers": "$L$", "d_ff": "$F$"}  # fmt: skip
    assert (
        {names_in(row[1])[0] for row in rows} == set(changed) == set(inspect.signature(GPTConfig).parameters) - {"bias"}
    )
    for letter, name, _, theirs in rows:
        [name], [theirs] = names_in(name), names_in(theirs)
        assert letter == letters.get(name, ""), name
        other = {"attention_dropout": base.attention_dropout, "d_ff": base.d_ff} | {name: changed[name]}
        before, after = to_gpt2_config(base), to_gpt2_config(base.but(**other))
        differ = {field for field in before if before[field] != after[field]}
        assert differ - {"embd_pdrop"} == {theirs}, name
        assert hasattr(GPT2Config(), theirs)


def test_the_glossarys_modules_are_those_of_the_loader():
    rows = {names_in(row[0])[0]: row[2] for row in glossary_rows("Modules")}
    config = CONFIGS["mini"].but(vocab_size=9, context_length=4, d_model=6, n_heads=2, n_layers=1, tie_weights=False)
    ours = GPT(config)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs = to_gpt2_weights(ours)
    thirds = {"first third": 0, "second third": 1, "last third": 2}
    assert {name.rpartition(".")[0] for name in ours.state_dict()} == set(rows) - {"blocks.0"}
    for name, cell in rows.items():
        [other] = names_in(cell)
        if name == "blocks.0":
            assert all(n.startswith(f"{other}.") for n in theirs if n.startswith("transformer.h."))
            continue
        weight, mine = theirs[f"{other}.weight"], ours.get_submodule(name).weight
        for words, index in thirds.items():
            weight = weight.chunk(3, dim=-1)[index] if words in cell else weight
        assert torch.equal(weight, mine.T if name.startswith("blocks.") and mine.dim() == 2 else mine), name


def test_the_glossarys_knobs_are_those_of_both_generates():
    rows = {names_in(row[0])[0]: names_in(row[2]) for row in glossary_rows("Knobs")}
    same = {"temperature", "top_k", "top_p", "min_p", "max_new_tokens"}
    other = {"stop": "eos_token_id", "seed": f"transformers.{set_seed.__name__}"}
    assert {name: theirs[0] for name, theirs in rows.items()} == {name: name for name in same} | other
    assert set(rows) <= set(inspect.signature(generate).parameters)
    assert all(hasattr(GenerationConfig(), name) for name in [*same, other["stop"]])


def test_a_source_is_of_the_year_its_key_says():
    """A key ends in its year if it names one, and an article on arXiv has a number of that year or the one before."""
    text = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    assert len(entries) > 30
    for key, body in entries:
        year = re.search(r"year = \{(\d{4})\}", body)
        named, number = (
            re.search(r"(\d{4})$", key),
            re.search(r"arxiv(?:\.org/abs/|:)(\d\d)\d\d\.\d{4,5}", body, re.IGNORECASE),
        )
        assert not named or year and year[1] == named[1], key
        assert not number or 0 <= int(year[1]) - 2000 - int(number[1]) <= 2, key
