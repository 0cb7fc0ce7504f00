"""Scores of the future become -∞."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """A table of scores has a row for each position that looks and a column for each position that is looked at. A
position may look at itself and at what stands before it, not at what comes after. Give the table with -math.inf in
the places that may not be seen; the other scores stay as they are."""

HINTS = [
    "Row 0 looks, and only column 0 has come by then. Which columns may row 1 see? And row t?",
    "Column s lies in the future of row t if s > t.",
    "enumerate(scores) gives each row with its number, and enumerate(row) each score with its number.",
]


def causal_mask(scores):
    """Give a new table of the same size: scores[t][s] where s is at most t, -math.inf elsewhere."""
    return [[score if s <= t else -math.inf for s, score in enumerate(row)] for t, row in enumerate(scores)]


def hides_the_past(scores):
    """Your mask hides the past, not the future: the scores to the left of the diagonal must stay, and those to the
    right of it become -math.inf."""
    return [[score if s >= t else -math.inf for s, score in enumerate(row)] for t, row in enumerate(scores)]


def hides_itself(scores):
    """Your mask hides the diagonal, too. A position may look at itself; else the first one could look at nothing."""
    return [[score if s < t else -math.inf for s, score in enumerate(row)] for t, row in enumerate(scores)]


def sees_one_ahead(scores):
    """Your mask begins one column too late: row t may see the columns 0 to t, and column t + 1 is the future
    already."""
    return [[score if s <= t + 1 else -math.inf for s, score in enumerate(row)] for t, row in enumerate(scores)]


def zeros(scores):
    """You put 0 where -math.inf belongs. A score of 0 is a score like any other: its power is 1, and its weight is
    not 0."""
    return [[score if s <= t else 0.0 for s, score in enumerate(row)] for t, row in enumerate(scores)]


def very_negative(scores):
    """A large negative number is not -∞: it is as good only while all scores are small. Write -math.inf, whose power
    is exactly 0."""
    return [[score if s <= t else -1e9 for s, score in enumerate(row)] for t, row in enumerate(scores)]


def very_negative_plus_score(scores):
    """You add a large negative number to the hidden scores. Put -math.inf in their place, whose power is exactly
    0."""
    return [[score if s <= t else score - 1e9 for s, score in enumerate(row)] for t, row in enumerate(scores)]


def shorter_rows(scores):
    """You leave the hidden scores out, so the rows get shorter. The table must keep its size, with -math.inf in
    it."""
    return [row[: t + 1] for t, row in enumerate(scores)]


def only_the_mask(scores):
    """Your table has zeros where the scores should be: it is the mask alone. Keep the scores that may be seen."""
    return [[0.0 if s <= t else -math.inf for s in range(len(row))] for t, row in enumerate(scores)]


EXERCISE = Exercise(
    causal_mask,
    [
        Case("two positions", lambda draw: ([[1.0, 2.0], [3.0, 4.0]],)),
        Case("three positions", lambda draw: ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]],)),
        Case("a single position", lambda draw: ([[draw.number()]],)),
        Case("four positions", lambda draw: (draw.numbers(4, 4),)),
        Case("negative scores", lambda draw: (draw.numbers(3, 3, low=-9, high=-1),)),
        Case("very negative scores", lambda draw: ([[-4e9, -3e9], [-2e9, -1e9]],)),
    ],
    [
        hides_the_past,
        hides_itself,
        sees_one_ahead,
        zeros,
        very_negative,
        very_negative_plus_score,
        shorter_rows,
        only_the_mask,
    ],
)
