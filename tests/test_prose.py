"""The numbers on the pages are bound to what computes them, and a wrong one is noticed wherever it stands."""

import ast
import functools
import math
import random
import re

import chapters
import nbformat
import pytest
from conftest import ROOT
from prose import accepted, faults, pages

from minigpt.page import prose

PAGES = pages()
names = pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}/{path.name}")


@names
def test_every_number_is_computed_or_known_not_to_be(path):
    """If not: bind it; or, where nothing computes it, `python tools/prose.py --accept`. See minigpt/page/prose.py."""
    assert faults(path) == []


def test_unbound_numbers_are_those_of_pages_that_exist():
    assert {line.partition(" | ")[0] for line in accepted()} <= {path.relative_to(ROOT).as_posix() for path in PAGES}


def test_an_expression_is_more_than_the_number_typed_again():
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        cells = [text] if path.suffix != ".ipynb" else [c.source for c in nbformat.reads(text, as_version=4).cells]
        for number in (number for cell in cells for number in prose.bound_numbers(cell)):
            typed = number.expression and isinstance(ast.parse(number.expression, mode="eval").body, ast.Constant)
            assert not typed, f"{path.name}: {number.text} is bound to {number.expression}"


# Where a wrong number can be planted: every number that a reader may see in the source of a page.
SPOTS = re.compile(rf"\d(?:[\d,]*\d)?(?:\.\d+)?|\b(?:{prose.WORDS})s?\b", re.IGNORECASE)
HIDDEN = re.compile(r"<!--.*?-->|</?[A-Za-z][^>]*>|\]\([^)\s]*\)|https?://[^\s)>]*", re.DOTALL)


def spots(text: str) -> list[tuple[int, int]]:
    """Where the numbers of a text are; those that no reader sees left out."""
    hidden = [match.span() for match in HIDDEN.finditer(text)]
    found = [match.span() for match in SPOTS.finditer(text)]
    return [(a, b) for a, b in found if not any(begin <= a < end for begin, end in hidden)]


def another(number: str, chance: random.Random) -> str:
    """Another number of the same kind: a digit changed, or another number word."""
    if not number[0].isdigit():
        return chance.choice([w for w in ("two", "three", "four", "six", "seven", "half") if w != number.lower()])
    place = chance.choice([i for i, digit in enumerate(number) if digit.isdigit()])
    digit = chance.choice([d for d in "123456789" if d != number[place]])
    return number[:place] + digit + number[place + 1 :]


def places() -> list[tuple]:
    """Every number of every page: the page, the index of its cell (None on a page of text), where it is. In a
    cell of code that is a caption, a heading, a label or a comment."""
    found = []
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".ipynb":
            found += [(path, None, span) for span in spots(text)]
            continue
        for i, cell in enumerate(nbformat.reads(text, as_version=4).cells):
            said = [cell.source] if cell.cell_type == "markdown" else prose.spoken(cell.source)
            for part in said:
                begin = cell.source.find(part)  # a string that holds an escape is not found as it is
                found += [(path, i, (begin + a, begin + b)) for a, b in spots(part) if begin >= 0]
    return found


def plant(path, cell, span, chance: random.Random) -> tuple[str, str]:
    """The page with another number there, and what was done, in words."""
    text = path.read_text(encoding="utf-8")
    notebook = None if cell is None else nbformat.reads(text, as_version=4)
    source = text if cell is None else notebook.cells[cell].source
    new = another(source[slice(*span)], chance)
    wrong = source[: span[0]] + new + source[span[1] :]
    what = f"{path.name}: {source[max(0, span[0] - 30) : span[1] + 20]!r} -> {new}"
    if cell is None:
        return wrong, what
    notebook.cells[cell].source = wrong
    return nbformat.writes(notebook), what


@functools.cache
def before(path) -> list[str]:
    return faults(path)


