"""A row of weights in 8 bits."""

from minigpt.marking.verdict import Case, Exercise

TASK = """The playground's weights travel in 8 bits. A row of weights becomes one factor, its largest absolute value
divided by 127, and for each weight a whole number: the weight divided by the factor, rounded. Give the list of whole
numbers and the factor. A row of zeros has the factor 0 and whole numbers 0."""

HINTS = [
    "The factor: max(abs(weight) for weight in row) / 127.",
    "round(x) rounds to the nearest whole number. int(x) would cut the decimals off.",
    "A row of zeros would be divided by 0; treat it by itself. Give two things back by: return numbers, factor.",
]


def quantize(row):
    """Give the whole numbers, from -127 to 127, and the factor."""
    factor = max(abs(weight) for weight in row) / 127
    if factor == 0:
        return [0] * len(row), 0.0
    return [round(weight / factor) for weight in row], factor


def _quantized(row, largest=lambda row: max(abs(weight) for weight in row), steps=127, whole=round):
    factor = largest(row) / steps
    return ([whole(weight / factor) for weight in row], factor) if factor else ([0] * len(row), 0.0)


def no_abs(row):
    """You divide the largest weight by 127. A negative weight may be larger in size: take abs(weight) before max."""
    return _quantized(row, largest=max)


def steps_of_128(row):
    """You divide by 128. The whole numbers go from -127 to 127, so that both signs have as many: divide by 127."""
    return _quantized(row, steps=128)


def steps_of_255(row):
    """You divide by 255. 8 bits have 256 values, but half of them are for the negative weights: divide by 127."""
    return _quantized(row, steps=255)


def cut_off(row):
    """You cut the decimals off, so every weight moves towards 0. Round to the nearest whole number: round(x)."""
    return _quantized(row, whole=int)


def not_rounded(row):
    """You do not round. 8 bits hold whole numbers only: round(weight / factor)."""
    return _quantized(row, whole=float)


def upside_down(row):
    """Your factor is upside down: it is the largest absolute value divided by 127, so that weight ≈ factor ·
    number."""
    numbers, factor = quantize(row)
    return numbers, (1 / factor if factor else 0.0)


def swapped(row):
    """You give the factor first; give the whole numbers first, then the factor."""
    return quantize(row)[::-1]


def weights_again(row):
    """You give weights again, whole numbers times the factor. Give the whole numbers."""
    numbers, factor = quantize(row)
    return [number * factor for number in numbers], factor


def no_factor(row):
    """You give the whole numbers only. Nobody can make weights of them without the factor: return numbers, factor."""
    return quantize(row)[0]


def divides_by_zero(row):
    """Your code divides by 0 where all weights are 0. Treat such a row by itself: its numbers and its factor are
    0."""
    factor = max(abs(weight) for weight in row) / 127
    return [round(weight / factor) for weight in row], factor


def smallest_is_zero(row):
    """You spread the numbers from the smallest weight to the largest. Here 0 stays 0: the largest absolute value
    becomes 127 or -127."""
    low, high = min(row), max(row)
    factor = (high - low) / 255
    return ([round((weight - low) / factor) for weight in row], factor) if factor else ([0] * len(row), 0.0)


EXERCISE = Exercise(
    quantize,
    [
        Case("the largest is 1.27", lambda draw: ([1.27, 0.5, -0.2],)),
        Case("the largest is negative", lambda draw: ([0.5, -2.54, 1.0],)),
        Case("decimals above a half", lambda draw: ([1.93, 1.0, -0.3],)),
        # With 1.93 as the largest, no other number of two decimals lies halfway between two whole numbers.
        Case("five weights", lambda draw: ([*draw.numbers(4, low=-1, high=1), 1.93],)),
        Case("the largest comes first, and is negative", lambda draw: ([-1.93, *draw.numbers(5, low=-1, high=1)],)),
        Case("a single weight", lambda draw: ([-1.93],)),
        Case("only zeros", lambda draw: ([0.0, 0.0, 0.0],)),
    ],
    [
        no_abs,
        steps_of_128,
        steps_of_255,
        cut_off,
        not_rounded,
        upside_down,
        swapped,
        weights_again,
        no_factor,
        divides_by_zero,
        smallest_is_zero,
    ],
)
