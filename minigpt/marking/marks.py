"""Marking a class: every submission run, every answer judged, all of it kept as plain records."""

import hashlib
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from minigpt.marking import exercises
from minigpt.marking.folder import handed_in
from minigpt.marking.process import Answered, Limits, run
from minigpt.marking.verdict import Exercise, judge, no_answer


@dataclass(frozen=True)
class Mark:
    """One answer's mark.

    Attributes:
        exercise: its name, "attention.one_head".
        points: 1 if it is right in all cases, else 0.
        text: the verdict, in the words that `check` says.
        why: in a few words why there is no point; "" if there is one.
    """

    exercise: str
    points: int
    text: str
    why: str


@dataclass(frozen=True)
class Marked:
    """A learner's marks, in the order of the exercises."""

    learner: str
    marks: list[Mark]

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)


def seed_of(salt: str) -> int:
    """The seed that a salt stands for. Nobody guesses the inputs who doesn't know the salt."""
    return int.from_bytes(hashlib.sha256(salt.encode()).digest()[:6], "big")


def mark_class(
    learners: dict[str, Path],
    lessons: list[str],
    salt: str,
    limits: Limits,
    jobs: int = 1,
    done: Callable[[str], object] = lambda learner: None,
) -> list[Marked]:
    """Mark the submissions of a class.

    Args:
        learners: each learner's folder or file.
        lessons: the names of the lessons to mark.
        salt: chooses the inputs that the answers are tried on.
        limits: what each submission may take.
        jobs: how many run at the same time.
        done: is called with each learner's name, when the marks are there.
    """
    asked = {lesson: of_lesson(lesson) for lesson in lessons}
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(jobs):
        slots.put(slot)

    def mark(learner: str) -> Marked:
        slot = slots.get()
        try:
            marks = mark_learner(learners[learner], asked, seed_of(salt), limits, slot)
        finally:
            slots.put(slot)
        done(learner)
        return Marked(learner, marks)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(mark, learners))


def of_lesson(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson by their whole names; raise a ValueError if there is no such lesson."""
    names = exercises.names()
    found = {name: exercises.find(name) for name in names if name.partition(".")[0] == lesson}
    if not found:
        known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
        raise ValueError(f"lessons must be among {known}; got {lesson!r}")
    return found


def mark_learner(path: Path, asked: dict[str, dict[str, Exercise]], seed: int, limits: Limits, slot: int) -> list[Mark]:
    """A learner's marks for some lessons."""
    files = handed_in(path, list(asked))
    there = {lesson: file for lesson, file in files.items() if file.text is not None}
    wanted = {name: exercise for lesson in there for name, exercise in asked[lesson].items()}
    answered = run(there, wanted, seed, limits, slot)
    marks = []
    for lesson, exercises_of in asked.items():
        absent = Answered(None, files[lesson].why if lesson in files else "nothing was handed in")
        marks += [mark_of(name, exercise, answered.get(name, absent), seed) for name, exercise in exercises_of.items()]
    return marks


def mark_of(name: str, exercise: Exercise, answered: Answered, seed: int) -> Mark:
    """Judge what an answer gave."""
    several = ""
    if len(answered.cells) > 1:
        *first, last = answered.cells
        cells = f"{', '.join(map(str, first))} and {last}"
        several = f"{exercise.name} is defined in cells {cells}; the last one counts"
    if answered.outcomes is None:
        sentence = (
            answered.why if answered.why.startswith(exercise.name) else f"{answered.why[:1].upper()}{answered.why[1:]}"
        )
        verdict = no_answer(exercise, f"{sentence}.")
        why = answered.why
    else:
        verdict = judge(exercise, answered.outcomes, seed)
        why = "" if verdict.passed else verdict.mistake or " ".join(verdict.text.splitlines()[1:])
    text = f"{verdict.text}\n({several}.)" if several else verdict.text
    if several and why:
        why = f"{why} ({several})"
    return Mark(name, int(verdict.passed), text, why)
