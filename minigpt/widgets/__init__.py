"""Widgets to move: in Jupyter with a kernel behind them, on the course's pages without one.

Each is a Python class whose traits can be read and set, and a front end in JavaScript that draws it. The
arithmetic is in arithmetic.js, for all of them, and that of a step's memory in memory_arithmetic.js; the tests hold
it against PyTorch and the package's own.
"""

from minigpt.widgets.attention import AttentionExplorer
from minigpt.widgets.memory import MemoryExplorer
from minigpt.widgets.parameters import ParameterExplorer
from minigpt.widgets.sampling import SamplingExplorer

__all__ = ["AttentionExplorer", "MemoryExplorer", "ParameterExplorer", "SamplingExplorer"]
