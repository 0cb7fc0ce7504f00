r"""Numbers in prose, bound to the Python expressions that compute them.

In a text, a comment may follow a number, a number word, a formula or a piece of code. Readers don't see it on the
site, in JupyterLab, in Colab or on GitHub. It holds a Python expression:

    The model has 301,771,520<!--=count_params(homework)--> parameters in twelve<!--=homework.n_layers--> layers.
    $P = C\,(V + L\,(12C + 13))$<!--=P-->

The value of the expression, written in the same way as the number before it, has to be that number. In a chapter,
the chapter's kernel computes it, as soon as the cell after the text has run. In a page of text, it is computed from
what the `<!--: statements -->` on that page define. Numbers without an expression are found, too.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from minigpt.page.source import comment_tokens

# fmt: off
CARDINALS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
             "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
            "twelfth"]
# fmt: on
#: The meanings of number words; when a number is written as a word, only the first meaning of each word is used.
MEANINGS: dict[str, tuple[float, ...]] = (
    {word: (number,) for number, word in enumerate(CARDINALS)}
    | {word: (10 * number,) for number, word in enumerate(TENS, 2)}
    | {f"{ten}-{CARDINALS[one]}": (10 * n + one,) for n, ten in enumerate(TENS, 2) for one in range(1, 10)}
    | {word: (number,) for number, word in enumerate(ORDINALS, 1)}
    | {"third": (3, 1 / 3), "fifth": (5, 1 / 5), "tenth": (10, 1 / 10)}
    | {"half": (1 / 2,), "halves": (1 / 2,), "thirds": (1 / 3,), "quarter": (1 / 4,), "quarters": (1 / 4,)}
    | {"fifths": (1 / 5,), "tenths": (1 / 10,), "hundredth": (1 / 100,), "thousandth": (1e-3,)}
    | {"millionth": (1e-6,), "billionth": (1e-9,)}
    | {"once": (1,), "twice": (2,), "fourfold": (4,), "twofold": (2,), "dozen": (12,)}
    | {"hundred": (100,), "thousand": (1_000,), "million": (10**6,), "billion": (10**9,), "trillion": (10**12,)}
)
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")

WORDS = "|".join(sorted(MEANINGS, key=len, reverse=True))
PIECE = re.compile(
    r"(?P<skipped><!--:.*?-->|<!--(?![=:]).*?-->|</?[A-Za-z][^>]*>|\]\([^)\s]*\)|https?://[^\s)>]*)"
    r"|(?P<fence>^```.*?^```)"
    r"|(?P<formula>\$\$.+?\$\$|(?<![\\$\w])\$(?![\s$])[^$\n`]+?(?<!\s)\$(?![\d$]))"
    r"|(?P<code>(?<!`)`[^`\n]+`(?!`))"
    r"|(?P<digits>(?:(?<![\w.,)])[-−])?(?<![\d.])\d(?:[\d,]*\d)?(?:\.\d+)*(?:e[-+]?\d+)?[⁰¹²³⁴-⁹]*)"
    rf"|(?P<word>\b(?:{WORDS})s?\b)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
# To MyST, a line with text after its last $$ is not a displayed formula. So there the comment may be on the next line.
BINDING = re.compile(r"(?:(?<=\$\$)\n)?<!--=(.*?)-->", re.DOTALL)
SETUP = re.compile(r"<!--:(.*?)-->", re.DOTALL)
LINKED_CHAPTER = re.compile(r"\[[^\]]*\bchapter (\d+)[^\]]*\]\((?:book/)?(\d\d)_[^)]*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Number:
    """A number in a text.

    Attributes:
        kind: "digits", "word", "formula", "code" or, in a block of code, "fence".
        text: the number as it is written, with its sign.
        start: where it begins in the text.
        expression: the expression that it is bound to; None if there is none.
    """

    kind: str
    text: str
    start: int
    expression: str | None

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def numbers(text: str) -> Iterator[Number]:
    """All numbers in a Markdown text, in order: digits, number words, shapes, and formulas and code that hold digits.

    Digits in comments, in tags and in the addresses of links are left out.
    """
    place = 0
    while match := PIECE.search(text, place):
        kind, place = match.lastgroup, match.end()
        if kind in ("skipped", None):
            continue
        if kind == "fence":
            for inner in re.finditer(rf"\d(?:[\d,]*\d)?(?:\.\d+)*|\b(?:{WORDS})s?\b", match[0], re.IGNORECASE):
                yield Number("fence", inner[0], match.start() + inner.start(), None)
            continue
        bound = BINDING.match(text, place)
        if kind in ("formula", "code") and not bound and not re.search(r"\d|^`\([A-Z]", match[0]):
            continue
        yield Number(kind, match[0], match.start(), bound[1].strip() if bound else None)
        place = bound.end() if bound else place


def bound_numbers(text: str) -> list[Number]:
    """The bound numbers of a text: those that are followed by an expression."""
    return [number for number in numbers(text) if number.expression is not None]


def rewritten(text: str, right: Sequence[str]) -> str:
    """The text with its bound numbers replaced, in order, by those in `right`."""
    for number, new in reversed(list(zip(bound_numbers(text), right, strict=True))):
        text = text[: number.start] + new + text[number.end :]
    return text


def without_bindings(text: str) -> str:
    """A text as its readers see it: without the comments that bind its numbers."""
    return SETUP.sub("", BINDING.sub("", text))


def written(value: object, like: str) -> str:
    """Write a value like a given number: with as many decimals, the same separators, or as a word if that is one.

    Args:
        value: a number; a str, which is returned as it is; or a bool: whether the sentence is true.
        like: the number in the text.

    Raises:
        ValueError: the sentence is not true; there is no word for the value; or the value is halfway between
            two roundings, so that another machine may round it the other way.

    >>> written(301771520, "301,771,521"), written(0.2613, "0.25"), written(3, "Two"), written(2, "10³")
    ('301,771,520', '0.26', 'Three', '2')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ == "bool":
        if not value:
            raise ValueError(f"what is said of {like!r} must be so; it is not")
        return like
    if not re.search(r"\d", like):
        return as_word(value, like)
    base, power = like.rstrip("⁰¹²³⁴⁵⁶⁷⁸⁹"), re.search(r"[⁰¹²³⁴-⁹]+$", like)
    if power and as_float(base) ** int(power[0].translate(SUPERSCRIPTS)) == value:
        return like
    if "e" in base.lower():
        return like if math.isclose(as_float(base), value, rel_tol=1e-9) else f"{value:g}"
    decimals = len(base.partition(".")[2])
    scaled = abs(value) * 10**decimals
    if not isinstance(value, int) and abs(scaled % 1 - 0.5) < 1e-6:
        raise ValueError(f"value must not lie where rounding decides the last digit; got {value!r} for {like!r}")
    separated = "," in base or abs(value) < 1_000 or len(base.lstrip("-−").partition(".")[0]) < 4
    text = f"{value:,.{decimals}f}" if separated else f"{value:.{decimals}f}"
    return text.replace("-", "−") if base.startswith("−") else text