def noticed(path, text: str) -> bool:
    """Whether a page has faults that it had not before."""
    try:
        return set(faults(path, text)) > set(before(path))
    except ValueError:
        return True


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_of_a_hundred_wrong_numbers_planted_at_random_ninety_five_are_noticed(seed):
    chance = random.Random(seed)
    missed = []
    for place in chance.sample(places(), 100):
        text, what = plant(*place, chance)
        if not noticed(place[0], text):
            missed.append(what)
    assert len(missed) <= 5, missed


ARITHMETIC = re.compile(r"(?<![\w·/(+*-])([\d(][\d,.()·²³ +/-]*[·+/-][\d,.()·²³ +/-]*) = (\d[\d,]*(?:\.\d+)?)(?!\w)")


def equations() -> list[tuple[str, str, str]]:
    """Every "4·(768² + 768) = 2,362,368" in the package's docstrings and comments, and in the pages' texts."""
    found = []
    for path in [*sorted((ROOT / "minigpt").rglob("*.py")), *PAGES]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join(cell.source for cell in nbformat.reads(text, as_version=4).cells)
        text = re.sub(r"\$[^$]*\$", "$", prose.without_bindings(text))  # formulas are computed elsewhere
        found += [(path.name, *match.groups()) for match in ARITHMETIC.finditer(text)]
    return [equation for equation in found if equation[1].count("(") == equation[1].count(")")]


def test_equations_in_docstrings_and_texts_are_right():
    assert ("attention.py", "4·(768² + 768)", "2,362,368") in equations()
    for name, left, right in equations():
        value = prose.side_value(left, {})
        assert value is not None, (name, left)
        assert prose.agree(right, float(right.replace(",", "")), left, value, about=False), (name, left, right)


def test_a_changed_output_is_noticed():
    path = ROOT / "book" / "03_parameters.ipynb"
    text = path.read_text(encoding="utf-8")
    for old, new in (("301,771,520 parameters, 4 bytes", "301,771,521 parameters, 4 bytes"), ("25.0 ", "26.0 ")):
        if old in text:
            assert "its outputs are not those that were computed" in "".join(faults(path, text.replace(old, new, 1)))


def test_a_number_is_written_as_the_one_beside_it():
    assert prose.written(1234.5678, "9.00") == "1,234.57"
    assert prose.written(1234, "1000") == "1234"
    assert prose.written(-0.25, "−0.75") == "−0.25"
    assert prose.written(10**6, "10⁶") == "10⁶"
    assert prose.written(12, "Three") == "Twelve"
    assert prose.written(1 / 3, "third") == "third" and prose.written(3, "third") == "third"
    assert prose.written(2, "first") == "second"
    assert prose.written(True, "half") == "half"
    with pytest.raises(ValueError, match="must be so"):
        prose.written(False, "half")
    with pytest.raises(ValueError, match="where rounding decides the last digit"):
        prose.written(0.125, "0.13")
    with pytest.raises(ValueError, match="must have a number word"):
        prose.written(0.37, "half")


@pytest.mark.parametrize(
    "formula, right",
    [
        (r"$4(768^2 + 768) = 2{,}362{,}368$", True),
        (r"$4(768^2 + 768) = 2{,}362{,}369$", False),
        (r"$C\,(V + T_{max}) = 12\,C\,(12C + 13)$", False),
        (r"$2C + 3C = 5C$", True),
        (r"$\frac{1}{\sqrt{2L}} \approx 0.41$", True),
        (r"$\frac{1}{\sqrt{2L}} \approx 0.51$", False),
        (r"$L < C$", True),
        (r"$\sqrt{C^2} = C$", True),
        (r"$\ln V = 3.43$", True),
        (r"$\ln V = 3.53$", False),
    ],
)
def test_a_formula_is_computed(formula, right):
    letters = {"C": 6, "V": 31, "L": 3, "T_max": 17}
    if right:
        prose.check_formula(formula, letters)
    else:
        with pytest.raises(ValueError):
            prose.check_formula(formula, letters)


def test_no_reader_sees_a_binding():
    text = "It has 12<!--=L--> layers.<!--: L = 12 -->"
    assert prose.without_bindings(text) == "It has 12 layers."
    assert [number.text for number in prose.numbers(text)] == ["12"]


