"""Check shape comments: they are read from the source and compared with the tensors of a real call.

Two kinds of comment are understood, behind the code that they describe (docstrings, too: see `read_docstrings`):

    scores = products / math.sqrt(self.d_head)  # (B, H, T, S)
    self.query = nn.Linear(d_model, d_model)  # weight (C, C), bias (C,): C·C + C

The first kind says which shape the result has. The second says which parameters a module holds and, behind
the colon, how many numbers that makes. The letters are those of the course (see attention.py and model.py);
sums, differences and products of them are allowed.
"""

import ast
import inspect
import linecache
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from minigpt.page.source import comment_tokens, find_source, has_own_line
from minigpt.table import Table

LETTER = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
ALLOWED = re.compile(r"[A-Za-z_0-9 ()+·²-]+")
TUPLE = re.compile(r"(?<![\w`])\((?=\)|[^()]*,)([^()]*)\)")
SHAPE = re.compile(r"\(([^()]*)\)")
RESULT = re.compile(r"\([^()]*\)(, \([^()]*\))*$")
PARAMETERS = re.compile(r"(\w+ \([^()]*\)(?:, \w+ \([^()]*\))*)(?:: (.+))?$")


@dataclass(frozen=True)
class ShapeComment:
    """One comment that claims a shape.

    Attributes:
        path, line: the file, and the line on which the statement ends and the comment stands.
        code: the statement, on one line.
        targets: what the claim is about, as source: ("scores",), ("self.query.weight", ...) or
            ("return",).
        shapes: one tuple of dimensions for each target, as source: (("B", "T", "C"),).
        count: the number of parameters that the comment claims, as source; "" if it claims none.
        in_docstring: whether the claim is not a comment's but a docstring's, about an argument or the result.
            `shapes` are then alternatives for a single target, of which one has to fit.
    """

    path: str
    line: int
    code: str
    targets: tuple[str, ...]
    shapes: tuple[tuple[str, ...], ...]
    count: str = ""
    in_docstring: bool = False


@dataclass(frozen=True)
class Seen:
    """A target of a comment when its line ran: `measured` is its real shape, `claimed` the shape in the comment.

    If a docstring gives alternatives, `claimed` is the one that fits, or else the first.
    """

    comment: ShapeComment
    target: str
    claimed: tuple[int, ...]
    measured: tuple[int, ...]


def evaluate(formula: str, letters: Mapping[str, int]) -> int:
    """Compute a dimension or a count: `evaluate("C·C + C", {"C": 768})` is 590,592.

    Raises:
        ValueError: the formula holds a letter that has no value in `letters`, or anything else than
            numbers, +, -, ·, ² and parentheses.
    """
    for letter in LETTER.findall(formula):
        if letter not in letters:
            raise ValueError(f"letters must give {letter} a value to compute {formula!r}; got {dict(letters)}")
    source = formula.replace("·", "*").replace("²", "**2")
    try:
        if ALLOWED.fullmatch(formula):
            return eval(source, {"__builtins__": {}}, dict(letters))
    except (SyntaxError, TypeError):
        pass
    raise ValueError(f"formula must hold letters, numbers, +, -, ·, ² and parentheses only; got {formula!r}")


def read(source_of: object) -> list[ShapeComment]:
    """All shape comments in the source of a module, class or function.

    Raises:
        ValueError: a comment that begins like a shape can't be read as one, or is in a place where it
            can't be checked: behind something else than an assignment or return, behind two statements
            on one line, or behind a return inside `with` or `try`.
    """
    source = find_source(source_of)
    return read_source(source.text, source.path, source.first_line)


