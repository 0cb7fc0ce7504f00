"""The verdict on a learner's answer: what came out, what should have come out, and the likeliest mistake behind it.

This is plain Python without an import, because it runs unchanged in two places: in CPython, and in Brython in a page.
Whoever judges needs no answer at hand, only its *outcomes*, plain data that may come from another process:

    {"value": V}                   what the answer gave, as numbers, texts and lists of them
    {"error": NAME, "line": N, "message": TEXT}
                                   the exception that ended it, the line of the answer (None, if unknown), and what
                                   Python says of it, which differs between Pythons and is in no verdict's text

An outcome may hold "changed": True, too: the answer has changed one of its arguments.
"""

#: The most numbers that an answer may give back, and the deepest lists.
MOST_NUMBERS, DEEPEST = 200000, 20

#: So many characters of an exception's name and of its message are kept.
LONGEST_NAME, MESSAGE_LENGTH = 100, 300


class Draw:
    """Numbers that look random and are the same in every Python.

    The generator is SplitMix64 (Steele, Lea and Flood 2014). The numbers are short, so that a learner can read them.
    """

    def __init__(self, seed):
        self.state = seed % 2**64

    def bits(self):
        """A whole number from 0 to 2⁶⁴ - 1."""
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def whole(self, low, high):
        """A whole number from `low` to `high`, both included."""
        return low + self.bits() % (high - low + 1)

    def number(self, low=-2, high=2):
        """A number with two decimals."""
        return self.whole(100 * low, 100 * high) / 100

    def numbers(self, *shape, low=-2, high=2):
        """Lists of numbers in lists, as many as `shape` says."""
        if not shape:
            return self.number(low, high)
        return [self.numbers(*shape[1:], low=low, high=high) for _ in range(shape[0])]


class Case:
    """One thing that an answer is tried on.

    Attributes:
        says: what is particular about it, in a few words: "equal scores".
        make: a function that makes the arguments, a tuple of plain data, from a `Draw`.
    """

    def __init__(self, says, make):
        self.says = says
        self.make = make


class Mistake:
    """A typical wrong answer.

    Attributes:
        answer: a function that makes the mistake.
        words: what to tell a learner whose answer does the same. By default the function's docstring.
    """

    def __init__(self, answer, words=None):
        self.answer = answer
        self.words = " ".join((words or answer.__doc__).split())


class Exercise:
    """Something that a learner writes, and all that is needed to judge it.

    Attributes:
        reference: a right answer. Its name is the name that the learner's function must have.
        cases: the `Case`s, from fundamental to subtle.
        mistakes: the typical `Mistake`s.
        tolerance: how far a number may be off, as a share of 1 + its size. Whole numbers must be equal.
        prepare: a function that makes what the answer is called with of plain data. By default a copy.
        is_value: whether the answer is a value, not a function. There is one case then, without arguments.
    """

    def __init__(self, reference, cases, mistakes, tolerance=1e-4, prepare=None, is_value=False, name=None):
        self.reference = reference
        self.name = name or reference.__name__
        self.cases = cases
        self.mistakes = [mistake if isinstance(mistake, Mistake) else Mistake(mistake) for mistake in mistakes]
        self.tolerance = tolerance
        self.prepare = prepare or plain
        self.is_value = is_value

    def arguments(self, seed=0):
        """The arguments of all cases, plain data. Another seed gives other random ones."""
        return [case.make(Draw(1000 * seed + number)) for number, case in enumerate(self.cases)]

    def outcomes(self, answer, seed=0):
        """What an answer gives in all cases."""
        if self.is_value:
            return [outcome_of(lambda: answer)]
        return [outcome(answer, arguments, self.prepare) for arguments in self.arguments(seed)]

    def wanted(self, seed=0):
        """What the reference gives in all cases."""
        return [outcome(self.reference, arguments, self.prepare) for arguments in self.arguments(seed)]


