"""The lessons: every exercise is fair, every usual mistake is met with its own words, all notebooks have one source."""

import copy
import json
import re
import time
from importlib import import_module

import chapters
import lesson_answers
import nbformat
import pytest
import torch
from conftest import ROOT
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import lessons
from minigpt.marking import check
from minigpt.marking.exercises import find, names
from minigpt.marking.lessons import tensors
from minigpt.marking.verdict import verdict
from minigpt.page.answers import defined_in, used_in, without_answers

MASTERS = sorted((ROOT / "lessons" / "masters").glob("*.ipynb"))
LESSONS = [path.stem.partition("_")[2] for path in MASTERS]
EXERCISES = [
    (lesson, exercise)
    for lesson in LESSONS
    for exercise in import_module(f"minigpt.marking.lessons.{lesson}").EXERCISES
]
masters = pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)
exercises = pytest.mark.parametrize("lesson, exercise", EXERCISES, ids=[f"{a}.{b.name}" for a, b in EXERCISES])


def given(cell) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def answers(lesson: str, made) -> dict:
    """What the exercises' cells of a master define, each cell's source made by `made`: with solutions, or without."""
    path = next(path for path in MASTERS if path.stem.endswith(f"_{lesson}"))
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"][1:]
    found: dict = {}
    for i, cell in enumerate(code):
        if i == 0 or cell.id.startswith("do-"):  # the first has the imports
            exec(made(cell.source), found)  # noqa: S102 (our own notebooks)
    return found


@pytest.fixture(scope="module")
def solved():
    return {lesson: answers(lesson, lessons.with_solutions) for lesson in LESSONS}


@pytest.fixture(scope="module")
def stubs():
    return {lesson: answers(lesson, lessons.without_solutions) for lesson in LESSONS}


# The exercises


def test_the_lessons_are_those_of_the_package():
    assert {name.partition(".")[0] for name in names()} - {"byhand"} == set(LESSONS)
    assert [name for name in names() if not name.startswith("byhand.")] == sorted(
        (f"{lesson}.{exercise.name}" for lesson, exercise in EXERCISES), key=lambda name: name.partition(".")[0]
    )


@exercises
def test_a_stub_is_told_what_to_do(lesson, exercise, stubs):
    found = check(f"{lesson}.{exercise.name}", stubs[lesson][exercise.name])
    assert not found.passed and exercise.name in found.text
    assert "every path through it needs a return" in found.text or "in the place of the three dots" in found.text
    assert "Traceback" not in found.text


@exercises
def test_the_masters_solution_and_another_one_are_right(lesson, exercise, solved):
    for answer in (solved[lesson][exercise.name], getattr(lesson_answers, exercise.name)):
        for seed in range(3):
            found = verdict(exercise, answer, seed)
            assert found.passed, found.text


@exercises
def test_each_usual_mistake_is_met_with_its_own_words(lesson, exercise):
    words = [mistake.words for mistake in exercise.mistakes]
    assert len(set(words)) == len(words) >= 5
    for mistake in exercise.mistakes:
        for seed in range(3):
            found = verdict(exercise, mistake.answer() if exercise.is_value else mistake.answer, seed)
            assert found.mistake == mistake.words and not found.passed, (mistake.words, found.text)


@exercises
def test_what_is_wanted_is_a_value_and_comes_at_once(lesson, exercise):
    start = time.process_time()
    assert not any("error" in outcome for outcome in exercise.wanted())
    assert time.process_time() - start < 1
    if not exercise.is_value:
        random = sum(a != b for a, b in zip(exercise.arguments(0), exercise.arguments(1), strict=True))
        assert random >= 2, "two cases at least must be random"


def test_a_verdict_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            for lesson, exercise in EXERCISES:
                assert check(f"{lesson}.{exercise.name}", getattr(lesson_answers, exercise.name)).passed
    finally:
        torch.set_num_threads(before)


def test_a_check_leaves_the_random_numbers_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for lesson, exercise in EXERCISES:
        check(f"{lesson}.{exercise.name}", getattr(lesson_answers, exercise.name))
    assert torch.equal(torch.rand(3), expected)


