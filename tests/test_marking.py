"""minigpt/marking: a class is marked in one run, and what one submission does falls on its own mark only."""

import ast
import csv
import io
import json
import os
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from minigpt.marking import exercises, process, report
from minigpt.marking import notebook as notebooks
from minigpt.marking.__main__ import main
from minigpt.marking.folder import HandedIn, handed_in, learners
from minigpt.marking.marks import Mark, Marked, seed_of
from minigpt.marking.process import Limits, run
from minigpt.marking.verdict import Case, Exercise, NotPlain, judge, plain, question, verdict

RIGHT = """
import math

def softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]
"""


def notebook(*cells: str) -> str:
    """A notebook of code cells."""
    code = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell.splitlines(True)} for cell in cells]
    return json.dumps({"cells": code, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def body(lines: str) -> str:
    """A softmax that does something else."""
    return "import os, sys\n\ndef softmax(scores):\n" + "".join(f"    {line}\n" for line in lines.splitlines())


#: What harms others if nothing holds it: the file that is handed in, and why there is no point.
HOSTILE = {
    "endless": (body("while True:\n    pass"), "it was still running after 2 seconds"),
    "deaf": (
        body("while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
        "it was still running",
    ),
    "bomb": (body("while True:\n    os.fork()"), "got: BlockingIOError in your line 5"),
    "threads": (body("import _thread\n_thread.start_new_thread(print, ())\nreturn scores"), "got: RuntimeError"),
    "gigabyte": (body("return 'x' * 10**9"), "softmax"),
    "talker": (body("while True:\n    os.write(1, b'x' * 10**6)"), "it was still running"),
    "memory": (body("return bytearray(10**12)"), "got: MemoryError in your line 4"),
    "file": (
        body("with open('big', 'wb') as file:\n    file.truncate(10**9)\nreturn scores"),
        "got: OSError in your line 5",
    ),
    "exit": (body("exit()"), "got: SystemExit in your line 4"),
    "exit at once": (body("os._exit(7)"), "it ended its own process (exit code 7)"),
    "segfault": (body("os.kill(os.getpid(), 11)"), "it was ended by signal 11"),
    "recursion": (body("return softmax(scores)"), "got: RecursionError"),
    "equals all": (
        "class Yes(list):\n    __eq__ = lambda self, other: True\ndef softmax(scores):\n    return Yes(scores)",
        "got: something that is no number, text or list of them",
    ),
    "forger": (
        body(
            'line = \'{"name": "byhand.softmax", "outcomes": [{"value": 1}]}\\n\'.encode()\n'
            "for channel in range(3, 20):\n    try:\n        os.write(channel, line)\n    except OSError:\n        pass"
        ),
        "it wrote into the marking's own channel",
    ),
    "at import": ("while True:\n    softmax = 1", "it was still running after 2 seconds"),
    "deep folders": (body("while True:\n    os.mkdir('a')\n    os.chdir('a')"), "it was still running after 2 seconds"),
    "long name": (body("raise type('X' * 10**6, (Exception,), {})"), "got: XXX"),
    "looks at what is right": (
        body("from minigpt.marking import exercises\nreturn exercises.find('byhand.softmax').wanted(0)[0]['value']"),
        "softmax",
    ),
}

#: What goes wrong without harm: the files, the points for softmax, and the reason or a remark in the learner's page.
HARMLESS = {
    "right": ({"byhand.py": RIGHT}, 1, ""),
    "in a notebook": ({"byhand.ipynb": notebook("%pip install minigpt\n!ls", "x = 1 / 0", RIGHT)}, 1, ""),
    "another name": ({"Byhand final (2) byhand.ipynb": notebook(RIGHT)}, 1, ""),
    "helper": (
        {
            "byhand.ipynb": notebook(
                "import math\nE = math.e",
                "E += 0\ndef power(x): return E**x",
                "def softmax(s): return [power(x - max(s)) / sum(power(y - max(s)) for y in s) for x in s]",
            )
        },
        1,
        "",
    ),
    "star": (
        {"byhand.py": "from math import *\n" + RIGHT.replace("math.exp", "exp").replace("import math", "")},
        1,
        "",
    ),
    "twice": (
        {"byhand.ipynb": notebook("def softmax(scores): ...", RIGHT)},
        1,
        "defined in cells 1 and 2; the last one",
    ),
    "twice, wrong last": (
        {"byhand.ipynb": notebook(RIGHT, "def softmax(s): ...")},
        0,
        "defined in cells 1 and 2; the last",
    ),
    "check is dead": (
        {"byhand.ipynb": notebook("check = lambda *a: print('right')", "def softmax(s): return s")},
        0,
        "wanted",
    ),
    "missing": ({"byhand.ipynb": notebook("def hardmax(scores): return scores")}, 0, "softmax is not defined"),
    "no Python": (
        {"byhand.ipynb": notebook("def softmax(scores)\n    return scores")},
        0,
        "cell 1 can't be read: line 1",
    ),
    "no JSON": ({"byhand.ipynb": "{"}, 0, "the file is no notebook"),
    "no notebook": ({"byhand.ipynb": '{"cells": 3}'}, 0, "the file is no notebook"),
    "deep": ({"byhand.ipynb": "[" * 100_000}, 0, "the file is no notebook"),
    "empty": ({"byhand.ipynb": ""}, 0, "the file is no notebook"),
    "no text": ({"byhand.py": b"\xff\xfe\x00"}, 0, "byhand.py is no text in UTF-8"),
    "two files": ({"byhand.py": RIGHT, "byhand-old.py": RIGHT}, 0, "several files are for this lesson"),
    "nothing": ({}, 0, "nothing was handed in"),
    "a number": ({"byhand.py": "softmax = 3"}, 0, "softmax must be a function; got 3"),
    "crash above": (
        {"byhand.py": "import math\nlimit = 1 / 0\ndef softmax(s): return s[:limit]"},
        0,
        "line 2 of cell 1 raises",
    ),
    "changes": ({"byhand.py": RIGHT.replace("    powers", "    scores.sort()\n    powers")}, 0, "wanted"),
    "=HYPERLINK(1)": ({"byhand.py": RIGHT}, 1, ""),
    "<script>alert(1)<": (
        {"byhand.py": "def softmax(s): return '<script>alert(1)</script>'"},
        0,
        "got: '<script>alert(1)</script>'",
    ),
    "n" * 255: ({"byhand.py": RIGHT}, 1, ""),
    "from a Mac": (
        {"byhand.ipynb": notebook(RIGHT), "._byhand.ipynb": b"\0\5\x16\7", "__MACOSX/byhand.py": RIGHT},
        1,
        "",
    ),
    "capitals": ({"BYHAND.IPYNB": notebook(RIGHT), "other.ipynb": notebook()}, 1, ""),
    "a cell without text": (
        {"byhand.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": s} for s in (None, 3, RIGHT)]})},
        1,
        "",
    ),
    "display": ({"byhand.py": RIGHT.replace("    powers", "    display(scores)\n    powers")}, 1, ""),
    "a beginning": ({"byhand.py": "softmax = ..."}, 0, "put your answer in the place of the three dots"),
    "Ünï \u202ecode": ({"byhand.py": RIGHT}, 1, ""),
    "surrogate": ({"byhand.py": "def softmax(s): return '\\ud800'"}, 0, "wanted"),
}