def question(name, value, mistakes, tolerance=0):
    """A question whose answer is a number.

    Args:
        name: the name of the variable that the learner sets.
        value: the right number, or a function that computes it.
        mistakes: pairs of a wrong number (or a function that computes it) and the words for it.
        tolerance: how far the answer may be off, as a share of 1 + its size.
    """
    computed = lambda number: number if callable(number) else lambda: number  # noqa: E731 (as short as it is clear)
    return Exercise(
        computed(value),
        [Case("", lambda draw: ())],
        [Mistake(computed(wrong), words) for wrong, words in mistakes],
        tolerance,
        is_value=True,
        name=name,
    )


class Verdict:
    """What is said of an answer.

    Attributes:
        passed: whether the answer is right in all cases.
        text: lines for the learner.
        n_passed, n_cases: how many cases it is right in, and how many there are.
        mistake: the words for the likeliest mistake; None, if it is none that is known.
        got: the outcome that the text speaks of; None, if it speaks of none.
    """

    def __init__(self, passed, text, n_passed, n_cases, mistake=None, got=None):
        self.passed = passed
        self.text = text
        self.n_passed = n_passed
        self.n_cases = n_cases
        self.mistake = mistake
        self.got = got

    def __repr__(self):
        return self.text


def verdict(exercise, answer, seed=0):
    """Try an answer in all cases and judge it."""
    if answer is ...:
        return no_answer(exercise, "Put your answer in the place of the three dots.")
    if not exercise.is_value and not callable(answer):
        return no_answer(exercise, f"{exercise.name} must be a function; got {written(plain_or_name(answer))}")
    return judge(exercise, exercise.outcomes(answer, seed), seed)


def no_answer(exercise, why, got=None):
    """The verdict where there is nothing to try."""
    return Verdict(False, f"{exercise.name}: not yet. {why}", 0, len(exercise.cases), got=got)


def judge(exercise, outcomes, seed=0):
    """Judge an answer by what it gave in all cases, in their order."""
    wanted = exercise.wanted(seed)
    wrong = [i for i, right in enumerate(wanted) if not same(right, outcomes[i], exercise.tolerance)]
    n = len(wanted)
    if not wrong:
        changing = [i for i in range(n) if outcomes[i].get("changed")]
        if changing:
            words = f"The values are right, but {exercise.name} changes what it was given. Make a new list or tensor."
            return Verdict(False, f"{exercise.name}: not yet.\n{words}", n - len(changing), n, words)
        passed = "right." if exercise.is_value else f"right in all {n} cases." if n > 1 else "right."
        return Verdict(True, f"{exercise.name}: {passed}", n, n)
    first = wrong[0]
    lines = [f"{exercise.name}: not yet."]
    if not exercise.is_value:
        lines = [f"{exercise.name}: right in {n - len(wrong)} of {n} cases."]
        arguments = ", ".join(given(a) for a in exercise.arguments(seed)[first])
        lines.append(f"Case {first + 1}, {exercise.cases[first].says}: {exercise.name}({arguments})")
        lines.append(f"   wanted: {said(wanted[first])}")
    lines.append(f"   got: {said(outcomes[first])}")
    where = None if exercise.is_value else difference(wanted[first], outcomes[first], exercise.tolerance)
    if where:
        lines.append(f"   {where}")
    words = likeliest(exercise, wanted, outcomes, wrong, seed)
    if words:
        lines.append(words)
    return Verdict(False, "\n".join(lines), n - len(wrong), n, words, outcomes[first])


