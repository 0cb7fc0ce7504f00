"""The settings of a training, the recipes for the named configurations, and the learning rate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

import torch

from minigpt.checks import check_choice, check_number, check_size
from minigpt.precision import PRECISIONS

#: The precisions that a model can be trained in: those that keep its parameters in 32 bits. (In 16, most of AdamW's
#: steps are too small to change anything.)
TRAINING_PRECISIONS = tuple(name for name, kind in PRECISIONS.items() if kind.parameters == torch.float32)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything about a training except the model and the text.

    Args:
        steps: how many times the parameters are changed.
        batch_size: the number of sequences in a step, over all processes.
        accumulate: read each process's share of a batch in this many parts, to save memory: a step
            takes what `memory.training_memory` says for batch_size / accumulate sequences.
        learning_rate: the highest learning rate, reached after the warm-up.
        warmup_steps: the number of steps in which the rate grows from 0, in a straight line.
        final_share: the share of the highest rate that the cosine falls to at the last step.
        weight_decay: in each step, matrices are pulled towards 0 by this times the rate; biases and
            LayerNorms are not.
        beta1, beta2: how long Adam remembers gradients, and their squares.
        clip_norm: a gradient longer than this is shortened to it.
        precision: one of `TRAINING_PRECISIONS`. "fp32" computes in 32 bits; "amp-bf16" and "amp-fp16" are mixed
            precision: products in 16 bits, parameters and sums in 32.
        seed: the seed of the first weights, the order of the batches and dropout.
        log_every, evaluate_every, checkpoint_every: the number of steps between two rows of
            metrics, two evaluations on held-out text, two checkpoints.
        evaluate_tokens, final_tokens: how many held-out tokens are predicted in such an evaluation,
            and at the end.

    Raises:
        TypeError, ValueError: a field has the wrong type or an impossible value; the message names
            the field, its value and what would be right.

    Sources: Loshchilov and Hutter (2019) for AdamW, (2017) for the cosine; Brown et al. (2020),
    appendix B, for betas, clipping, warm-up and decay.
    """

    steps: int = 1_000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_share: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    precision: str = "fp32"
    seed: int = 0
    log_every: int = 10
    evaluate_every: int = 250
    checkpoint_every: int = 250
    evaluate_tokens: int = 20_000
    final_tokens: int = 1_000_000

    @property
    def intervals(self) -> tuple[int, int, int]:
        return self.log_every, self.evaluate_every, self.checkpoint_every

    #: The largest value of some counts; that of the others is 10¹². A larger value must be a typing error.
    MOST = MappingProxyType({"batch_size": 65_536, "accumulate": 65_536, "seed": 2**64 - 1})
    #: What the other numbers must be, in words and as a test.
    RIGHT = MappingProxyType(
        {
            "learning_rate": ("more than 0 and at most 1,000", lambda rate: 0 < rate <= 1_000),
            "final_share": ("at least 0 and at most 1", lambda share: 0 <= share <= 1),
            "weight_decay": ("at least 0 and at most 1,000", lambda decay: 0 <= decay <= 1_000),
            "beta1": ("at least 0 and less than 1", lambda beta: 0 <= beta < 1),
            "beta2": ("at least 0 and less than 1", lambda beta: 0 <= beta < 1),
            "clip_norm": ("more than 0 and at most 1e30", lambda norm: 0 < norm <= 1e30),
        }
    )
    #: The settings that may change when a run goes on: they affect what is recorded of the run, not the run.
    FREE = ("log_every", "evaluate_every", "checkpoint_every", "evaluate_tokens", "final_tokens")

    def __post_init__(self):
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is int:
                least = 0 if name in ("warmup_steps", "seed") else 1
                value = check_size(name, value, self.MOST.get(name, 10**12), least)
            elif field.type is float:
                value = check_number(name, value, *self.RIGHT[name])
            object.__setattr__(self, name, value)
        check_choice("precision", self.precision, TRAINING_PRECISIONS)
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate must divide batch_size={self.batch_size}; got {self.accumulate}")


#: The settings for the configurations of these names, if no others are given.
RECIPES: Mapping[str, TrainConfig] = MappingProxyType(
    {
        "tiny": TrainConfig(batch_size=8),
        "mini": TrainConfig(learning_rate=4e-3, final_share=0.05),
        "shakespeare": TrainConfig(
            steps=9_000,
            batch_size=16,
            learning_rate=3e-3,
            warmup_steps=200,
            final_share=0.02,
            weight_decay=0.3,
            precision="amp-bf16",
            log_every=20,
        ),
    }
)


def learning_rate(step: int, settings: TrainConfig) -> float:
    """The rate of step 0, 1, ...: up in a straight line, then down half a cosine, then constant.

    The last step has the lowest rate. (nanoGPT and llm.c are one step behind: their first step after
    the warm-up has the highest rate once more, and the step after the last one would have the lowest.)

    >>> settings = TrainConfig(steps=1_000, warmup_steps=100, learning_rate=1e-3, final_share=0.1)
    >>> [round(learning_rate(step, settings), 6) for step in (0, 49, 99, 549, 999)]
    [1e-05, 0.0005, 0.001, 0.00055, 0.0001]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = min(1.0, (step - settings.warmup_steps + 1) / max(1, settings.steps - settings.warmup_steps))
    cosine = (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * (settings.final_share + (1 - settings.final_share) * cosine)
