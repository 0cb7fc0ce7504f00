"""Widgets that readers can move: in Jupyter with a kernel, on the course's pages without one.

Each widget is a Python class, whose traits can be read and set, and a front end in JavaScript, which draws it. The
computations of a front end are in minigpt/browser, in a file named like the Python file that computes the same.
"""

from minigpt.widgets.attention import AttentionExplorer
from minigpt.widgets.byhand import ByHand
from minigpt.widgets.memory import MemoryExplorer
from minigpt.widgets.parameters import ParameterExplorer
from minigpt.widgets.playground import Playground
from minigpt.widgets.quiz import Quiz
from minigpt.widgets.sampling import SamplingExplorer

__all__ = [
    "AttentionExplorer",
    "ByHand",
    "MemoryExplorer",
    "ParameterExplorer",
    "Playground",
    "Quiz",
    "SamplingExplorer",
]