def test_plain_data_become_tensors():
    numbers, ids, one, word, nothing, named = tensors(([[0.5, 1.0]], [1, 2], 3, "sgd", None, {"w": [1.0]}))
    assert numbers.dtype == torch.float32 and numbers.shape == (1, 2)
    assert ids.dtype == torch.int64 and (one, word, nothing) == (3, "sgd", None)
    assert named["w"].dtype == torch.float32
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)  # by the learner's own cell
        assert tensors([0.5]).dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_an_exception_is_said_with_pythons_words():
    text = check("attention.one_head", lambda x, q, k, v: x @ x).text
    assert "got: RuntimeError" in text and "Python says: RuntimeError: " in text and "in your line: " in text
    assert "lambda x, q, k, v: x @ x" in text
    assert "takes 1 positional argument" in check("attention.one_head", lambda x: x).text
    assert "Python says" not in check("attention.one_head", lambda x, q, k, v: x).text


def test_the_line_of_an_exception_is_the_learners():
    code = compile("def one_head(x, q, k, v):\n    y = x\n    return y @ y", "<cell>", "exec")
    exec(code, names := {})  # noqa: S102 (the line above)
    assert "got: RuntimeError in your line 3" in check("attention.one_head", names["one_head"]).text


@pytest.mark.parametrize("wrong", [lambda C: 16 * C * C, lambda C: 23 * C, lambda C: 21 + 0 * C])
def test_one_number_that_is_that_of_a_mistake_shows_no_mistake(wrong):
    assert check("counting.block_params", wrong).mistake is None


def test_a_logarithm_of_0_is_no_overflow():
    answer = lambda logits, targets: -log_of_shares(logits, targets)[targets != -100].mean()  # noqa: E731
    log_of_shares = lambda logits, targets: (  # noqa: E731
        logits.softmax(-1).log().gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    )
    for seed in range(9):
        said = verdict(find("training.loss"), answer, seed).mistake
        assert said.startswith("softmax rounds a very small probability to 0")


def test_nan_has_many_causes():
    assert check("sampling.keep_top_p", lambda probabilities, p: probabilities * float("nan")).mistake is None


def test_an_answer_that_changes_what_it_was_given_is_told_so():
    def in_place(scores, temperature):
        scores /= temperature or 1
        return find("sampling.with_temperature").reference(scores, 1 if temperature else 0)

    found = check("sampling.with_temperature", in_place)
    assert not found.passed and "changes what it was given" in found.text


def test_no_stage_of_attention_needs_more_than_fifteen_lines():
    for name in ("one_head", "masked_head", "many_heads", "fast"):
        text = next(cell.source for cell in nbformat.read(MASTERS[0], as_version=4).cells if cell.id == f"do-{name}")
        [solution] = lessons.solutions(text)
        lines = [line for line in solution.split("\n") if line.strip() and not line.strip().startswith("#")]
        assert len(lines) <= 15, name


def test_large_arguments_are_given_by_their_shapes():
    text = check("attention.fast", lambda x, weights, n_heads: x if x.shape[1] == 1 else None).text
    assert len(text) < 900
    assert "fast(numbers (2, 5, 12), {'query.weight': numbers (12, 12)" in check("attention.fast", nearly_right).text


def nearly_right(x, weights, n_heads):
    """Right in the first case alone."""
    return find("attention.fast").reference(x, weights, n_heads) + (x.shape[0] > 1)


# The notebooks


@pytest.fixture(scope="module", params=MASTERS, ids=lambda path: path.stem)
def made(request, tmp_path_factory):
    """A lesson made anew: its master's path and the folder."""
    folder = tmp_path_factory.mktemp("lessons")
    lessons.make(request.param, folder)
    return request.param, folder


@pytest.mark.long
def test_the_masters_give_the_notebooks_that_are_there(made):
    """So the solved ones print what they show. If not: make lessons."""
    path, folder = made
    for name in (path.name, f"solved/{path.name}"):
        assert (folder / name).read_bytes() == (ROOT / "lessons" / name).read_bytes(), name


@masters
def test_the_solved_notebook_has_passed_its_checks(path):
    cells = nbformat.read(ROOT / "lessons" / "solved" / path.name, as_version=4).cells
    said = [cell.outputs[0].data["text/plain"] for cell in cells if cell.id.startswith("check-")]
    assert said and all(re.search(r": right\.$|: right in all \d cases\.$", text) for text in said)
    assert not any("Not yet" in str(cell.get("outputs")) for cell in cells)


