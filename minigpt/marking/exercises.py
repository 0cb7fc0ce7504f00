"""The exercises by their names, and the check that a learner calls."""

from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb

from minigpt.marking.verdict import Exercise, Verdict, verdict

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of all exercises: "byhand.softmax", "attention.one_head"."""
    by_hand = [f"byhand.{file.stem}" for file in sorted((FOLDER / "byhand").glob("[a-z]*.py"))]
    lessons = [file.stem for file in sorted((FOLDER / "lessons").glob("[a-z]*.py"))]
    return by_hand + [f"{lesson}.{name}" for lesson in lessons for name in _lesson(lesson)]


def find(name: str) -> Exercise:
    """The exercise of this name; raise a ValueError that lists the names if there is none."""
    room, _, last = name.partition(".") if isinstance(name, str) else ("", "", "")
    if room == "byhand" and last.isidentifier() and find_spec(f"minigpt.marking.byhand.{last}"):
        return import_module(f"minigpt.marking.byhand.{last}").EXERCISE
    if room.isidentifier() and (FOLDER / "lessons" / f"{room}.py").is_file() and last in _lesson(room):
        return _lesson(room)[last]
    raise ValueError(f"name must be one of {', '.join(names())}; got {name!r}")


def check(name: str, answer) -> Verdict:
    """Try a learner's answer and say what is right, what is wrong and why.

    Args:
        name: which exercise, "attention.one_head".
        answer: the learner's function, or number where a number is asked for.

    Returns:
        The verdict. A notebook shows its words.

    Raises:
        ValueError: there is no such exercise.
    """
    exercise, raised = find(name), []
    if exercise.is_value or not callable(answer):
        return verdict(exercise, answer)

    @wraps(answer)
    def tried(*arguments):
        try:
            return answer(*arguments)
        except Exception as error:
            raised.append(error)
            raise

    found = verdict(exercise, tried)
    said = [error for error in raised if f"got: {type(error).__name__}" in found.text]
    if said:
        found.text += f"\nPython says: {_last_words(said[0], answer)}"
    return found


def _last_words(error: Exception, answer) -> str:
    """An exception with its message, and the last line of the learner's file or cell that it came through."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in extract_tb(error.__traceback__) if frame.filename == file and frame.line]
    where = f" (in your line: {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {str(error).strip()}{where}"


def _lesson(name: str) -> dict[str, Exercise]:
    """The exercises of a lesson by their names."""
    return {exercise.name: exercise for exercise in import_module(f"minigpt.marking.lessons.{name}").EXERCISES}
