"""lessons/teachers.md: every command on the page is run, on a copy of the course."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from test_site import soup

PAGE = (ROOT / "lessons" / "teachers.md").read_text(encoding="utf-8")
BLOCKS = [re.sub(r"(?m)^ +", "", block).strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]


def block(start: str) -> list[str]:
    """The lines of the one block of commands that begins so."""
    (found,) = [one for one in BLOCKS if one.startswith(start)]
    return found.split("\n")


@pytest.fixture
def copy(tmp_path):
    """A copy of the course with this environment, as a teacher's clone would have it; and what runs a command there."""
    for name in ("book", "lessons", "tools", "minigpt"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("_config.yml", "_toc.yml", "Makefile", "README.md", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "jupyter-book"):
        program = f'#!/bin/sh\nexec "{Path(sys.executable).parent / name}" "$@"\n'
        (tmp_path / ".venv" / "bin" / name).write_text(program)
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    (tmp_path / ".venv" / "site.done").touch()

    def run(command: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(tmp_path), "MINIGPT_REPOSITORY": ""}
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return tmp_path, run


def test_every_block_of_commands_is_run_here():
    run = ["make chapters", "sed -i.bak '/book", "sed -i.bak 's/sol", ".venv/bin/python tools/lessons.py"]
    run += [
        ".venv/bin/python -m minigpt.marking submissions",
        ".venv/bin/python -m minigpt.marking submission --single",
    ]
    assert [min(len(block(start)), 1) for start in run] == [1] * len(BLOCKS)


def test_the_address_is_written_into_chapters_and_lessons(copy):
    folder, run = copy
    (command,) = block("make chapters")
    steps = run(
        f"{command} --dry-run --no-print-directory"
    ).splitlines()  # the steps themselves take minutes; other tests run them
    assert steps == [".venv/bin/python tools/chapters.py", ".venv/bin/python tools/lessons.py"]


@pytest.mark.long
def test_a_chapter_and_all_answers_are_left_out(copy):
    folder, run = copy
    leave_out, make = block("sed -i.bak '/book")
    no_answers, make_again = block("sed -i.bak 's/sol")
    assert make == make_again == "make site"
    for command in (leave_out, no_answers, make):
        run(command)
    site = folder / "_build" / "html" / "book"
    assert (site / "03_parameters.html").is_file() and not (site / "04_memory.html").exists()
    assert (folder / "_build" / "html" / "lessons" / "04_memory.html").is_file()
    solutions = []
    for path in site.glob("*.html"):
        page = soup(path)
        assert not [one for one in page.find_all("summary") if one.get_text().startswith("Answer")], path
        for script in page.find_all("script", type="application/vnd.jupyter.widget-state+json"):
            states = json.loads(script.string)["state"].values()
            solutions += [one["state"]["solution"] for one in states if "solution" in one["state"]]
    assert len(solutions) >= 9 and set(solutions) == {""}
    assert "Exercises" in soup(site / "01_attention.html").get_text()


def test_notebooks_without_answers_are_handed_out(copy):
    folder, run = copy
    (command,) = block(".venv/bin/python tools/lessons.py")
    run(command)
    written = sorted((folder / "handout").glob("*.ipynb"))
    assert [path.name for path in written] == sorted(path.name for path in (ROOT / "book").glob("[0-9]*.ipynb"))
    for path in written:
        nbformat.validate(nbformat.read(path, as_version=4))
        assert "<summary>Answer" not in path.read_text(encoding="utf-8")


def test_the_site_has_chapters_without_answers_to_download(site):
    links = [a["href"] for a in soup(site / "lessons" / "homework.html").select("a[download]")]
    chapters = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
    assert [Path(link).name for link in links if "handouts" in link] == [path.name for path in chapters]
    for path in chapters:
        copied = site / "_static" / "handouts" / path.name
        notebook = nbformat.read(copied, as_version=4)
        nbformat.validate(notebook)
        text = copied.read_text(encoding="utf-8")
        assert "<summary>Answer" not in text and "<!--=" not in text and len(text) < 100_000
        assert "Exercises" in text and not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.long
def test_a_class_and_a_single_submission_are_marked(copy):
    folder, run = copy
    solved = ROOT / "lessons" / "solved" / "01_attention.ipynb"
    blank = ROOT / "lessons" / "01_attention.ipynb"
    for place, notebook in (("submissions/ada", solved), ("submissions/bob", blank), ("submission", solved)):
        (folder / place).mkdir(parents=True)
        shutil.copy(notebook, folder / place / "01_attention.ipynb")
    (mark_class,) = block(".venv/bin/python -m minigpt.marking submissions")
    (mark_one,) = block(".venv/bin/python -m minigpt.marking submission --single")
    assert "marked with the salt" in run(mark_class)
    with (folder / "marks.csv").open(encoding="utf-8") as table:
        ada, bob = csv.DictReader(table)
    assert (ada["points"], bob["points"]) == (ada["of"], "0")
    assert (folder / "pages" / "ada.html").is_file()
    run(mark_one)
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert results["score"] == len(results["tests"]) == int(ada["of"])
