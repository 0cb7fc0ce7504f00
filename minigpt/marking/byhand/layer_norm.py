"""A list of numbers gets mean 0 and spread 1, then a scale and a shift."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """LayerNorm for one position. Subtract the mean from each of its numbers, divide by the square root of
variance + 0.00001, multiply by the number's scale and add its shift. The variance is the mean of the squared
distances from the mean."""

HINTS = [
    "mean = sum(numbers) / len(numbers).",
    "variance = sum((x - mean) ** 2 for x in numbers) / len(numbers).",
    "The number at place i becomes (numbers[i] - mean) / math.sqrt(variance + 0.00001) * scale[i] + shift[i].",
]


def layer_norm(numbers, scale, shift):
    """Give the normed, scaled and shifted numbers, a list of the same length."""
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / len(numbers)
    return [(x - mean) / math.sqrt(variance + 0.00001) * a + b for x, a, b in zip(numbers, scale, shift)]


def _norm(numbers, scale, shift, mean=None, count=0, divisor=lambda variance: math.sqrt(variance + 0.00001)):
    mean = sum(numbers) / len(numbers) if mean is None else mean
    variance = sum((x - mean) ** 2 for x in numbers) / (len(numbers) + count)
    return [(x - mean) / divisor(variance) * a + b for x, a, b in zip(numbers, scale, shift)]


def one_less(numbers, scale, shift):
    """You divide the sum of squares by one less than the number of numbers. LayerNorm divides it by their number: it
    describes these numbers, it estimates nothing from them."""
    return _norm(numbers, scale, shift, count=-1)


def no_root(numbers, scale, shift):
    """You divide by the variance; divide by its square root, which is in the units of the numbers."""
    return _norm(numbers, scale, shift, divisor=lambda variance: variance + 0.00001)


def no_mean(numbers, scale, shift):
    """You do not subtract the mean. (That is another norm, RMSNorm: it divides by the root of the mean square.)"""
    return _norm(numbers, scale, shift, mean=0.0)


def mean_only_in_the_variance(numbers, scale, shift):
    """You subtract the mean for the variance, but not from the numbers themselves."""
    mean = sum(numbers) / len(numbers)
    variance = sum((x - mean) ** 2 for x in numbers) / len(numbers)
    return [x / math.sqrt(variance + 0.00001) * a + b for x, a, b in zip(numbers, scale, shift)]


def no_scale(numbers, scale, shift):
    """You leave the scale out: multiply each normed number by its own scale."""
    return _norm(numbers, [1.0] * len(numbers), shift)


def no_shift(numbers, scale, shift):
    """You leave the shift out: add each number's own shift at the end."""
    return _norm(numbers, scale, [0.0] * len(numbers))


def shift_first(numbers, scale, shift):
    """You add the shift before you multiply. Multiply by the scale first, then add the shift."""
    return _norm(numbers, scale, [a * b for a, b in zip(scale, shift)])


def scale_before(numbers, scale, shift):
    """You multiply by the scale before you take mean and variance; the norm would undo it. Multiply afterwards."""
    return _norm([x * a for x, a in zip(numbers, scale)], [1.0] * len(numbers), shift)


def nothing_added(numbers, scale, shift):
    """You divide by the root of the variance alone. Equal numbers have the variance 0; 0.00001 under the root keeps
    that from failing."""
    return _norm(numbers, scale, shift, divisor=math.sqrt)


def outside_the_root(numbers, scale, shift):
    """You add 0.00001 to the square root; it belongs under it, to the variance."""
    return _norm(numbers, scale, shift, divisor=lambda variance: math.sqrt(variance) + 0.00001)


EXERCISE = Exercise(
    layer_norm,
    [
        Case("two numbers", lambda draw: ([1.0, 5.0], [1.0, 1.0], [0.0, 0.0])),
        Case("four numbers", lambda draw: ([2.0, 4.0, 4.0, 6.0], [1.0] * 4, [0.0] * 4)),
        Case("with a scale", lambda draw: (draw.numbers(3), [2.0, 3.0, -1.0], [0.0] * 3)),
        Case("with scale and shift", lambda draw: ([4.0, 1.0, 1.0], draw.numbers(3, low=2, high=4), [1.0, 2.0, 3.0])),
        Case("five numbers", lambda draw: (draw.numbers(5), draw.numbers(5), draw.numbers(5))),
        Case("numbers close together", lambda draw: ([0.001, 0.002, 0.004], [1.0] * 3, [0.0] * 3)),
        Case("equal numbers", lambda draw: ([3.0, 3.0], [2.0, 2.0], [1.0, draw.number()])),
    ],
    [
        one_less,
        no_root,
        no_mean,
        mean_only_in_the_variance,
        no_scale,
        no_shift,
        shift_first,
        scale_before,
        nothing_added,
        outside_the_root,
    ],
)
