"""How many bytes a training step takes, from the configuration alone, and at which stage it takes the most.

The formulas, their letters and the stages are those of step.toml.

A step is: forward, backward, optimizer, gradients set to None, and it is the second or a later one: the
optimizer's states are there, and nothing but they and the parameters is left over from the step before. Whoever
calls the model holds its logits until the end, as `train.Trainer` does. What PyTorch allocates for tensors is
counted; what a GPU's context, the workspaces of its libraries and the allocator's rounding take comes on top.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod

from minigpt.checks import check_choice, check_number, check_size, check_switch, shown
from minigpt.config import GPTConfig, configuration
from minigpt.memory.step_table import STEP
from minigpt.parameters import count_params, count_tensors, parameter_shapes
from minigpt.precision import PRECISIONS
from minigpt.table import Table

#: "adamw" is what PyTorch takes by default: all tensors at once (foreach) on a GPU, a loop over them on a CPU.
OPTIMIZERS = ("adamw", "adamw-fused", "adamw-foreach", "sgd", "sgd-momentum")

#: The formula as `MultiHeadAttention` spells it out, or PyTorch's kernel.
ATTENTIONS = ("explicit", "fused")

DEVICES = ("cpu", "cuda")

#: The largest batch and the largest memory that are computed with.
MAX_SEQUENCES, MAX_BYTES = 10**18, 10**18

#: The stages of a step at which memory can be fullest, in the order of time, and the phase that each is part of.
STAGES = {stage.name: stage.phase for stage in STEP.stages}


@dataclass(frozen=True)
class Stage:
    """The memory at one stage of a step.

    Attributes:
        name: one of `STAGES`.
        detail: the operation of the stage.
        parameters_bytes, gradients_bytes, optimizer_bytes: gradients as far as backward has come.
        saved_bytes: activations that forward saved and backward still needs, and the batch itself.
        temporaries_bytes: the logits that the caller holds, and the tensors that an operation reads, writes or
            passes on to the next one.
    """

    name: str
    detail: str
    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    saved_bytes: int
    temporaries_bytes: int

    @property
    def phase(self) -> str:
        """The phase of the step: "forward", "backward" or "optimizer"."""
        return STAGES[self.name]

    @property
    def total_bytes(self) -> int:
        """The parts' sum."""
        return (
            self.parameters_bytes
            + self.gradients_bytes
            + self.optimizer_bytes
            + self.saved_bytes
            + self.temporaries_bytes
        )


@dataclass(frozen=True)
class TrainingMemory:
    """The memory of one training step, as `training_memory` returns it.

    Attributes:
        parameters_bytes: all parameters.
        gradients_bytes: all of them, at the end of backward; as many as P.
        optimizer_bytes: the optimizer's states, and for Adam a counter of 4 bytes a tensor.
        logits_bytes: the logits.
        saved: the bytes that forward saves for backward, by layer and operation:
            `saved["block 0"]["attention"]`. The layers are "embedding", "block 0" to
            "block L-1" and "head". The batch, read at one end and scored at the other, is part of it.
        stages: the candidates for the peak, in the order of time.
    """

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    logits_bytes: int
    saved: Mapping[str, Mapping[str, int]]
    stages: tuple[Stage, ...]

    @property
    def saved_bytes(self) -> int:
        """The bytes that forward has saved for backward when it is done."""
        return sum(self.saved_by_layer.values())

    @property
    def saved_by_layer(self) -> dict[str, int]:
        """The bytes that each layer saves."""
        return {layer: sum(operations.values()) for layer, operations in self.saved.items()}

    @property
    def saved_by_operation(self) -> dict[str, int]:
        """The bytes that each operation saves, over all layers."""
        total: dict[str, int] = {}
        for operations in self.saved.values():
            for operation, size in operations.items():
                total[operation] = total.get(operation, 0) + size
        return total

    @property
    def peak(self) -> Stage:
        """The stage with the most bytes; the first, if several have as many."""
        return max(self.stages, key=lambda stage: stage.total_bytes)

    @property
    def peak_bytes(self) -> int:
        """The most bytes that are there at once."""
        return self.peak.total_bytes

    @property
    def table(self) -> Table:
        """The peak's parts."""
        peak = self.peak
        parts = ("parameters", "gradients", "optimizer", "saved", "temporaries")
        rows = [(part, getattr(peak, f"{part}_bytes")) for part in parts]
        return Table(("part", "bytes"), rows, total=peak.total_bytes, caption=f"The peak: {peak.name}, {peak.detail}")