def likeliest(exercise, wanted, outcomes, wrong, seed):
    """The words for the mistake that does what the answer does.

    One case shows little: different mistakes may give the same number there, or the same exception. So a mistake must
    do the same in the first two cases that are wrong and in more than half of all that are, and must not be wrong where
    the answer is right. Exceptions and nan have many causes: if nothing else is the same, all cases must be. Of several
    mistakes the one counts that does the same most often.
    """
    first = wrong[0]
    got = outcomes[first]
    if not exercise.is_value and got.get("value", 0) is None:
        return "The function gives nothing back: every path through it needs a return, and behind it a value, not None."
    best, words, arguments = 0, None, exercise.arguments(seed)
    right = [i for i in range(len(wanted)) if i not in wrong]
    for mistake in exercise.mistakes:
        made = outcome(mistake.answer, arguments[first], exercise.prepare)
        if same(made, got, exercise.tolerance) and not same(made, wanted[first], exercise.tolerance):
            makes = [outcome(mistake.answer, each, exercise.prepare) for each in arguments]
            agree = [same(mine, yours, exercise.tolerance) for mine, yours in zip(makes, outcomes)]  # noqa: B905
            score = sum(agree)
            mostly = all(agree[i] for i in wrong[:2]) and 2 * sum(agree[i] for i in wrong) > len(wrong)
            shown = all(agree) or any(agree[i] and tells(outcomes[i]) for i in wrong)
            if mostly and shown and all(agree[i] for i in right) and score > best:
                best, words = score, mistake.words
    return words


def tells(result):
    """Whether an outcome is more than an exception or nan."""
    return "error" not in result and not has_nan(result["value"])


def has_nan(value):
    """Whether a plain value is nan, or has nan in it."""
    return any(map(has_nan, value)) if isinstance(value, list) else value != value


# What an answer does


def outcome(answer, arguments, prepare):
    """What an answer gives for plain arguments."""
    given = prepare(arguments)
    code = getattr(getattr(answer, "__wrapped__", answer), "__code__", None)
    result = outcome_of(lambda: answer(*given), getattr(code, "co_filename", None))
    try:
        changed = "error" not in result and not same_value(plain(prepare(arguments)), plain(given), 0)
    except Exception:
        changed = True
    if changed:
        result["changed"] = True
    return result


def outcome_of(call, file=None):
    """What a call gives, as plain data. An error's line is looked for in the code of `file`."""
    try:
        return {"value": plain(call())}
    except (Exception, SystemExit) as error:
        return {
            "error": type(error).__name__[:LONGEST_NAME],
            "line": line_of(error, file),
            "message": message_of(error),
        }


def message_of(error):
    """What Python says of an exception, cut to a length."""
    try:
        return str(error)[:MESSAGE_LENGTH]
    except Exception:
        return ""


def line_of(error, file):
    """The last line of a file that an exception came through; None, if there is none.

    A recursion without an end may be ended at any line, and each Python ends it at another.
    """
    line, step = None, None if isinstance(error, RecursionError) else getattr(error, "__traceback__", None)
    while step is not None:
        if step.tb_frame.f_code.co_filename == file:
            line = step.tb_lineno
        step = step.tb_next
    return line


class NotPlain(Exception):
    """A value is no number, text, list or dict of them, or there is too much of it."""


def plain(value):
    """A value as plain data: tensors, arrays and tuples become lists. (A copy, therefore.)"""
    left = [MOST_NUMBERS]

    def of(value, depth):
        left[0] -= 1
        if left[0] < 0 or depth > DEEPEST:
            raise NotPlain
        if value is None or type(value) in (bool, float):
            return value
        if (type(value) is int and abs(value) < 10**300) or (type(value) is str and len(value) <= MOST_NUMBERS):
            return value
        if type(value) in (list, tuple):
            return [of(item, depth + 1) for item in value]
        if type(value) is dict:
            return {str(key): of(item, depth + 1) for key, item in value.items()}
        if hasattr(value, "tolist"):
            if getattr(value, "numel", lambda: 0)() > MOST_NUMBERS:
                raise NotPlain
            return of(value.detach().tolist() if hasattr(value, "detach") else value.tolist(), depth + 1)
        raise NotPlain

    return of(value, 0)


def plain_or_name(value):
    """Plain data, or the name of the value's type."""
    try:
        return plain(value)
    except Exception:
        return type(value).__name__


# Comparing


def same(wanted, got, tolerance):
    """Whether two outcomes are the same: the same exception, or values that are close."""
    if "error" in wanted or "error" in got:
        return wanted.get("error") == got.get("error")
    return same_value(wanted["value"], got["value"], tolerance)