ROW = {"z": [2.0, 1.0, 0.5], "tau": 2, "V": 3, "i": 1, "j": 3}
EXPONENTIALS = [math.exp(z / 2) for z in ROW["z"]]
ROW["p"] = [e / sum(EXPONENTIALS) for e in EXPONENTIALS]


@pytest.mark.parametrize(
    "formula, letters, wrong",
    [
        (r"H = -\sum_{i=1}^{V} p_i \log_2 p_i", {"V": 3, "p": [0.5, 0.25, 0.25], "H": 1.5},
         [("-", ""), ("i=1", "i=2"), ("log_2", "ln"), ("log_2", "log_3"), ("log_2 p_i", "log_2 p_j")]),
        (r"L = -\frac{1}{N} \sum_{n=1}^{N} \ln p_n", {"N": 2, "p": [0.5, 0.25], "L": 1.5 * math.log(2)},
         [("1}{N", "2}{N"), ("n=1", "n=2"), ("-", "")]),
        (r"p_i = \frac{e^{z_i/\tau}}{\sum_{j=1}^{V} e^{z_j/\tau}}", ROW,
         [("z_i", "z_2"), ("z_j", "2z_j"), ("i/", "i-")]),
        (r"\frac{p_i}{p_j} = e^{(z_i - z_j)/\tau} = \left(e^{z_i - z_j}\right)^{1/\tau}", ROW,
         [("1/", "2/"), ("(z_i - z_j)/", "(z_i + z_j)/"), ("{p_j}", "{p_i}")]),
    ],
)  # fmt: skip
def test_sums_and_rows_are_computed(formula, letters, wrong):
    prose.check_formula(formula, {}, letters)
    for old, new in wrong:
        assert formula.count(old) >= 1
        with pytest.raises(ValueError):
            prose.check_formula(formula.replace(old, new, 1), {}, letters)


def test_a_displayed_formula_is_bound_on_the_next_line():
    text = "So\n\n$$2a + 1.$$\n<!--=n-->\n\nwith 3<!--=a--> and 4\n<!--=n-->."
    assert [(n.text, n.expression) for n in prose.numbers(text)] == [("$$2a + 1.$$", "n"), ("3", "a"), ("4", None)]
    assert prose.without_bindings("$$2a + 1.$$\n<!--=n-->\n\nwith") == "$$2a + 1.$$\n\nwith"


def test_no_displayed_formula_has_more_on_its_line():
    """MyST would show its dollars."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        cells = [text] if path.suffix != ".ipynb" else [c.source for c in nbformat.reads(text, as_version=4).cells]
        assert not re.search(r"\$\$<!--", "\n".join(cells)), path.name


def test_what_a_cell_says_in_words_is_read_and_its_formats_are_not():
    source = 'x = 3  # three of four\nprint(f"{x:,.3f} of 28 heads", "gpt2")\n'
    assert prose.spoken(source) == ["# three of four", " of 28 heads"]


def test_a_chapters_numbers_come_from_its_kernel(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(chapters.colab_cell()),
        nbformat.v4.new_markdown_cell("It has 99<!--=n--> of them, two<!--=answers--> in all."),
        nbformat.v4.new_code_cell("n, answers = 12, 3"),
        nbformat.v4.new_code_cell("n = 7"),
        nbformat.v4.new_markdown_cell("Now 12<!--=n-->."),
    ]
    path = tmp_path / "small.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    chapters.run(path)
    done = nbformat.read(path, as_version=4)
    assert done.cells[1].source == "It has 12<!--=n--> of them, three<!--=answers--> in all."
    assert done.cells[1].metadata["numbers"] == ["12", "three"]
    assert done.cells[4].source == "Now 7<!--=n-->." and len(done.cells) == 5
    assert [cell.execution_count for cell in done.cells if cell.cell_type == "code"] == [1, 2, 3]
    before = path.read_bytes()
    chapters.run(path)
    assert path.read_bytes() == before
