"""Check the numbers in the pages' prose: those that are bound to an expression, and those that nothing computes.

    python tools/prose.py             print what is wrong
    python tools/prose.py --write     in pages of text, write the numbers that their expressions give
    python tools/prose.py --accept    write tests/unbound.txt anew: the numbers without an expression

The numbers in chapters are written by tools/chapters.py, which has a kernel to compute them. Read what --accept
changes (git diff): each line says "nothing computes this number; we vouch for it ourselves".
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from chapters import NUMBERS, OUTPUTS, outputs_checksum

from minigpt.files import write_files
from minigpt.page import prose

ROOT = Path(__file__).resolve().parents[1]
UNBOUND = ROOT / "tests" / "unbound.txt"
#: A shape in a comment behind code. Shapes inside functions have no other check.
SHAPES = re.compile(r"#[^\n]*?(\([A-Z][A-Za-z_]*(?:, [^()\n]*)?,?\))")
MODEL_CARDS = "minigpt/weights/*/README.md"


def pages() -> list[Path]:
    """All pages that hold prose: chapters, pages of text, the bibliography, the README, SECURITY, the model cards."""
    patterns = ["book/*.ipynb", "book/*.md", "book/*.bib", "lessons/*.ipynb", "lessons/*.md"]
    patterns += ["README.md", "SECURITY.md", MODEL_CARDS]
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text. Each row of a table is a paragraph, and so is each entry of a bibliography."""
    for block in re.split(r"\n\n|\n(?=@)", text):
        lines = block.split("\n")
        table = [line for line in lines if line.startswith("|")]
        rest = "\n".join(line for line in lines if not line.startswith("|"))
        yield from (part for part in [rest, *table] if part.strip())


def beginning(text: str) -> str:
    """The first words of a paragraph, by which it is recognised."""
    plain = prose.without_bindings(text).replace("|", " ")
    return " ".join(plain.split()[:5])


def in_context(text: str, number: prose.Number) -> str:
    """A number with the letters and marks directly beside it: GPT-2, radford2019, 0.5."""
    if number.kind in ("formula", "code") and text[number.start] in "$`":
        return "_".join(number.text.split())
    begin, end = number.start, number.end
    while begin and (text[begin - 1].isalnum() or text[begin - 1] in "-_.+/"):
        begin -= 1
    while end < len(text) and (text[end].isalnum() or text[end] in "-_%/"):
        end += 1
    return "_".join(text[begin:end].split())


def is_checked_elsewhere(number: prose.Number) -> bool:
    """Whether a number needs no line in unbound.txt, because it is a formula of numbers alone whose sides agree."""
    if number.kind != "formula":
        return False
    try:
        prose.check_formula(number.text, {})
    except ValueError:
        return False
    return True


def confirmed_only(expression: str | None) -> bool:
    """Whether an expression only says if a sentence is true, as a comparison does, and does not give the number."""
    if expression is None:
        return False
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        return False
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return negated or isinstance(node, ast.Compare | ast.BoolOp)


def unbound(text: str) -> list[tuple[str, list[str]]]:
    """For each paragraph with numbers that no expression gives, its beginning and those numbers."""
    lines = []
    for part in paragraphs(text):
        loose = [
            in_context(part, number)
            for number in prose.numbers(part)
            if (number.expression is None or confirmed_only(number.expression)) and not is_checked_elsewhere(number)
        ]
        if loose:
            lines.append((beginning(part), loose))
    return lines


def unbound_lines(path: Path, text: str | None = None) -> list[str]:
    """The lines of unbound.txt for a page. If `text` is given, it is used in place of the file's content."""
    name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8") if text is None else text
    if path.suffix != ".ipynb":
        sentences = unbound(text)
    else:
        sentences = []
        for cell in nbformat.reads(text, as_version=4).cells:
            texts = [cell.source] if cell.cell_type == "markdown" else prose.spoken(cell.source)
            sentences += [line for text in texts for line in unbound(text)]
            if cell.cell_type == "code" and (claims := SHAPES.findall(cell.source)):
                sentences.append((beginning(cell.source), ["".join(claim.split()) for claim in claims]))
    return [f"{name} | {start} | {' '.join(numbers)}" for start, numbers in sentences]