def same_value(wanted, got, tolerance):
    """Whether two plain values have the same shape and close numbers."""
    if isinstance(wanted, list):
        return (
            isinstance(got, list)
            and len(wanted) == len(got)
            and all(same_value(a, b, tolerance) for a, b in zip(wanted, got))  # noqa: B905
        )
    if isinstance(wanted, dict):
        return (
            isinstance(got, dict)
            and sorted(wanted) == sorted(got)
            and all(same_value(wanted[key], got[key], tolerance) for key in wanted)
        )
    if is_number(wanted) and is_number(got):
        if wanted == got or (wanted != wanted and got != got):
            return True
        if isinstance(wanted, int) and tolerance < 0.001:  # a count
            return False
        return abs(wanted - got) <= tolerance * (1 + min(abs(wanted), 1e300))
    return type(wanted) is type(got) and wanted == got


def is_number(value):
    """Whether a plain value is a number (True and False are none)."""
    return type(value) in (int, float)


def shape(value):
    """The lengths of lists in lists; None, if lists side by side differ in length."""
    if not isinstance(value, list):
        return ()
    inner = [shape(item) for item in value]
    if not inner:
        return (0,)
    if None in inner or any(other != inner[0] for other in inner):
        return None
    return (len(value), *inner[0])


def difference(wanted, got, tolerance):
    """Where two values differ, in words; None, if that says nothing new."""
    if "error" in wanted or "error" in got:
        return None
    wanted, got = wanted["value"], got["value"]
    if not isinstance(wanted, list) or not isinstance(got, list):
        return None
    if shape(wanted) not in (None, shape(got)):
        return f"The shape must be {shape(wanted)}; got {shape(got) or 'rows of different lengths'}."
    at = []
    while isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        i = next((i for i in range(len(wanted)) if not same_value(wanted[i], got[i], tolerance)), None)
        if i is None:
            return None
        at.append(f"[{i}]")
        wanted, got = wanted[i], got[i]
    if len(at) < 2:
        return None
    return f"The first difference is at {''.join(at)}: {written(wanted)} is wanted; got {written(got)}."


# Writing


def said(result):
    """An outcome in words."""
    if "error" not in result:
        return written(result["value"])
    if result["error"] == "NotPlain":
        return "something that is no number, text or list of them, or far too much of it"
    line = f" in your line {result['line']}" if result.get("line") else ""
    return f"{result['error']}{line}"


def written(value, most=160):
    """A plain value as a learner would write it, short: numbers with four digits, long lists cut."""
    text = full(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def given(value, most=160):
    """An argument as a learner would write it. Of a table that is too long to be read, the shape is enough."""
    text = full(value)
    if len(text) > most and isinstance(value, dict):
        text = "{" + ", ".join(f"{key!r}: {given(item, 40)}" for key, item in value.items()) + "}"
    if len(text) > most and len(shape(value) or ()) > 1:
        text = f"numbers {shape(value)}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def full(value):
    """A plain value as a learner would write it."""
    if isinstance(value, list):
        return "[" + ", ".join(full(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {full(item)}" for key, item in value.items()) + "}"
    if type(value) is float:
        return number_text(value)
    if type(value) is int and abs(value) >= 10000:
        return f"{value:,}" if value > 0 else f"-{-value:,}"  # Brython puts a comma behind some signs
    return repr(value)


def number_text(value):
    """A float with four digits behind its point at most, or four digits in all where it is very large or small."""
    if value != value:
        return "nan"
    if abs(value) == float("inf"):
        return "inf" if value > 0 else "-inf"
    if value < 0:
        return f"-{number_text(-value)}"
    if value >= 1e12 or 0 < value < 0.001:
        return f"{value:.3e}"
    if value == int(value):
        return f"{int(value):,}.0" if value >= 10000 else f"{int(value)}.0"
    if value >= 10000:
        return f"{value:,.1f}"
    text = f"{value:.4f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text