def as_float(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


def as_word(value: float, like: str) -> str:
    """A number as a word of the same kind as `like`; `like` itself, if the number is one of its meanings."""
    lower = like.lower()
    family = lower if lower in MEANINGS else lower.removesuffix("s")
    if any(math.isclose(value, meaning) for meaning in MEANINGS[family]):
        return like
    same = ORDINALS if family in ORDINALS and family not in ("third", "fifth", "tenth") else MEANINGS
    for word in same:
        if math.isclose(MEANINGS[word][0], value):
            return word.capitalize() if like[0].isupper() else word
    raise ValueError(f"value must have a number word, as {like!r} is one; got {value!r}")


def evaluate(number: Number, names: Mapping[str, object]) -> str:
    """The right text for `number`.

    Args:
        number: a bound number.
        names: the values of the names in its expression, and of the letters in a formula.

    Raises:
        ValueError: the expression fails, or its value can't be written like the number; the message
            holds the number and the expression.
    """
    try:
        value = eval(number.expression, {**names}) if number.expression else None
        if number.kind == "formula":
            check_formula(number.text, names, value)
            return number.text
        if number.kind == "code":
            return f"`{value}`"
        return written(value, number.text)
    except Exception as error:
        what = f"{number.text!r}, bound to {number.expression!r}"
        raise ValueError(f"{what}: {type(error).__name__}: {error}") from error


def answers(names: Mapping[str, object], asked: Sequence[tuple[str, str, str]]) -> list[str]:
    """The right texts of bound numbers: the result of `evaluate` for the kind, text and expression of each.

    Raises:
        ValueError: an expression fails or a sentence is not true; the message lists all such numbers.
    """
    right, wrong = [], []
    for kind, text, expression in asked:
        try:
            right.append(evaluate(Number(kind, text, 0, expression), names))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("\n".join(wrong))
    return right


RELATION = re.compile(r"=|\\approx|\\leq?(?![a-z])|\\geq?(?![a-z])|<|>|\\equiv")
LATEX = (
    (r"\\[,;:! ]|\\(?:big|Big|bigg|Bigg)[lr]?|\\left|\\right|~|\\quad|\\qquad", " "),
    (r"\{,\}", ""),
    (r"\\(?:cdot|times)", "*"),
    (r"\\ln\b", " ln "),
    (r"\\log_2\b", " lb "),
    (r"\\tau\b", " tau "),
    (r"\\mathcal\{(\w)\}", r" \1 "),
    (r"\\text\{[^}]*\}|\\mathrm\{[^}]*\}", " "),
    (r"\\%", ""),
    (r"([A-Za-z])_\{(\w+)\}", r"\1_\2"),
)


def python_of(latex: str) -> str:
    r"""Turn a LaTeX formula into a Python expression; letters side by side are multiplied.

    >>> python_of(r"C\,(V + T_{max} + L\,(12C + 13) + 2)")
    'C*(V+T_max+L*(12*C+13)+2)'
    >>> python_of(r"\frac{1}{\sqrt{2L}}")
    '((1)/(sqrt(2*L)))'
    >>> python_of(r"p_1 \log_2 p_1 - e^{z_1/\tau}")
    'p_1*lb(p_1)-e**(z_1/tau)'
    """
    text = latex
    for pattern, replacement in LATEX:
        text = re.sub(pattern, replacement, text)
    fraction = re.compile(r"\\[dt]?frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
    while fraction.search(text):
        text = fraction.sub(r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r" sqrt(\1)", text)
    text = re.sub(r"\^\{([^{}]*)\}", r"**(\1)", text).replace("^", "**")
    text = text.replace("²", "**2").replace("³", "**3").replace("·", "*").replace("×", "*").replace("−", "-")
    tokens = re.findall(r"\d[\d,]*(?:\.\d+)?|sqrt|ln|lb|tau|[A-Za-z](?:_\w+)?|\*\*|[-+*/()]|\S", text)
    parts: list[str] = []
    for token in tokens:
        token = token.replace(",", "") if token[0].isdigit() else token
        factor = re.match(r"[\w(]", token)
        if parts and factor and re.search(r"[\w)]$", parts[-1]) and parts[-1] not in FUNCTIONS:
            parts.append("*")
        parts.append(token)
    return re.sub(r"\b(ln|lb)\*?(\w+)", r"\1(\2)", "".join(parts))


#: The functions that a formula may name: sqrt, and the logarithms to the bases e and 2.
FUNCTIONS = {"sqrt": math.sqrt, "ln": math.log, "lb": math.log2}
SUM = re.compile(r"\\sum_\{([a-z])=1\}\^\{?(\w)\}?")


def written_out(latex: str, names: Mapping[str, object]) -> str:
    r"""Write a formula without sums and indices: the upper end of a sum, and what an index is, are in `names`.

    >>> written_out(r"p_i = \sum_{j=1}^{V} z_j", {"V": 2, "i": 3, "p": [5, 6, 7]})
    'p_3 = (( z_1) + ( z_2))'
    """
    while (found := SUM.search(latex)) and isinstance(names.get(found[2]), int):
        index, last = found[1], names[found[2]]
        end, depth = found.end(), 0
        while end < len(latex) and depth >= 0:
            depth += {"{": 1, "}": -1}.get(latex[end], 0)
            end += depth >= 0
        body = latex[found.end() : end]
        terms = [re.sub(rf"_{index}(?!\w)", f"_{number}", body) for number in range(1, last + 1)]
        latex = latex[: found.start()] + "(" + " + ".join(f"({term})" for term in terms) + ")" + latex[end:]
    indices = {name: value for name, value in names.items() if isinstance(value, int) and len(name) == 1}
    return re.sub(
        r"([A-Za-z])_([a-z])(?!\w)",
        lambda m: f"{m[1]}_{indices[m[2]]}" if m[2] in indices and is_row(names.get(m[1])) else m[0],
        latex,
    )


def is_row(value: object) -> bool:
    """Whether a value is a row of numbers, which indices count from 1."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def value_of(letter: str, names: Mapping[str, object]) -> object:
    """The value of a letter; z_2 is the second of the row z, and e, if nothing else has that name, Euler's number."""
    row, _, number = letter.partition("_")
    if letter not in names and number.isdecimal() and is_row(names.get(row)):
        return names[row][int(number) - 1]
    return names.get("e", math.e) if letter == "e" else names[letter]


def side_value(latex: str, names: Mapping[str, object]) -> float | None:
    """The value of one side of a formula; None if it is not plain arithmetic, or has a letter without a value."""
    try:
        source = python_of(latex)
        letters = {n.id for n in ast.walk(ast.parse(source, mode="eval")) if isinstance(n, ast.Name)}
        values = FUNCTIONS | {letter: value_of(letter, names) for letter in letters - FUNCTIONS.keys()}
        value = eval(source, {"__builtins__": {}}, values)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    except (SyntaxError, KeyError, IndexError, TypeError, ValueError, NameError, ZeroDivisionError, OverflowError):
        return None


def check_formula(latex: str, names: Mapping[str, object], value: object = None) -> None:
    """Raise unless those sides of a formula that can be computed agree with each other and with `value`.

    Args:
        latex: the formula, with or without its dollar signs.
        names: the values of its letters.
        value: a number that all sides must be equal to; a dict of further letters; a pair of both; or None.

    Raises:
        ValueError: two sides disagree, or there is nothing to compare.
    """
    further = next((v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, Mapping)), {})
    target = next((v for v in (value if isinstance(value, tuple) else (value,)) if isinstance(v, int | float)), None)
    letters = {**names, **further}
    bare = written_out(latex.strip("$").strip().rstrip(".,"), letters)
    relations, sides = RELATION.findall(bare), RELATION.split(bare)
    values = [side_value(side, letters) for side in sides]
    known = [(side, v) for side, v in zip(sides, values, strict=True) if v is not None]
    if target is not None:
        known.append(("the value it is bound to", target))
    if len(known) < 2:
        raise ValueError(f"{latex} must have two sides that can be computed, or one and a value; got {len(known)}")
    if any(relation not in ("=", r"\approx", r"\equiv") for relation in relations):
        return check_order(latex, relations, values)
    about = r"\approx" in relations
    for (side, one), (other, two) in zip(known, known[1:], strict=False):
        if not agree(side, one, other, two, about):
            raise ValueError(f"{latex}: {side.strip()} is {one:,}, {other.strip()} is {two:,}")
    return None


def check_order(latex: str, relations: list[str], values: list[float | None]) -> None:
    for relation, one, two in zip(relations, values, values[1:], strict=False):
        if one is None or two is None:
            continue
        less = relation.startswith((r"\l", "<"))
        right = one <= two if less else one >= two if relation.startswith((r"\g", ">")) else math.isclose(one, two)
        if not right:
            raise ValueError(f"{latex}: {one:,} {relation} {two:,} is not so")


def agree(side: str, one: float, other: str, two: float, about: bool) -> bool:
    """Whether two sides are equal, or one of them is the other, rounded to the decimals that it is written with."""
    if math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-12):
        return True
    for literal, rounded, exact in ((side, one, two), (other, two, one)):
        plain = literal.replace("{,}", ",").strip()
        if re.fullmatch(r"[-−]?\d[\d,]*(\.\d+)?", plain) and ("." in plain or about):
            decimals = len(plain.partition(".")[2])
            if abs(exact - rounded) <= 0.5 * 10**-decimals:
                return True
    return about and math.isclose(one, two, rel_tol=0.05)


def spoken(source: str) -> list[str]:
    """The words of a code cell: its comments, and its strings of several words.

    Format specifications are left out. A cell with a magic command of IPython has no words.
    """
    if re.search(r"^\s*%", source, re.MULTILINE):
        return []
    tree = ast.parse(source)
    formats = {
        part
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.format_spec
        for part in ast.walk(node.format_spec)
    }
    strings = [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in formats
    ]
    comments = [(token.start[0], token.string) for token in comment_tokens(source)]
    return [text for _, text in sorted(comments + strings, key=lambda pair: pair[0]) if " " in text.strip()]


def linked_chapters(text: str) -> list[str]:
    """Links whose text names another chapter than their address, such as [chapter 3](04_memory.ipynb)."""
    return [match[0] for match in LINKED_CHAPTER.finditer(text) if int(match[1]) != int(match[2])]
