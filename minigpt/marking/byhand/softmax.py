"""Scores become shares."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """A model gives every possible next token a score, any number. Turn the scores into shares: each is positive,
together they are 1, and a score that is larger by one gets a share that is e ≈ 2.718 times as large."""

HINTS = [
    "math.exp(score) makes every score positive. What do all of these numbers add up to?",
    "Divide each of them by their sum.",
    "math.exp(1000) is too large. What happens to the shares if you subtract the same number from every score?",
]


def softmax(scores):
    """Give the share of each score, a list of the same length."""
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    return [power / sum(powers) for power in powers]


def shares_of_scores(scores):
    """You divide the scores themselves by their sum. A score may be negative or 0; take math.exp of each first."""
    return [score / sum(scores) for score in scores]


def not_divided(scores):
    """Your numbers do not add up to 1: divide each power by the sum of all powers."""
    largest = max(scores)
    return [math.exp(score - largest) for score in scores]


def by_the_largest(scores):
    """You divide by the largest power; divide by the sum of all of them."""
    return [math.exp(score) / math.exp(max(scores)) for score in scores]


def no_largest(scores):
    """math.exp overflows from about 710 on. Subtract the largest score from all of them first: the shares stay the
    same, because every power is divided by the same factor."""
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def powers_of_two(scores):
    """You take powers of 2; softmax takes powers of e: math.exp(score)."""
    powers = [2 ** (score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


EXERCISE = Exercise(
    softmax,
    [
        Case("two equal scores", lambda draw: ([0.0, 0.0],)),
        Case("three scores", lambda draw: ([2.0, 1.0, 0.0],)),
        Case("a single score", lambda draw: ([draw.number()],)),
        Case("negative scores", lambda draw: (draw.numbers(4, low=-4, high=0),)),
        Case("five scores", lambda draw: (draw.numbers(5),)),
        Case("very large scores", lambda draw: ([1000.0, 1000.0 + draw.number(0, 2)],)),
    ],
    [shares_of_scores, not_divided, by_the_largest, no_largest, powers_of_two],
)
