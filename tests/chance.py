"""Is this chance? What the tests of drawn tokens ask."""

import torch
from torch import Tensor


def p_value(counts: Tensor, probabilities: Tensor) -> float:
    """How probable counts this far off, or further, are if the probabilities (V,) are right (chi-square)."""
    kept = probabilities > 0
    assert counts[~kept].sum() == 0, "a token without probability was drawn"
    expected = counts.sum() * probabilities[kept].double()
    statistic = ((counts[kept] - expected) ** 2 / expected).sum()
    return torch.special.gammaincc((kept.sum() - 1).double() / 2, statistic / 2).item()