def read_source(source: str, path: str, first_line: int = 1) -> list[ShapeComment]:
    """`read` for a source that is given as text."""
    comments = {
        token.start[0]: token.string.lstrip("# ") for token in comment_tokens(source) if not has_own_line(token)
    }
    shape_comments, tree = [], ast.parse(source)
    # After a return inside `with` or `try`, the last line that runs is that of the `with` or `try`: such a
    # return can't be watched.
    guarded = {n for node in ast.walk(tree) if isinstance(node, ast.With | ast.Try) for n in ast.walk(node)}
    for node in ast.walk(tree):
        text = comments.get(getattr(node, "end_lineno", None), "")
        if not isinstance(node, ast.Assign | ast.AnnAssign | ast.Return) or not text:
            continue
        if isinstance(node, ast.Return) and node in guarded:
            continue
        code = " ".join(ast.unparse(node).split())
        line = first_line + node.end_lineno - 1
        if RESULT.match(text):
            targets, shapes, count = result_targets(node), dims(text), ""
            if len(shapes) == 1:
                shapes = shapes * len(targets)
        elif (match := PARAMETERS.match(text)) and isinstance(node, ast.Assign):
            owner, names = ast.unparse(node.targets[0]), re.findall(r"(\w+) \(", match[1])
            targets = tuple(f"{owner}.{name}" for name in names)
            shapes, count = dims(match[1]), match[2] or ""
        else:
            continue
        if len(targets) != len(shapes):
            raise ValueError(f"{path}:{line}: {len(shapes)} shapes for {len(targets)} results: {text!r}")
        shape_comments.append(ShapeComment(path, line, code, targets, shapes, count))
    # It is a mistake if a comment begins like a shape and is not read as a claim, or if a claim shares its line.
    claims = [comment.line - first_line + 1 for comment in shape_comments]
    crowded = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt) and hasattr(node, "body")}
    for line, text in comments.items():
        if text.startswith("(") and (claims.count(line) != 1 or line in crowded):
            raise ValueError(f"{path}:{first_line + line - 1}: a shape that can't be checked: {text!r}")
    return sorted(shape_comments, key=lambda comment: comment.line)


def read_docstrings(source: str, path: str, first_line: int = 1) -> dict[int, list[ShapeComment]]:
    """The shapes in the docstrings of a source's functions, by the lines on which the functions begin.

    Shapes are read in three places: in the entries of Args, in the text of Returns, and around an arrow in the first
    paragraph, with the first arguments before the arrow and the result behind it. A class may also say that it
    "takes and returns" a shape. For example:

        x: one vector for each position, (B, T, C).
        The input of the first block: (B, T) token ids -> (B, T, C)

    Several shapes in one place, as in "(V,) or (B, V)", are alternatives. `watch` leaves out claims with a letter
    that has no value, so that words in parentheses do no harm.
    """
    claims: dict[int, list[ShapeComment]] = {}

    def claim(function, target, text, line):
        shapes = tuple(tuple(d.strip() for d in s.split(",") if d.strip()) for s in TUPLE.findall(text))
        if shapes:
            comment = ShapeComment(path, first_line + line - 1, " ".join(text.split()), (target,) * len(shapes), shapes)
            first = min(n.lineno for n in (function, *function.decorator_list)) + first_line - 1
            claims.setdefault(first, []).append(replace(comment, in_docstring=True))

    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or not (text := ast.get_docstring(node)):
            continue
        line = node.body[0].lineno
        if isinstance(node, ast.ClassDef):
            forward = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "forward"]
            for match in re.finditer(rf"Takes and returns ({TUPLE.pattern})", text) if forward else ():
                for target in (forward[0].args.args[1].arg, "return"):
                    claim(forward[0], target, match[1], line + text[: match.start()].count("\n"))
            continue
        summary = text.partition("\n\n")[0]
        before, arrow, behind = summary.partition("->")
        given = list(TUPLE.finditer(before)) if arrow else []
        names = [a.arg for a in node.args.args if a.arg != "self"]
        for name, shape in zip(names, given, strict=False):
            claim(node, name, shape[0], line + before[: shape.start()].count("\n"))
        if given and (shape := TUPLE.search(behind)):
            claim(node, "return", shape[0], line + summary[: len(before) + 2 + shape.start()].count("\n"))
        for part in re.finditer(r"^(Args|Returns):\n((?:    .*\n?)+)", text, re.MULTILINE):
            pattern = r"^    ([\w, ]+): ((?:.*\n?)(?:     .*\n?)*)" if part[1] == "Args" else r"\A()([\s\S]*)"
            for entry in re.finditer(pattern, part[2], re.MULTILINE):
                for name in entry[1].split(", ") if part[1] == "Args" else ["return"]:
                    claim(node, name, entry[2], line + text[: part.start(2) + entry.start(2)].count("\n"))
    return claims