class Letters:
    """The letters of step.toml for one step, each an attribute, and the bytes that forward saves.

    Args and errors: those of `training_memory`.

    Attributes:
        config: the configuration.
        values: all letters by name, and what they are computed from.
        saved: the bytes that forward saves in the "embedding", a "block", a "checkpointed_block" and the "head", by
            operation.

    >>> letters = Letters("homework", batch_size=1)
    >>> letters.N, letters.Z == letters.e * letters.N * letters.V
    (1024, True)
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        sequence_length: int | None = None,
        precision: str = "fp32",
        optimizer: str = "adamw",
        attention: str = "explicit",
        checkpointing: bool = False,
        device: str = "cpu",
        accumulating: bool = False,
    ):
        config = configuration(config)
        T = config.context_length if sequence_length is None else check_size("sequence_length", sequence_length)
        batch_size = check_size("batch_size", batch_size, MAX_SEQUENCES)
        if config.context_length < T:
            raise ValueError(f"sequence_length must be at most context_length={config.context_length}; got {shown(T)}")
        check_choice("precision", precision, PRECISIONS)
        check_choice("attention", attention, ATTENTIONS)
        check_choice("device", device, DEVICES)
        if device == "cpu" and precision == "amp-fp16":
            raise ValueError("precision must be fp32, amp-bf16 or bf16 on a CPU; got 'amp-fp16'")
        if device == "cpu" and attention == "fused" and (precision != "fp32" or config.attention_dropout > 0):
            raise ValueError(
                "attention must be 'explicit' on a CPU in 16 bits or with attention_dropout, which its kernel doesn't "
                f"do; got 'fused' with precision={precision!r}, attention_dropout={config.attention_dropout}"
            )
        check_choice("optimizer", optimizer, OPTIMIZERS)
        settings = {
            "batch_size": batch_size,
            "sequence_length": T,
            "precision": precision,
            "optimizer": optimizer,
            "attention": attention,
            "checkpointing": check_switch("checkpointing", checkpointing),
            "device": device,
            "accumulating": check_switch("accumulating", accumulating),
        }
        self.config = config
        self.values, self.saved = STEP.values({**vars(config), **settings, **counts(config)})
        vars(self).update(self.values)


@lru_cache
def counts(config: GPTConfig) -> dict[str, int]:
    """Return the counts that step.toml calls parameters, tensors and neighbours."""
    # Two blocks have all the neighbours.
    shapes = parameter_shapes(config.but(n_layers=min(config.n_layers, 2)))
    numbers = [prod(shape) for shape in shapes.values()]
    return {
        "parameters": count_params(config),
        "tensors": count_tensors(config),
        "neighbours": max(before + 2 * this for before, this in pairwise([0, *numbers])),
    }


def training_memory(
    config: GPTConfig,
    batch_size: int,
    sequence_length: int | None = None,
    precision: str = "fp32",
    optimizer: str = "adamw",
    attention: str = "explicit",
    checkpointing: bool = False,
    device: str = "cpu",
    accumulating: bool = False,
) -> TrainingMemory:
    """Return the memory of one training step, without building the model.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        batch_size: B, sequences read at once.
        sequence_length: T, positions of each; context_length, if not given.
        precision: one of `PRECISIONS`.
        optimizer: one of `OPTIMIZERS`, with PyTorch's defaults and all parameters in one group.
        attention: "explicit", the formula as `MultiHeadAttention` spells it out, or "fused", PyTorch's kernel.
        checkpointing: whether `GPT.checkpointing` is on.
        device: "cpu" or "cuda". They differ in dropout's mask (on a GPU one byte a number, on a CPU a whole
            number), in the type of an attention weight under autocast, in LayerNorm's in 16
            bits, in the kernels behind "fused" and in what "adamw" means.
        accumulating: whether the batch is read in several parts, whose gradients are added up. batch_size is
            then that of a part, and the step is its last part and the optimizer's step: all gradients are there
            from the start, and each new one beside them until it is added.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible, or the combination is:
            16 bits or attention dropout with "fused" on a CPU, where there is no such kernel, and fp16
            on a CPU. The message names the argument, its value and what would be right.

    On a CPU, saved activations are PyTorch's to the byte. The peak is its allocator's within 0.1 % and two thousand
    bytes: numbers that stand alone and gradients as wide as a bias are left out, which in a model of a few
    thousand parameters can be 2 %. That holds where no library allocates for itself: oneDNN does so in products of 16
    bits, and the fused attention in backward, which shows where the vocabulary is small. For device="cuda" it was
    tested with a GPU's operators called by name in a simulation, not on a GPU; step.toml says at `fused` which
    kernels these are. Measured with PyTorch 2.11, 2.13 and 2.14; in 2.6 a checkpointed block can need one more
    tensor as wide as the model. What is not modelled: several processes (see `process_shares`), torch.compile, frozen
    parameters, the scaling of fp16's loss (three numbers), clipping of gradients.

    Source: the operations' order is that of model.py and of PyTorch's autograd; checkpointing is Chen et al. (2016),
    mixed precision Micikevicius et al. (2018).

    >>> from minigpt import CONFIGS
    >>> memory = training_memory(CONFIGS["homework"], batch_size=1)
    >>> memory.peak_bytes, memory.peak.name
    (6468650772, 'start of backward')
    """
    letters = Letters(
        config,
        batch_size,
        sequence_length,
        precision,
        optimizer,
        attention,
        checkpointing,
        device,
        accumulating,
    )
    saved = letters.saved
    block = saved["checkpointed_block" if letters.checkpointing else "block"]
    blocks = {f"block {i}": block for i in range(letters.L)}
    return TrainingMemory(
        parameters_bytes=letters.P,
        gradients_bytes=letters.P,
        optimizer_bytes=letters.O,
        logits_bytes=letters.Z,
        saved={"embedding": saved["embedding"], **blocks, "head": saved["head"]},
        stages=tuple(
            Stage(stage.name, row.operation, letters.P, gradients, letters.O, saved_here, temporaries)
            for stage, row, (gradients, saved_here, temporaries), _ in STEP.stages_of(letters.values)
        ),
    )


def max_batch_size(config: GPTConfig, memory_bytes: int, sequence_length: int | None = None, **how) -> int:
    """Return the most sequences a step can read at once with a peak that fits into a memory; 0, if none fits.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        memory_bytes: the memory for tensors, from 1 to 10¹⁸. A GPU of 80 GB has less: its context, the
            workspaces of libraries and gaps between tensors take their share.
        sequence_length, how: the other arguments of `training_memory`.

    Raises:
        TypeError, ValueError: as `training_memory`, or memory_bytes is no int from 1 to 10¹⁸.

    >>> from minigpt import CONFIGS
    >>> max_batch_size(CONFIGS["homework"], 24 * 10**9, device="cuda")
    7
    """
    memory_bytes = check_size("memory_bytes", memory_bytes, MAX_BYTES)

    def fits(batch_size: int) -> bool:
        return training_memory(config, batch_size, sequence_length, **how).peak_bytes <= memory_bytes

    # More sequences need more memory: double what fits until it doesn't, then halve the gap.
    fitting, too_many = 0, 1
    while fits(too_many):
        fitting, too_many = too_many, 2 * too_many
    while too_many - fitting > 1:
        middle = (fitting + too_many) // 2
        fitting, too_many = (middle, too_many) if fits(middle) else (fitting, middle)
    return fitting


def ceil_div(number: int, by: int) -> int:
    """Return a quotient rounded up, exact for numbers of any size."""
    return -(-number // by)


def in_gigabytes(size_bytes: int) -> str:
    """Return a size in GB, 10⁹ bytes, and in GiB, 2³⁰.

    >>> in_gigabytes(6_493_800_000)
    '6.49 GB (6.05 GiB)'

    Raises:
        TypeError, ValueError: the size is no number, or is not finite.
    """
    check_number("size_bytes", size_bytes, "a finite number", lambda size: abs(size) < 10**100)
    return f"{size_bytes / 1e9:,.2f} GB ({size_bytes / 2**30:,.2f} GiB)"
