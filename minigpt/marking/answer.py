"""From the text of a learner's code to the verdict on it.

Like verdict.py, this file runs unchanged in CPython and, in a page, in Brython.
"""

import builtins

from minigpt.marking.verdict import MESSAGE_LENGTH, no_answer, outcome_of, said, verdict

#: The name of the file that the code of an answer seems to stand in. Tracebacks are searched for it.
FILE = "<your code>"

#: What a learner's code is called as a module, and what it may import.
MODULE, ALLOWED = "your_code", ("math",)

#: So many characters of what the code prints are handed on.
MOST_PRINTED = 10000


def verdict_on_source(exercise, source, seed=0, write=lambda text: None):
    """Run a learner's code and judge the function that it defines.

    Args:
        exercise: what the function should do.
        source: the code.
        seed: another one gives other random cases.
        write: a function that is handed what the code prints, piece by piece.

    Returns:
        The verdict. Its text is the same in every Python; `in_python` gives Python's own words beside it.
    """
    namespace = {"__name__": MODULE, "print": printer(write), "input": no_input, "exit": stop, "quit": stop}
    imports = builtins.__import__
    builtins.__import__ = only_math(imports)
    try:
        return judged(exercise, source, seed, namespace)
    finally:
        builtins.__import__ = imports


def judged(exercise, source, seed, namespace):
    """Compile and run the code, look up its function, and judge that."""
    try:
        code = compile(source, FILE, "exec")
    except SyntaxError as error:
        line = line_of_syntax_error(error, source)
        result = {"error": type(error).__name__, "line": line, "message": str(error.msg)[:MESSAGE_LENGTH]}
        return no_answer(exercise, f"Python does not understand your line {line}.", result)
    except Exception as error:  # a character that no code may have, or far too many brackets
        return no_answer(exercise, f"Python does not understand your code: {type(error).__name__}.")
    result = outcome_of(lambda: exec(code, namespace), FILE)  # noqa: S102 (the learner's own, on the learner's own machine)
    if "error" in result:
        return no_answer(exercise, f"Your code ends before it can be tried: {said(result)}.", result)
    if exercise.name not in namespace:
        return no_answer(exercise, f"Your code must define a function {exercise.name}; it has none of that name.")
    return verdict(exercise, namespace[exercise.name], seed)


def line_of_syntax_error(error, source):
    """The line that Python does not understand. Brython looks for some of them behind the last line."""
    lines = source.rstrip().split("\n")
    if error.msg == "unexpected indent":
        for n in range(1, len(lines)):
            try:
                compile("\n".join(lines[:n]), FILE, "exec")
            except SyntaxError as earlier:
                if earlier.msg == error.msg:
                    return n
    return max(1, min(error.lineno or 1, len(lines)))


def in_python(result, source):
    """What Python itself says of the exception that a verdict speaks of, behind its line; "" if there is none.

    Other Pythons have other words, so this stands beside the verdict, not in it.
    """
    got = result.got or {}
    if got.get("error", "NotPlain") == "NotPlain":
        return ""
    lines, line = source.split("\n"), got.get("line")
    where = f"{line}: {lines[line - 1].strip()[:MESSAGE_LENGTH]}\n" if line and line <= len(lines) else ""
    message = got.get("message")
    return f"{where}{got['error']}: {message}" if message else f"{where}{got['error']}"


def printer(write):
    """A print that hands on what it is given, up to a limit."""
    left = [MOST_PRINTED]

    def print(*values, sep=" ", end="\n", file=None, flush=False):
        if left[0] <= 0:
            return
        text = (" " if sep is None else sep).join([str(value) for value in values]) + ("\n" if end is None else end)
        if text:
            write(text[: left[0]])
        left[0] -= len(text)
        if left[0] <= 0:
            write("\n… Your code has printed more than is shown here.")

    return print


def no_input(prompt=""):
    """Stands in for input."""
    raise RuntimeError("nobody is there to answer input(). What the function needs is in its arguments.")


def stop(code=None):
    """Stands in for exit and quit."""
    raise SystemExit


def only_math(imports):
    """An __import__ that lets a learner's code import `math` and nothing else."""

    def __import__(name, globals=None, *rest):
        if globals is not None and globals.get("__name__") == MODULE and name not in ALLOWED:
            raise ImportError(f"{name} can't be imported here. Plain Python and math are enough.")
        return imports(name, globals, *rest)

    return __import__