@masters
def test_what_a_solved_notebook_shows_holds_nothing_that_changes_by_itself(path):
    raw = (ROOT / "lessons" / "solved" / path.name).read_text(encoding="utf-8")
    assert not re.search(r"at 0x[0-9a-f]{8,}|/home/|/tmp/|/root/|/work/|image/png|Traceback", raw)
    notebook = nbformat.reads(raw, as_version=4)
    assert notebook.metadata[chapters.OUTPUTS] == chapters.outputs_checksum(notebook)
    assert raw.count("<svg") == len(re.findall(r'<svg role=\\"img\\" aria-label=\\"[^"]{40,}\\"', raw))


@masters
def test_a_learners_notebook_runs_to_its_end(path, tmp_path, monkeypatch):
    """With all exercises undone: each check says so, and nothing is raised."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    threads = torch.get_num_threads()
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    try:
        for cell in nbformat.read(ROOT / "lessons" / path.name, as_version=4).cells:
            if cell.cell_type == "code":
                with capture_output() as shown:
                    done = shell.run_cell(cell.source)
                assert done.success, (cell.source, shown.stdout)
                if cell.id.startswith("check-"):
                    assert not done.result.passed
    finally:
        torch.set_num_threads(threads)


def solution_lines(master) -> list[str]:
    """The lines of a master's solutions, code and comment each by itself, without those that are as short as `]`."""
    lines = [line for cell in master.cells for text in lessons.solutions(cell.source) for line in text.split("\n")]
    parts = [part.strip() for line in lines for part in re.split(r"(?:^|  )\s*# ", line)]
    return [part for part in parts if len(part) > 5 and not re.fullmatch(r"\([A-Z, +1]*\)", part)]


def leaks(master, learners: str) -> list[str]:
    """The lines of solutions that stand in the text of a learner's file."""
    return [line for line in solution_lines(master) if json.dumps(line, ensure_ascii=False)[1:-1] in learners]


@masters
def test_no_line_of_a_solution_is_left_for_learners(path):
    master = nbformat.read(path, as_version=4)
    learners = (ROOT / "lessons" / path.name).read_text(encoding="utf-8")
    assert len(solution_lines(master)) >= 10
    assert leaks(master, learners) == []
    assert not re.search("BEGIN|END SOL|HIDDEN|assert check|nbgrader", learners)
    notebook = json.loads(learners)
    assert not any(cell.get("outputs") for cell in notebook["cells"])


def test_a_line_that_is_left_is_found():
    master = nbformat.read(MASTERS[0], as_version=4)
    learners = nbformat.read(ROOT / "lessons" / MASTERS[0].name, as_version=4)
    assert leaks(master, nbformat.writes(learners)) == []
    learners.cells[3].metadata["note"] = 'x\n    queries, keys, values = x @ w_q, x @ w_k, x @ w_v  # (T, D)\n"'
    assert len(leaks(master, nbformat.writes(learners))) == 1


def test_what_stands_in_place_of_a_solution():
    source = "a = 1\nn = ...\n### BEGIN SOLUTION\nn = a + 1\n### END SOLUTION\n"
    source += "### BEGIN HIDDEN TESTS\nassert n\n### END HIDDEN TESTS"
    assert lessons.without_solutions(source) == "a = 1\nn = ..."
    assert lessons.with_solutions(source) == "a = 1\nn = a + 1"
    source = "def f(x):\n    ### BEGIN SOLUTION\n    # why\n    return x\n    ### END SOLUTION"
    assert lessons.without_solutions(source) == "def f(x):\n    ..."
    assert lessons.with_solutions(source) == "def f(x):\n    # why\n    return x"
    words = "### BEGIN SOLUTION\nBecause.\n### END SOLUTION"
    assert lessons.without_solutions(words, is_code=False) == "*Your answer:*"
    assert lessons.with_solutions(words) == "Because."