def accepted() -> list[str]:
    """The lines of unbound.txt, without its head."""
    lines = UNBOUND.read_text(encoding="utf-8").splitlines() if UNBOUND.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def names_of(text: str) -> dict[str, object]:
    """The names and values that a page of text defines for its expressions."""
    names: dict[str, object] = {"ROOT": ROOT}
    for statements in prose.SETUP.findall(text):
        exec(statements.strip(), names)  # noqa: S102 (our own pages)
    return names


def right_numbers(text: str) -> list[str]:
    """The right values of the bound numbers of a page of text."""
    names = names_of(text)
    return [prose.evaluate(number, names) for number in prose.bound_numbers(text)]


def wrong_numbers(path: Path, text: str | None = None) -> list[str]:
    """Messages about the bound numbers of a page that are wrong.

    The numbers in a chapter are compared with those that its kernel has computed and stored.
    """
    text = path.read_text(encoding="utf-8") if text is None else text
    if path.suffix != ".ipynb":
        pairs = zip(prose.bound_numbers(text), right_numbers(text), strict=True)
        return [f"{path.name}: {n.text} must be {right}, by {n.expression}" for n, right in pairs if n.text != right]
    wrong, notebook = [], nbformat.reads(text, as_version=4)
    if notebook.metadata.get(OUTPUTS) != outputs_checksum(notebook):
        wrong.append(f"{path.name}: its outputs are not those that were computed: make chapters")
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        said = [number.text for number in prose.bound_numbers(cell.source)]
        stored = cell.metadata.get(NUMBERS, [])
        if said != stored:
            wrong.append(f"{path.name}: the text says {said}, its kernel {stored}: make chapters")
    return wrong


def faults(path: Path, text: str | None = None, ledger: list[str] | None = None) -> list[str]:
    """Messages about everything that is wrong with the numbers of a page."""
    ledger = accepted() if ledger is None else ledger
    text = path.read_text(encoding="utf-8") if text is None else text
    name = path.relative_to(ROOT).as_posix()
    have = unbound_lines(path, text)
    expected = [line for line in ledger if line.startswith(f"{name} | ")]
    wrong = wrong_numbers(path, text) + [f"{name}: {link}: another chapter" for link in prose.linked_chapters(text)]
    wrong += [f"unbound, and not in tests/unbound.txt: {line}" for line in have if line not in expected]
    wrong += [f"in tests/unbound.txt, and not on the page: {line}" for line in expected if line not in have]
    if not wrong and have != expected:
        wrong.append(f"{name}: unbound numbers stand in another order than in tests/unbound.txt")
    return wrong


HEAD = """\
# The numbers on the pages that no expression computes: names (GPT-2), years of what is cited, numbers quoted from
# a source that the sentence names, and words such as "two ways", which people read and count. A page whose numbers
# are not these turns tests/test_prose.py red. Bind a number where something computes it; else, and only then, write
# this file anew by `python tools/prose.py --accept`.
# page | how the paragraph begins | its numbers
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the right numbers into pages of text")
    parser.add_argument("--accept", action="store_true", help="write tests/unbound.txt anew")
    parser.add_argument("pages", nargs="*", type=lambda name: Path(name).resolve(), help="only these pages")
    options = parser.parse_args()
    chosen = options.pages or pages()
    if options.write:
        for path in (path for path in chosen if path.suffix != ".ipynb"):
            text = path.read_text(encoding="utf-8")
            new = prose.rewritten(text, right_numbers(text))
            write_files({path: lambda place, new=new: place.write_text(new, encoding="utf-8")})
    if options.accept:
        names = {f"{path.relative_to(ROOT).as_posix()} | " for path in chosen}
        kept = [line for line in accepted() if options.pages and not line.startswith(tuple(names))]
        lines = kept + [line for path in chosen for line in unbound_lines(path)]
        lines.sort(key=lambda line: line.partition(" | ")[0])
        text = HEAD + "\n".join(lines) + "\n"
        write_files({UNBOUND: lambda place: place.write_text(text, encoding="utf-8")})
    wrong = [fault for path in chosen for fault in faults(path)]
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
