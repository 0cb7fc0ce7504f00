"""Checks of arguments, shared by all modules. An error names the argument, its value and what would be right.

NumPy's numbers are accepted, and returned as Python's. True and False don't count as numbers.
"""

from collections.abc import Callable, Iterable
from math import isqrt
from numbers import Integral, Real

import numpy as np


def is_integer(value) -> bool:
    """Whether a value is an int, Python's or NumPy's."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value) -> bool:
    """Whether a value is a real number, Python's or NumPy's."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_size(value) -> bool:
    """Whether a value is an int of at least 1."""
    return is_integer(value) and value >= 1


def check_size(name: str, value, most: int | None = None, least: int = 1, note: str = "") -> int:
    """Return the value as Python's int; raise unless it is an int from `least` to `most`.

    `note` is added to the error for a value below `least`.
    """
    if not is_integer(value):
        raise TypeError(f"{name} must be an int; got {shown(value)} ({type_name(value)})")
    value = int(value)
    if value < least:
        raise ValueError(f"{name} must be at least {least}{note}; got {shown(value)}")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:,}; got {shown(value)}")
    return value


def check_number(name: str, value, right: str, is_right: Callable[[float], bool]) -> float:
    """Return the value as a Python number; raise unless `is_right(value)`. `right` says in words what is right."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number; got {shown(value)} ({type_name(value)})")
    if not is_right(value):
        raise ValueError(f"{name} must be {right}; got {shown(value)}")
    return value.item() if isinstance(value, np.generic) else value


def check_dropout(name: str, value) -> float:
    """Return the value as Python's float; raise unless it is a probability in [0, 1)."""
    return float(check_number(name, value, "at least 0 and less than 1", lambda p: 0 <= p < 1))


def check_switch(name: str, value) -> bool:
    """Return the value as Python's bool; raise unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {shown(value)} ({type_name(value)})")
    return bool(value)


def check_choice(name: str, value, choices: Iterable[str]) -> str:
    """Return the value; raise unless it is one of `choices`."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {shown(value)}")
    return value


def check_text(name: str, value) -> str:
    """Return the value; raise unless it is a str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str; got {shown(value)} ({type_name(value)})")
    return value


def check_heads(d_model: int, n_heads: int) -> None:
    """Raise unless `n_heads` divides `d_model`; the error names numbers of heads that would."""
    if d_model % n_heads:
        # Divisors come in pairs; one of each pair is at most √d_model. (Above 1.6e9 some divisors are not found.)
        small = [n for n in range(1, min(isqrt(d_model), 40_000) + 1) if d_model % n == 0]
        divisors = {*small, *(d_model // n for n in small)}
        below = max(n for n in divisors if n < n_heads)
        above = [min(n for n in divisors if n > n_heads)] if n_heads < d_model else []
        near = " or ".join(shown(n) for n in [below, *above])
        raise ValueError(
            f"n_heads must divide d_model, so that every head is equally wide; "
            f"got n_heads={shown(n_heads)}, d_model={shown(d_model)} (n_heads={near} would do)"
        )


def is_bar_hidden(progress: bool | None) -> bool | None:
    """The value of tqdm's `disable`: progress=True shows the bar, False hides it, None shows it in a terminal only."""
    return None if progress is None else not check_switch("progress", progress)


def shown(value) -> str:
    """A value as an error shows it; a long one is cut short."""
    if isinstance(value, int) and abs(value) >= 10**100:
        return f"an int of {value.bit_length()} bits"
    text = str(value) if isinstance(value, np.generic) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def type_name(value) -> str:
    """The name of a value's type."""
    return type(value).__name__