def result_targets(node: ast.Assign | ast.AnnAssign | ast.Return) -> tuple[str, ...]:
    if isinstance(node, ast.Return):
        return ("return",)
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    return tuple(ast.unparse(part) for part in (target.elts if isinstance(target, ast.Tuple) else [target]))


def dims(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(d.strip() for d in shape.split(",") if d.strip()) for shape in SHAPE.findall(text))


def watch(call: Callable[[], object], letters: Mapping[str, int], sources: Iterable[object]) -> list[Seen]:
    """Run `call` and record, while it runs, every result with a shape comment and every value with a docstring's claim.

    Args:
        call: the function to run.
        letters: the value of each letter in this call: {"B": 2, "T": 5, ...}.
        sources: the modules, classes or functions whose comments are watched.

    Returns:
        What was seen, in the order of execution. A line that runs n times is seen n times.

    Raises:
        TypeError, ValueError: one of `sources` has no source text, or a comment in it can't be checked.
    """
    comments: dict[str, dict[int, ShapeComment]] = {}
    docstrings: dict[str, dict[int, list[ShapeComment]]] = {}
    spans: dict[str, dict[int, int]] = {}
    for source in map(find_source, sources):
        place = (source.text, source.path, source.first_line)
        comments.setdefault(source.path, {}).update({comment.line: comment for comment in read_source(*place)})
        docstrings.setdefault(source.path, {}).update(read_docstrings(*place))
        spans.setdefault(source.path, statement_ends("".join(linecache.getlines(source.path))))
    seen: list[Seen] = []
    running: dict[object, int] = {}

    def look(frame, returned=None, is_return=False):
        comment = comments[frame.f_code.co_filename].get(running.pop(frame, 0))
        if comment is None or (comment.targets == ("return",)) != is_return:
            return
        for target, shape in zip(comment.targets, comment.shapes, strict=True):
            value = returned if is_return else eval(target, frame.f_globals, frame.f_locals)
            claimed = tuple(evaluate(d, letters) for d in shape)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Tensor):
                    seen.append(Seen(comment, target, claimed, tuple(part.shape)))

    def hold(frame, values):
        """Compare the docstring of the function that runs in a frame with the values of its targets."""
        for comment in docstrings[frame.f_code.co_filename].get(frame.f_code.co_firstlineno, ()):
            target, value = comment.targets[0], values.get(comment.targets[0])
            known = [shape for shape in comment.shapes if set(LETTER.findall(" ".join(shape))) <= set(letters)]
            several = isinstance(value, tuple | list)
            for part in value if several else (value,):
                # If several values are returned, those with the shape () need no claim, such as a loss beside logits.
                if known and isinstance(part, Tensor) and (part.dim() or not several):
                    fits = {tuple(evaluate(d, letters) for d in shape): shape for shape in reversed(known)}
                    measured = tuple(part.shape)
                    claimed = measured if measured in fits else tuple(evaluate(d, letters) for d in known[0])
                    one = replace(comment, targets=(target,), shapes=(fits[claimed],))
                    seen.append(Seen(one, target, claimed, measured))

    def trace(frame, event, arg):
        path = frame.f_code.co_filename
        if path not in comments:
            return None
        # Generators are left out: for them, each continuation is a "call", and each yielded value a "return".
        if event in ("call", "return") and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            hold(frame, frame.f_locals if event == "call" else {"return": arg})
        if event == "line":
            statement = spans[path].get(frame.f_lineno, frame.f_lineno)
            if running.get(frame) != statement:
                look(frame)
            running[frame] = statement
        elif event == "exception":
            running.pop(frame, None)
        elif event == "return":
            last = comments[path].get(running.get(frame, 0))
            look(frame, arg, is_return=last is not None and last.targets == ("return",))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return seen


