"""A GPU's operators where there is no GPU: called by name, on tensors without numbers."""

from contextlib import contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.utils.checkpoint import checkpoint

from minigpt import GPT, attention, model
from minigpt.memory.measured import MeasuredStep

aten = torch.ops.aten


def dropout(x, p=0.5, training=True, inplace=False):
    """As on a GPU: kept is a mask of bytes."""
    return torch.native_dropout(x, p, True)[0] if training and p > 0 else x


def fused_attention(queries, keys, values, attn_mask=None, dropout_p=0.0, is_causal=False):
    """The kernel that a GPU takes in 32 bits, and the one in 16."""
    if queries.dtype == torch.float32:
        return aten._scaled_dot_product_efficient_attention(queries, keys, values, None, True, dropout_p, is_causal)[0]
    return aten._scaled_dot_product_flash_attention(queries, keys, values, dropout_p, is_causal)[0]


def softmax(x, dim):
    """Under autocast in 32 bits."""
    return torch.softmax(x.float() if torch.is_autocast_enabled("cpu") else x, dim)


@contextmanager
def gpu_operators(monkeypatch):
    """Take what PyTorch takes on a GPU."""
    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", dropout)
        patch.setattr(F, "scaled_dot_product_attention", fused_attention)
        patch.setattr(torch.Tensor, "softmax", softmax)
        patch.setattr(attention, "in_16_bits_on_a_cpu", lambda x: False)
        # Random states, also a GPU's, are kept in the CPU's memory.
        patch.setattr(model, "checkpoint", partial(checkpoint, preserve_rng_state=False))
        yield


@contextmanager
def without_numbers(monkeypatch):
    """Tensors are shapes and types only, so that the largest model costs nothing."""
    with monkeypatch.context() as patch, FakeTensorMode():
        # Tokens without numbers can't be compared with the vocabulary.
        patch.setattr(GPT, "check_tokens", lambda *args: None)
        yield


def tracked_peak(step: MeasuredStep) -> int:
    """What MemTracker says of a second step's peak."""
    for phase in step.phases.values():
        phase()
    tracker = MemTracker()
    tracker.track_external(step.model, step.optimizer, step.tokens, step.targets)
    with tracker:
        for phase in step.phases.values():
            phase()
    return tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