def hand_in(folder: Path, learner: str, files: dict) -> None:
    (folder / learner).mkdir(parents=True)
    for name, text in files.items():
        (folder / learner / name).parent.mkdir(exist_ok=True)
        (folder / learner / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.long
def test_a_class_of_forty_is_marked_in_one_run(tmp_path):
    place = tmp_path
    for learner, (file, _) in HOSTILE.items():
        hand_in(place / "in", learner, {"byhand.py": file})
    for learner, (files, *_) in HARMLESS.items():
        hand_in(place / "in", learner, files)
    command = [sys.executable, "-m", "minigpt.marking", place / "in", "--out", place / "marks.csv", "--seconds", "2"]
    command += ["--pages", place / "pages", "--gradescope", place / "json", "--lessons", "byhand", "--salt", "pepper"]
    (place / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(place / "tmp")}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    table = (place / "marks.csv").read_text(encoding="utf-8")
    rows = {row["learner"].lstrip("'"): row for row in csv.DictReader(io.StringIO(table))}

    # Each has the mark that is due, and the reason.
    assert len(HOSTILE) >= 10 and len(rows) == len(HOSTILE) + len(HARMLESS) >= 40
    for learner, (_, why) in HOSTILE.items():
        row = rows[learner]
        assert (row["byhand.softmax"], row["points"]) == ("0", "0"), learner
        assert why in row["why"], (learner, row["why"])
    results = {}
    for learner, (_, points, why) in HARMLESS.items():
        row = rows[report.readable(learner)]
        assert (row["byhand.softmax"], row["points"]) == (str(points), str(points)), (learner, row["why"])
        if len(learner) > 200:  # its files have another name
            continue
        page = unescape((place / "pages" / f"{learner}.html").read_text(encoding="utf-8"))
        assert why.lower() in page.lower(), (learner, page)
        results[learner] = json.loads((place / "json" / f"{learner}.json").read_text(encoding="utf-8"))
        assert results[learner]["score"] == points and len(results[learner]["tests"]) == int(row["of"])

    files = len(HOSTILE) + len(HARMLESS)
    assert len(list((place / "pages").iterdir())) == len(list((place / "json").iterdir())) == files

    # A learner reads the words that `check` says.
    said = next(test["output"] for test in results["check is dead"]["tests"] if test["name"] == "byhand.softmax")
    assert said == verdict(exercises.find("byhand.softmax"), lambda s: s, seed_of("pepper")).text

    # Names are neither formulas nor markup.
    assert "'=HYPERLINK(1)" in table and "\n=" not in table and "\u202e" not in table
    assert "<script" not in (place / "pages" / "<script>alert(1)<.html").read_text(encoding="utf-8")

    # Nothing is left, neither a file nor a process.
    assert list((place / "tmp").iterdir()) == []
    assert not [path for path in Path("/proc").glob("[0-9]*/cwd") if str(place) in where(path)]


def where(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


@pytest.mark.long
def test_every_exercise_is_marked_as_it_is_checked(monkeypatch):
    """The reference is right; each typical mistake is met with its own words. A mistake of each exercise at a time."""
    monkeypatch.setattr(process, "is_root", lambda: False)  # the answers are read from files, perhaps root's own
    found = {name: exercises.find(name) for name in exercises.names()}
    for number in range(-1, max(len(exercise.mistakes) for exercise in found.values())):
        wanted = {name: exercise for name, exercise in found.items() if number < len(exercise.mistakes)}
        cells: dict[str, list[str]] = {}
        for name, exercise in wanted.items():
            answer = f"find({name!r}).{'reference' if number < 0 else f'mistakes[{number}].answer'}"
            line = f"{exercise.name} = {answer}{'()' if exercise.is_value else ''}"
            cells.setdefault(name.partition(".")[0], ["from minigpt.marking.exercises import find"]).append(line)
        answered = run(
            {lesson: HandedIn(notebook(*lines)) for lesson, lines in cells.items()},
            wanted,
            7,
            Limits(memory_bytes=8_000_000_000),
        )
        for name, exercise in wanted.items():
            said = judge(exercise, answered[name].outcomes, 7)
            words = None if number < 0 else exercise.mistakes[number].words
            assert (said.mistake, said.passed) == (words, number < 0), (name, said.text)


def test_a_salt_chooses_the_inputs():
    exercise = exercises.find("byhand.softmax")
    assert exercise.arguments(seed_of("a")) == exercise.arguments(seed_of("a")) != exercise.arguments(seed_of("b"))
    by_heart = dict(zip(map(str, exercise.arguments(0)), [o["value"] for o in exercise.wanted(0)], strict=True))
    learned = lambda scores: by_heart.get(str((scores,)), [])  # noqa: E731
    assert verdict(exercise, learned).passed
    assert not verdict(exercise, learned, seed_of("a")).passed


def test_with_a_container_each_submission_runs_in_one(tmp_path, monkeypatch):
    """Here a program stands in for docker: it writes down what it is asked for, and runs the command as it is."""
    asked = tmp_path / "asked"
    program = f'#!/bin/sh\necho "$@" >> {asked}\n[ "$1" = run ] || exit 0\n'
    program += f'while [ "$1" != python ]; do shift; done\nshift\nexec "{sys.executable}" "$@"\n'
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(program)
    (tmp_path / "bin" / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    hand_in(tmp_path / "in", "ada", {"byhand.py": RIGHT})
    options = ["--out", str(tmp_path / "marks.csv"), "--lessons", "byhand", "--container", "course:1"]
    main([str(tmp_path / "in"), *options])
    (row,) = csv.DictReader(io.StringIO((tmp_path / "marks.csv").read_text(encoding="utf-8")))
    assert row["byhand.softmax"] == "1"
    inspect, run_, kill = asked.read_text().splitlines()
    assert inspect == "image inspect course:1" and kill.startswith("kill minigpt-marking-")
    for limit in ("--network none", "--read-only", "--cap-drop ALL", "--user 65534:65534", "--pids-limit", "--memory"):
        assert limit in run_
    assert run_.endswith("course:1 python -m minigpt.marking.child")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere", "--out", "x.csv"], "FOLDER must be a folder of submissions; got 'nowhere'"),
        ([".", "--out", "x.csv"], "FOLDER must hold a folder or a notebook for each learner"),
        (["."], "one of --out, --pages and --gradescope must say where the marks go"),
        ([".", "--out", "x.csv", "--seconds", "0"], "--seconds must be positive; got 0.0"),
        ([".", "--out", "x.csv", "--jobs", "0"], "--jobs must be at least 1; got 0"),
        ([".", "--single", "--out", "x.csv", "--lessons", "alchemy"], "lessons must be among byhand"),
        ([".", "--out", "x.csv", "--container", "none/such"], "container"),
    ],
)
def test_wrong_options_are_named(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="error: .*") as raised:
        main(options)
    assert message in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_links_and_pipes_are_not_followed(tmp_path):
    (tmp_path / "eve").mkdir()
    (tmp_path / "secret.py").write_text(RIGHT)
    (tmp_path / "eve" / "byhand.py").symlink_to(tmp_path / "secret.py")
    assert handed_in(tmp_path / "eve", ["byhand"])["byhand"].why == "byhand.py is a link or no file"
    (tmp_path / "eve" / "byhand.py").unlink()
    os.mkfifo(tmp_path / "eve" / "byhand.py")
    assert handed_in(tmp_path / "eve", ["byhand"])["byhand"].why == "byhand.py is a link or no file"


def test_a_learners_folder_that_is_a_link_is_not_followed(tmp_path):
    hand_in(tmp_path, "ada", {"byhand.py": RIGHT})
    (tmp_path / "eve").symlink_to(tmp_path / "ada")
    assert handed_in(tmp_path / "eve", ["byhand"])["byhand"] == HandedIn(None, why="eve is a link")


def test_a_file_belongs_to_the_lesson_that_its_name_says(tmp_path):
    lessons = ["attention", "gpt", "training"]
    hand_in(
        tmp_path, "ada", {name: name for name in ("minigpt-01_attention.ipynb", "05_TrainingFinal.ipynb", "02_gpt.py")}
    )
    found = handed_in(tmp_path / "ada", lessons)
    assert [found[lesson].text for lesson in lessons] == [
        "minigpt-01_attention.ipynb",
        "02_gpt.py",
        "05_TrainingFinal.ipynb",
    ]
    (tmp_path / "ada" / "02_gpt.py").unlink()
    assert "gpt" not in handed_in(tmp_path / "ada", lessons)


def test_a_folder_may_hold_files_of_learners(tmp_path):
    (tmp_path / "ada.ipynb").write_text(notebook(RIGHT))
    (tmp_path / "readme.txt").write_text("no submission")
    (tmp_path / ".git").mkdir()
    found = learners(tmp_path)
    assert list(found) == ["ada"] and handed_in(found["ada"], ["byhand"])["byhand"].text
    (tmp_path / "ada.py").write_text(RIGHT)
    with pytest.raises(ValueError, match="one entry for each learner; got ada.ipynb and ada.py"):
        learners(tmp_path)


def test_only_what_an_answer_needs_is_run():
    text = notebook(
        "a = 1\nb = a + 1", "c = b\na = 5", "def f(): return g() + b\nprint(f())", "def g(): return d\nd = 3\nd += 1"
    )
    needed = [ast.unparse(line.node).partition("\n")[0] for line in notebooks.read(text, True).needed_for("f")]
    assert needed == ["a = 1", "b = a + 1", "def f():", "def g():", "d = 3", "d += 1"]


@pytest.mark.parametrize(
    "cells",
    [
        ["C = 768\nn = 4 * C", "C = 1280\nm = C"],  # a name that is used again
        ["C = 768\ndef f(): return 4 * C", "n = f()\nC = 1280"],
        ["n = 0\nfor i in range(4):\n    n += 768"],
        ["parts = []", "for i in range(4):\n    parts.append(768)", "n = sum(parts)"],
        ["parts = {}\nparts.update(a=3072)", "def f(): return parts['a']", "n = f()"],
        ["from math import *\nfrom itertools import *", "n = round(4 * exp(log(768)))"],
        ["n = 3072\nif n < 0:\n    n = 0"],
        ["n = 3072\nn: int"],
        ["a, (b, *c) = 768, (4, 1)\nn = a * b * c[0]"],
        ["try:\n    import nothing\nexcept ImportError:\n    n = 3072"],
        ["import os.path\nimport os", "n = 3072 if os.path.sep else 0"],
        ["\ufeffn = 3072"],
        ["files = !ls\nn = 3072\nn?\n?n\nmax??"],
        ["if True:\n    %time n = 3072"],
        ["%%time\nn = 3072"],
        ["n = 3072\n!ls \\\n  -l\nx = %timeit -o sum([1])"],
        ["n = 3072", "%%writefile n.py\nn = 0"],
        ["n = 3072", "%%bash\nn=0"],
        ["text = '''\n%d\n!\n'''\nn = 3072 + 0 * len(text % 1)"],
    ],
)
def test_a_name_means_what_it_means_in_the_notebook(cells):
    names = {}
    for line in notebooks.read(notebook(*cells), True).needed_for("n"):
        exec(compile(ast.Module([line.node], []), "<cell>", "exec"), names)  # noqa: S102 (the lines above)
    assert names["n"] == 3072


def test_an_answer_may_take_no_more_than_is_plain():
    class Five(int):
        pass

    nested = 1
    for _ in range(30):
        nested = [nested]
    for value in (Five(5), object(), [[]] * 200_001, 10**300, "x" * 200_001, nested):
        with pytest.raises(NotPlain):
            plain(value)


def test_a_count_is_exact_and_an_estimate_may_be_near():
    counted = question("total", 301_771_520, [(301_771_519, "One is missing.")])
    assert verdict(counted, 301_771_520).passed and verdict(counted, 301771520.0).passed
    assert verdict(counted, 301_771_519).mistake == "One is missing."
    assert verdict(counted, 301_771_518).mistake is None and "got: 301,771,518" in verdict(counted, 301_771_518).text
    assert not verdict(counted, True).passed and not verdict(counted, "301771520").passed
    assert verdict(question("share", 0.25, [], tolerance=0.01), 0.251).passed


def test_an_answer_that_changes_its_arguments_is_told_so():
    double = Exercise(lambda xs: [2 * x for x in xs], [Case("", lambda draw: ([1, 2],))], [], name="double")

    def changing(xs):
        for i in range(len(xs)):
            xs[i] *= 2
        return list(xs)

    assert "double changes what it was given" in verdict(double, changing).text


def test_a_gradescope_file_says_what_was_judged():
    marked = Marked("ada", [Mark("byhand.softmax", 1, "right", ""), Mark("byhand.top_k", 0, "wrong\ud800", "why")])
    results = json.loads(report.gradescope(marked))
    assert results["score"] == 1 and [test["status"] for test in results["tests"]] == ["passed", "failed"]
    assert "<h1>ada</h1>" in report.page(marked) and "1 of 2 exercises are right." in report.page(marked)