def statement_ends(source: str) -> dict[int, int]:
    """For every line of a simple statement, the line on which the statement ends."""
    simple = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.stmt) and not hasattr(n, "body"))
    return {line: n.end_lineno for n in simple for line in range(n.lineno, n.end_lineno + 1)}


def wrong(seen: Iterable[Seen]) -> list[str]:
    """A message for each result whose shape is not that of its comment; [] if all comments are true."""
    return [
        f"{Path(s.comment.path).name}:{s.comment.line}: {s.target} is {s.measured}, "
        f"but the {'docstring' if s.comment.in_docstring else 'comment'} says {shape_text(s)} = {s.claimed}"
        for s in seen
        if s.claimed != s.measured
    ]


def shape_text(seen: Seen) -> str:
    """The shape as the comment spells it: "(B, T, C)"."""
    return spelled(seen.comment.shapes[seen.comment.targets.index(seen.target)])


def spelled(shape: Sequence[str]) -> str:
    """Dimensions as a comment spells them: "(B, T, C)", "(C,)", "()"."""
    return f"({', '.join(shape)}{',' if len(shape) == 1 else ''})"


def flow(call: Callable[[], object], letters: Mapping[str, int], sources: Iterable[object]) -> Table:
    """The statements that `watch` sees, as a table: the statement, the shape in its comment, the real shape.

    A line that runs several times, such as a line of a block, has one row: the first time it ran.
    """
    first: dict[tuple, Seen] = {}
    for s in watch(call, letters, sources):
        if s.comment.in_docstring:
            continue
        first.setdefault((s.comment.path, s.comment.line, s.measured), s)
    rows = [(s.comment.code, shape_text(s), str(s.measured)) for s in first.values()]
    return Table(("statement", "says", "is"), rows, code=(0, 1, 2))


def check_cell(source: str, values: Mapping[str, object], letters: Mapping[str, int] | None = None) -> list[Seen]:
    """The shapes that a notebook's cell claims, and the real shapes of its variables after it ran.

        assert shapes.wrong(shapes.check_cell(cell.source, notebook_globals, {"B": 4, "T": 5})) == []

    Args:
        source: the cell. Assignments inside functions are not checked. If a name is assigned several
            times, only the last assignment is checked.
        values: the variables by their names.
        letters: the values of letters in this cell. The value of any other letter is the int that the
            cell assigns to that name, or else the size where the letter first occurs.

    Raises:
        ValueError: a comment that begins like a shape can't be read as one.
    """
    tree, letters = ast.parse(source), dict(letters or {})
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.ClassDef) for n in ast.walk(f)}
    own, last = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node not in inside:
            own.add(node.end_lineno)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in inside:
            last[node.id] = max(last.get(node.id, 0), node.lineno)
    letters = {name: values[name] for name in last if type(values.get(name)) is int} | letters
    seen = []
    for comment in read_source(source, "cell"):
        for target, shape in zip(comment.targets, comment.shapes, strict=True):
            if comment.line not in own or last.get(target, 0) > comment.line:
                continue
            value = eval(target, {}, dict(values))
            if isinstance(value, Tensor):
                for dimension, size in zip(shape, value.shape, strict=False):
                    if dimension.isidentifier():
                        letters.setdefault(dimension, size)
                claimed = tuple(evaluate(dimension, letters) for dimension in shape)
                seen.append(Seen(comment, target, claimed, tuple(value.shape)))
    return seen


def commented_params(source_of: type[nn.Module], letters: Mapping[str, int]) -> Table:
    """The numbers of parameters that a module's comments claim, computed from the comments alone.

    Args:
        source_of: the class whose comments are read.
        letters: the values of the letters in its formulas: {"C": 768}.

    Returns:
        A row for each comment with a count (name, formula, parameters), and their sum.
    """
    counted = [comment for comment in read(source_of) if comment.count]
    rows = []
    for comment in counted:
        owner = comment.targets[0].removeprefix("self.").rpartition(".")[0]
        rows.append((owner, comment.count, evaluate(comment.count, letters)))
    return Table(("module", "the comment says", "parameters"), rows, total=sum(row[2] for row in rows))
