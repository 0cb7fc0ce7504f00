"""A temperature makes a choice bolder or safer."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """A temperature tau divides the scores before the softmax. Give the probabilities. A tau of 0 is no division
but a limit: the largest score gets the probability 1, all others 0; of equal largest scores the first counts."""

HINTS = [
    "Divide every score by tau, then do what softmax does: math.exp of each, divided by their sum.",
    "A small tau makes large numbers. Subtract the largest of the divided scores from all of them before math.exp.",
    "For tau == 0: scores.index(max(scores)) is the place of the first largest score.",
]


def temperature(scores, tau):
    """Give the probabilities at temperature tau, a list of the same length."""
    if tau == 0:
        best = scores.index(max(scores))
        return [1.0 if i == best else 0.0 for i in range(len(scores))]
    powers = [math.exp((score - max(scores)) / tau) for score in scores]
    return [power / sum(powers) for power in powers]


def _softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def ignored(scores, tau):
    """You do not use the temperature: divide the scores by tau first."""
    return _softmax(scores)


def multiplied(scores, tau):
    """You multiply the scores by tau; divide by it. A high temperature brings the scores closer together."""
    return _softmax([score * tau for score in scores])


def after_the_softmax(scores, tau):
    """You divide the probabilities by tau, so they no longer add up to 1. Divide the scores, before the softmax."""
    return [share / tau for share in _softmax(scores)]


def softmax_twice(scores, tau):
    """You divide probabilities by tau and take a softmax of these. Divide the scores themselves, and take one
    softmax."""
    return _softmax([share / tau for share in _softmax(scores)])


def only_the_powers(scores, tau):
    """Your numbers do not add up to 1: divide each power by the sum of all powers."""
    return [math.exp((score - max(scores)) / tau) for score in scores]


def inside_out(scores, tau):
    """You divide the powers by tau, which the softmax takes out again. Divide the scores before math.exp."""
    powers = [math.exp(score - max(scores)) / tau for score in scores]
    return [power / sum(powers) for power in powers]


def divides_by_zero(scores, tau):
    """A temperature of 0 is no division. Treat it by itself: the first largest score gets the probability 1."""
    return _softmax([score / tau for score in scores])


def divides_by_nearly_zero(scores, tau):
    """Your equal largest scores share the probability at temperature 0. The first of them must get all of it."""
    return _softmax([score / (tau or 1e-6) for score in scores])


def last_of_equals(scores, tau):
    """At temperature 0 you take the last of equal largest scores; take the first."""
    if tau == 0:
        best = max(range(len(scores)), key=lambda i: (scores[i], i))
        return [1.0 if i == best else 0.0 for i in range(len(scores))]
    return temperature(scores, tau)


def no_largest(scores, tau):
    """math.exp overflows from about 710 on, and a small tau makes large numbers. Subtract the largest score from all
    of them first: the probabilities stay the same."""
    for score in scores:
        math.exp(score / (tau or 1))
    return temperature(scores, tau)


EXERCISE = Exercise(
    temperature,
    [
        Case("temperature 1", lambda draw: ([2.0, 1.0, 0.0], 1.0)),
        Case("temperature 2", lambda draw: ([2.0, 1.0, 0.0], 2.0)),
        Case("temperature 0.5", lambda draw: (draw.numbers(4), 0.5)),
        Case("any temperature", lambda draw: (draw.numbers(5), draw.number(1.2, 3))),
        Case("temperature 0", lambda draw: (draw.numbers(4) + [2.5], 0)),
        Case("temperature 0 and equal scores", lambda draw: ([1.0, 3.0, 3.0], 0)),
        Case("a very low temperature", lambda draw: ([8.0, 7.99, draw.number()], 0.01)),
    ],
    [
        ignored,
        multiplied,
        after_the_softmax,
        softmax_twice,
        only_the_powers,
        inside_out,
        divides_by_zero,
        divides_by_nearly_zero,
        last_of_equals,
        no_largest,
    ],
)