@masters
def test_a_master_is_a_source_for_nbgrader(path):
    """Each exercise has a cell to solve, a cell that grades it, and hints; their ids are those that nbgrader wants."""
    master = nbformat.read(path, as_version=4)
    lesson = path.stem.partition("_")[2]
    cells = {given(cell): cell for cell in master.cells if given(cell)}
    assert len(cells) == sum("nbgrader" in cell.metadata for cell in master.cells)
    for name in (exercise.name for other, exercise in EXERCISES if other == lesson):
        todo, graded = cells[f"{lesson}-{name}"], cells[f"check-{lesson}-{name}"]
        assert todo.metadata.nbgrader.solution and not todo.metadata.nbgrader.grade and lessons.solutions(todo.source)
        assert graded.metadata.nbgrader.grade and graded.metadata.nbgrader.points >= 1
        assert graded.source.startswith(f'check("{lesson}.{name}", {name})\n### BEGIN HIDDEN TESTS\nassert ')
    for cell in cells.values():
        assert cell.metadata.nbgrader.schema_version == 3
        assert cell.source.count("### BEGIN SOLUTION") == cell.source.count("### END SOLUTION")
        assert bool(lessons.solutions(cell.source)) == cell.metadata.nbgrader.solution
    assert not any(lessons.solutions(cell.source) for cell in master.cells if not given(cell))
    for copied in (path.name, f"solved/{path.name}"):
        cells = nbformat.read(ROOT / "lessons" / copied, as_version=4).cells
        assert cells[0].source == chapters.colab_cell()
        assert [cell.id for cell in cells] == [cell.id for cell in master.cells]


@masters
def test_a_lesson_says_what_it_asks_for(path):
    text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    title, minutes, difficulty = re.search(
        r"# Lesson (\d: .*?)\n.*?\*Time:\* (\d+) minutes\. \*Difficulty:\* ([1-5]) of 5\.", text, re.DOTALL
    ).groups()
    assert 20 <= int(minutes) <= 60
    for part in ("*Goal:*", "*Read first:*", "A CPU is enough", "## Where next"):
        assert part in text, part
    row = next(
        line for line in (ROOT / "lessons" / "homework.md").read_text("utf-8").splitlines() if f"({path.name})" in line
    )
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0].startswith(f"[{title[0]} ") and cells[2:] == [minutes, difficulty]


# Copies of the chapters


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_a_chapter_without_its_answers_still_has_all_that_its_cells_need(path):
    chapter = nbformat.read(path, as_version=4)
    before = copy.deepcopy(chapter)
    handed_out = without_answers(chapter)
    assert chapter == before
    text = "\n".join(cell.source for cell in handed_out.cells if cell.cell_type == "markdown")
    n_answers = "\n".join(cell.source for cell in chapter.cells).count("<details>")
    assert n_answers >= 3 and "<details>" not in text and "</details>" not in text
    kept = {cell.id for cell in handed_out.cells}
    gone = [cell for cell in chapter.cells if cell.id not in kept]
    lost = defined_in(gone) - defined_in(handed_out.cells)
    assert gone and lost & used_in(handed_out.cells) == set()


def test_a_hidden_cell_stays_if_a_later_one_needs_it():
    def notebook(*sources):
        answer = nbformat.v4.new_markdown_cell("Why?\n\n<details><summary>Answer</summary>\n\nSo.\n\n</details>")
        code = [nbformat.v4.new_code_cell(source) for source in sources]
        code[0].metadata.tags = ["hide-cell"]
        return nbformat.v4.new_notebook(cells=[answer, *code])

    def left(*sources):
        return [cell.source for cell in without_answers(notebook(*sources)).cells]

    assert left("size = 3", "def f(size):\n    return size") == ["Why?", "def f(size):\n    return size"]
    assert left("size = 3", "print(size)") == ["Why?", "size = 3", "print(size)"]
    assert left("from math import pi as p", "p") == ["Why?", "from math import pi as p", "p"]
    assert left("print(1)", "print(2)") == ["Why?", "print(2)"]


def test_the_chapters_are_written_without_their_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lessons.py", "--chapters", str(tmp_path / "handed out")])
    lessons.main()
    written = sorted((tmp_path / "handed out").iterdir())
    assert [path.name for path in written] == sorted(path.name for path in (ROOT / "book").glob("[0-9]*.ipynb"))
    assert all("<details>" not in path.read_text(encoding="utf-8") for path in written)
