"""The lessons' exercises, their checks, and the marking of a class."""

from minigpt.marking.exercises import check

__all__ = ["check"]
