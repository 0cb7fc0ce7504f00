"""How many bytes: a training step's memory, from the configuration alone, and when it is fullest.

Letters besides those of attention.py and model.py, each a number of bytes unless said otherwise:

    N  positions in the batch, B·T                  r  a number of the parameters, the residual stream and
    A  attention weights in a layer, B·H·T·T           the loss: 4, in pure bf16 2
    P  all parameters                               e  a number that a matrix product gives: 4, in 16 bits 2
    E  the token embedding, r·V·C                   s  an attention weight: r on a GPU, e on a CPU
    Z  the logits, e·N·V                            t  a LayerNorm's mean or deviation: 4, but r on a CPU

A step is: forward, backward, optimizer, gradients set to None, and it is the second or a later one: the
optimizer's states are there, and nothing but they and the parameters is left over from the step before. Whoever
calls the model holds its logits until the end, as `train.Trainer` does. What PyTorch allocates for tensors is
counted; what a GPU's context, the workspaces of its libraries and the allocator's rounding take comes on top.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from minigpt.checks import check_choice, check_number, check_size, check_switch, shown
from minigpt.config import GPTConfig, configuration
from minigpt.parameters import attention_params, count_params, count_tensors, norm_params, parameter_shapes
from minigpt.table import Table

#: How numbers are stored. "amp-...": parameters in 32 bits, products in 16 (automatic mixed
#: precision, torch.autocast); "bf16": everything in 16.
PRECISIONS = ("fp32", "amp-bf16", "amp-fp16", "bf16")

#: "adamw" is what PyTorch takes by default: all tensors at once (foreach) on a GPU, a loop over them on a CPU.
OPTIMIZERS = ("adamw", "adamw-fused", "adamw-foreach", "sgd", "sgd-momentum")

#: The formula as `MultiHeadAttention` spells it out, or PyTorch's kernel.
ATTENTIONS = ("explicit", "fused")

DEVICES = ("cpu", "cuda")

#: PyTorch's random state on a CPU, which checkpointing stores for each block, to drop the same numbers again.
RANDOM_STATE_BYTES = 5_056

#: The largest batch and the largest memory that are computed with.
MAX_SEQUENCES, MAX_BYTES = 10**18, 10**18

#: The stages of a step at which memory can be fullest, in the order of time, and the phase that each is part of.
STAGES = {
    "forward of a block": "forward",
    "end of forward": "forward",
    "start of backward": "backward",
    "backward of the head": "backward",
    "backward of a block": "backward",
    "end of backward": "backward",
    "optimizer step": "optimizer",
}


@dataclass(frozen=True)
class Stage:
    """What is there at one stage of a step.

    Attributes:
        name: one of `STAGES`.
        detail: which operation of it.
        parameters_bytes, gradients_bytes, optimizer_bytes: gradients as far as backward has come.
        saved_bytes: activations that forward kept and backward still needs, and the batch itself.
        temporaries_bytes: the logits that the caller holds, and what an operation reads, writes or
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
    """What `training_memory` returns.

    Attributes:
        parameters_bytes: P.
        gradients_bytes: all of them, at the end of backward; as many as P.
        optimizer_bytes: its states, and for Adam a counter of 4 bytes a tensor.
        logits_bytes: Z.
        saved: what forward keeps for backward, by layer and operation:
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
        """What forward has kept for backward when it is done."""
        return sum(self.saved_by_layer.values())

    @property
    def saved_by_layer(self) -> dict[str, int]:
        """Bytes kept by each layer."""
        return {layer: sum(operations.values()) for layer, operations in self.saved.items()}

    @property
    def saved_by_operation(self) -> dict[str, int]:
        """Bytes kept by each operation, over all layers."""
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
    """The letters of this module for one configuration, batch and way of computing, and what forward keeps.

    Args and errors: those of `training_memory`.
    """

    def __init__(self, config, batch_size, sequence_length, precision, attention, device):
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
        self.config, self.device, self.explicit = config, device, attention == "explicit"
        self.B, self.T, self.N = batch_size, T, batch_size * T
        self.r = 2 if precision == "bf16" else 4
        self.e = 4 if precision == "fp32" else 2
        self.s = self.r if device == "cuda" else self.e
        self.t = 4 if device == "cuda" else self.r
        #: Whether products are computed in fewer bits than their inputs have, which are copied for it.
        self.casts = self.e != self.r
        #: Numbers in the attention weights of a layer.
        self.weights = batch_size * config.n_heads * T * T
        #: Bytes of (B, T, C) in the residual stream, of (B, T, C) and (B, T, F) between products, and of the logits.
        self.R = self.r * self.N * config.d_model
        self.n = self.e * self.N * config.d_model
        self.f = self.e * self.N * config.d_ff
        self.Z = self.e * self.N * config.vocab_size

    def mask(self, probability: float, numbers: int, number_bytes: int) -> int:
        """What dropout keeps: on a GPU a byte for each number, on a CPU a factor of its type."""
        return 0 if probability == 0 else numbers * (1 if self.device == "cuda" else number_bytes)

    def copy(self, rows: int, columns: int) -> int:
        """A weight once more in 16 bits, if products are computed in fewer bits than weights have."""
        return self.casts * self.e * rows * columns

    @property
    def weight_copies(self) -> int:
        """The same for all weights of a block."""
        C, F = self.config.d_model, self.config.d_ff
        return 4 * self.copy(C, C) + 2 * self.copy(C, F)

    def bias_copy(self, numbers: int) -> int:
        """The same for biases: nothing wants them in backward, but autocast has them until forward ends."""
        return self.copy(numbers, 1) * self.config.bias

    @property
    def branch_mask(self) -> int:
        """What the dropout behind attention or feed-forward keeps."""
        return self.mask(self.config.dropout, self.N * self.config.d_model, self.e)

    @property
    def norm(self) -> int:
        """What a LayerNorm keeps: its input, and a mean and a deviation for each position."""
        return self.R + 2 * self.t * self.N

    @property
    def is_dropped_or_cast(self) -> bool:
        """Whether the product with the values reads other numbers than the softmax wrote."""
        return self.config.attention_dropout > 0 or self.s != self.e

    @property
    def attention_weights_saved(self) -> int:
        """What the explicit attention keeps of its (T, T) weights: the softmax, dropout's mask, what was left of it."""
        mask = self.mask(self.config.attention_dropout, self.weights, self.s)
        return self.s * self.weights + mask + self.is_dropped_or_cast * self.e * self.weights

    @property
    def softmax_temporaries(self) -> int:
        """What is there while the softmax computes: outputs of the projections, scaled queries, scores, mask."""
        scores = 2 * self.e * self.weights + self.s * self.weights + (self.s != self.e) * self.s * self.weights
        copied = 2 * self.n * self.are_heads_copied
        normed = self.R if self.casts else 0
        return normed + 4 * self.n + copied + scores + 2 * self.e * self.T**2

    @property
    def output_temporaries(self) -> int:
        """What is there besides the kept while attention's output projection computes, all of attention's names."""
        normed = self.R if self.casts else 0
        are_merged = self.config.n_heads > 1 and self.T > 1  # heads of one position lie side by side already
        queries, heads_output, out = (1 + 2 * self.are_heads_copied) * self.n, are_merged * self.n, self.n
        uncast = self.s * self.weights if self.config.attention_dropout > 0 and self.s != self.e else 0
        return normed + queries + heads_output + out + uncast

    @property
    def are_heads_copied(self) -> bool:
        """Whether the heads lie apart in memory: the products want a batch of matrices."""
        return self.B > 1 and self.config.n_heads > 1 and self.T > 1

    @property
    def fused(self) -> int:
        """What a fused kernel keeps besides queries, keys, values and output: a logarithm for each row, and a seed.

        On a GPU these are the kernels that PyTorch prefers on Ampere and Ada (compute capability 8.0 to 8.9) where
        heads are at most 256 wide and a multiple of 8: "efficient" in 32 bits, "flash" in 16. Older cards have no
        flash: a T4 (7.5) takes "efficient" in fp16, too, and has no kernel for bf16, where PyTorch spells the
        formula out. On Hopper and Blackwell (9.0 and later) newer versions of PyTorch put cuDNN's kernel
        first in 16 bits. It keeps a logarithm for each row as well, and other things besides.
        """
        rows = 4 * self.B * self.config.n_heads
        if self.device == "cpu":
            return rows * self.T
        # "efficient" pads rows to 32; "flash" doesn't.
        return rows * 32 * ceil_div(self.T, 32) + 16 if self.e == 4 else rows * self.T + 24

    def block(self) -> dict[str, int]:
        """What forward keeps of one block, by operation."""
        C, F = self.config.d_model, self.config.d_ff
        # The three projections read the same numbers; each casts them for itself.
        inputs = 3 * self.n if self.casts else self.n
        return {
            "norm1": self.norm,
            "query, key, value": inputs + 3 * self.copy(C, C),
            "attention": 3 * self.n + (self.attention_weights_saved if self.explicit else self.fused),
            "output": self.n + self.copy(C, C),
            "dropout after attention": self.branch_mask,
            "norm2": self.norm,
            "expand": self.n + self.copy(C, F),
            # GELU's slope depends on what went in. ReLU's can be told from what came out, which contract keeps.
            "activation": 0 if self.config.activation == "relu" else self.f,
            "contract": self.f + self.copy(F, C),
            "dropout after feed-forward": self.branch_mask,
        }

    def embedding(self) -> dict[str, int]:
        """What forward keeps before the first block; token ids and positions are 8 bytes each."""
        mask = self.mask(self.config.dropout, self.N * self.config.d_model, self.r)
        return {"tokens": 8 * self.N, "positions": 8 * self.T, "embedding dropout": mask}

    def head(self) -> dict[str, int]:
        """What forward keeps behind the last block; the loss keeps log softmax, the sum of its weights and targets."""
        C, V = self.config.d_model, self.config.vocab_size
        return {
            "last norm": self.norm,
            "head": self.n + self.copy(C, V),
            "loss": self.r * self.N * V + self.r + 8 * self.N,
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
    """The memory of one training step, without building the model.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        batch_size: B, sequences read at once.
        sequence_length: T, positions of each; context_length, if not given.
        precision: one of `PRECISIONS`.
        optimizer: one of `OPTIMIZERS`, with PyTorch's defaults and all parameters in one group.
        attention: "explicit", the formula as `MultiHeadAttention` spells it out, or "fused", PyTorch's kernel.
        checkpointing: whether `GPT.checkpointing` is on.
        device: "cpu" or "cuda". They differ in what dropout keeps (a GPU one byte a number, a CPU a whole
            number), in the type of an attention weight under autocast, in LayerNorm's in 16
            bits, in the kernels behind "fused" and in what "adamw" means.
        accumulating: whether the batch is read in several parts, whose gradients are added up. batch_size is
            then that of a part, and the step is its last part and the optimizer's step: all gradients are there
            from the start, and each new one beside them until it is added.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible, or the combination is:
            16 bits or attention dropout with "fused" on a CPU, where there is no such kernel, and fp16
            on a CPU. The message names the argument, its value and what would be right.

    On a CPU, saved activations are PyTorch's to the byte. The peak is its allocator's within 0.1 % and a thousand
    bytes: numbers that stand alone and gradients as wide as a bias are left out, which in a model of a few
    thousand parameters can be 1 %. That holds where no library allocates for itself: oneDNN does so in products of 16
    bits, and the fused attention in backward, which shows where the vocabulary is small. For device="cuda" it was
    tested with a GPU's operators called by name in a simulation, not on a GPU; `Letters.fused` says which kernels these
    are. What is not modelled: several processes (see `process_shares`), torch.compile, frozen parameters, the
    scaling of fp16's loss (three numbers), clipping of gradients.

    Source: the operations' order is that of model.py and of PyTorch's autograd; checkpointing is Chen et al. (2016),
    mixed precision Micikevicius et al. (2018).

    >>> from minigpt import CONFIGS
    >>> memory = training_memory(CONFIGS["homework"], batch_size=1)
    >>> memory.peak_bytes, memory.peak.name
    (6468650772, 'start of backward')
    """
    letters = Letters(config, batch_size, sequence_length, precision, attention, device)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    checkpointing = check_switch("checkpointing", checkpointing)
    accumulating = check_switch("accumulating", accumulating)
    config = letters.config
    parameters = letters.r * count_params(config)
    states, scratch = optimizer_bytes(config, optimizer, letters)
    block = {"norm1": letters.r * letters.N * config.d_model} if checkpointing else letters.block()
    blocks = {f"block {i}": block for i in range(config.n_layers)}
    return TrainingMemory(
        parameters_bytes=parameters,
        gradients_bytes=parameters,
        optimizer_bytes=states,
        logits_bytes=letters.Z,
        saved={"embedding": letters.embedding(), **blocks, "head": letters.head()},
        stages=tuple(stages(letters, parameters, states, scratch, checkpointing, accumulating)),
    )


def stages(
    letters: Letters, parameters: int, optimizer: int, scratch: int, checkpointing: bool, accumulating: bool
) -> Iterator[Stage]:
    """The stages that can be the fullest, in the order of time.

    Args:
        letters: the letters.
        parameters, optimizer: bytes of the parameters and of the optimizer's states.
        scratch: what the optimizer needs while it steps.
        checkpointing, accumulating: as in `training_memory`.
    """
    config, e, r, n, f, R, Z = letters.config, letters.e, letters.r, letters.n, letters.f, letters.R, letters.Z
    C, F, V, L = config.d_model, config.d_ff, config.vocab_size, config.n_layers
    block, embedding, head = letters.block(), letters.embedding(), letters.head()
    loss, whole = r * letters.N * V, sum(block.values())
    kept = R if checkpointing else whole

    E = r * V * C

    def stage(name: str, detail: str, gradients: int, saved: int, temporaries: int) -> Stage:
        if accumulating:
            # All gradients are there, and a new one is added to its own at once. Only the head's waits for that of a
            # tied embedding.
            waits = config.tie_weights and 0 < gradients < parameters
            gradients, temporaries = parameters, temporaries + waits * E
        return Stage(name, detail, parameters, gradients, optimizer, saved, temporaries)

    # Forward has kept the embedding and all blocks but the last, in which it computes the attention weights. The
    # targets have been there all the time.
    targets, batch = 8 * letters.N, 16 * letters.N
    below = sum(embedding.values()) + targets
    inside = block["norm1"] + block["query, key, value"]
    # A checkpointed block leaves behind a random state and, until forward has ended, its weights in 16 bits.
    state = checkpointing * RANDOM_STATE_BYTES * (letters.device == "cpu")
    left_behind = state + checkpointing * letters.weight_copies + letters.bias_copy(5 * C + F)
    projected = inside + block["attention"] + block["output"]
    softmax_temporaries = letters.bias_copy(3 * C) + letters.softmax_temporaries
    output_temporaries = letters.bias_copy(4 * C) + letters.output_temporaries
    if letters.explicit:
        saved, before = below + (L - 1) * kept, (L - 1) * left_behind + state
        yield stage("forward of a block", "softmax", 0, saved + inside, before + softmax_temporaries)
        yield stage("forward of a block", "output", 0, saved + projected, before + output_temporaries)
    if not checkpointing:
        yield stage("forward of a block", "sum", 0, below + L * whole, L * left_behind + n + R)

    # Forward has ended. The loss in 32 bits needs the logits in 32 bits for a moment.
    everything = below + L * kept + sum(head.values()) - targets
    yield stage("end of forward", "log softmax", 0, everything, Z + letters.casts * (loss + R) + L * left_behind)

    # The loss's gradient by log softmax, and log softmax's by the logits: each as large as the logits.
    yield stage("start of backward", "log softmax", 0, everything, Z + 2 * loss + L * state)

    # The head's gradients: by its weight, which a tied embedding will have to wait for, and by its input.
    norm = r * norm_params(C, config.bias)
    saved = everything - head["loss"] + targets
    held = Z + L * state
    if letters.casts:
        new = E * (accumulating and not config.tie_weights)
        yield stage("backward of the head", "cast", E, saved - head["head"], held + R + e * V * C + new)
    yield stage("backward of the head", "product", 0, saved, held + Z + n + e * V * C)
    yield stage("backward of the head", "last norm", E, saved - head["head"], held + 2 * R + norm)

    # Blocks, from the last to the first. What flows from one to the next is the residual's gradient, R. Where it is not
    # what the product in front of it gave, there is a second one of that kind, n.
    expand, contract = (r * (F * C + config.bias * width) for width in (F, C))
    attention = r * attention_params(C, config.bias)
    name, A = "backward of a block", letters.weights
    # All are linear in the block's number, so that the fullest block is the first or the last.
    for done in sorted({0, L - 1}):
        gradients = E + norm + done * (expand + contract + attention + 2 * norm)
        others = below + (L - done - 1) * kept
        held = Z + R + (L - done) * state
        if checkpointing:
            held_while_recomputing = held + state + letters.casts * n
            if letters.explicit:
                yield stage(
                    name, "softmax once more", gradients, others + inside, held_while_recomputing + softmax_temporaries
                )
                yield stage(
                    name, "output once more", gradients, others + projected, held_while_recomputing + output_temporaries
                )
            # Backward takes over as soon as forward has kept all that is to be kept.
            hidden = letters.f if config.activation == "relu" else 0
            is_dropped = config.dropout > 0
            # On a GPU dropout's mask is made together with its result, on a CPU before.
            result = n if is_dropped and letters.device == "cuda" else 0
            branches = is_dropped * n + max(hidden + letters.casts * R, letters.branch_mask + result)
            saved = others + whole - letters.branch_mask
            yield stage(name, "contract once more", gradients, saved, held_while_recomputing + branches)

        # Feed-forward, from its end.
        saved = others + whole - letters.branch_mask
        is_changed = letters.casts or config.dropout > 0
        yield stage(name, "contract", gradients, saved, held + is_changed * n + f + e * F * C)
        saved -= block["activation"] + letters.copy(F, C)
        if letters.casts:
            yield stage(name, "cast of contract's gradient", gradients, saved, held + f + (e + r) * F * C)
        gradients += contract
        yield stage(name, "activation", gradients, saved, held + 2 * f)
        saved -= f
        yield stage(name, "expand", gradients, saved, held + n + f + e * F * C)
        if letters.casts:
            saved -= block["expand"]
            yield stage(name, "cast of expand's gradient", gradients, saved, held + R + (e + r) * F * C)

        # Attention, from its end.
        gradients += expand + norm + attention // 4
        saved = others + inside + block["attention"]
        if letters.explicit:
            yield stage(name, "product with the values", gradients, saved, held + 2 * n + e * A)
            saved -= n + letters.is_dropped_or_cast * e * A
            if config.attention_dropout > 0:
                yield stage(name, "attention dropout", gradients, saved, held + n + 2 * letters.s * A)
            saved = others + inside + 2 * n + letters.s * A
            yield stage(name, "softmax", gradients, saved, held + n + 2 * letters.s * A)
        else:
            yield stage(name, "fused attention", gradients, saved + n, held + 4 * n)
        # The last of the three projections.
        gradients += attention // 2
        saved = others + block["norm1"] + n + letters.copy(C, C)
        yield stage(name, "query, key, value", gradients, saved, held + R + 2 * n + e * C * C)

    # A token embedding that is the head, too, gets two gradients, which are added up: into a third tensor, unless the
    # first is a copy that nobody else has.
    both = max(E, R) if not letters.casts else R
    sum_of_two = E + both if config.tie_weights else R
    if accumulating:
        # Positions come first: their gradient, what flows, and its sum over the batch.
        place = r * (config.context_length + letters.T) * C + config.tie_weights * E
        yield stage("end of backward", "position embedding", parameters, batch, Z + R + place)
        sum_of_two += E  # what the embedding's gradient is added to
    yield stage("end of backward", "token embedding", parameters, batch, Z + sum_of_two)
    yield stage("optimizer step", "update", parameters, batch, Z + scratch)


def optimizer_bytes(config: GPTConfig, optimizer: str, letters: Letters) -> tuple[int, int]:
    """What an optimizer keeps from step to step, and what it needs besides while it steps."""
    parameters = letters.r * count_params(config)
    if optimizer == "sgd":
        return 0, 0
    if optimizer == "sgd-momentum":
        return parameters, 0
    # Adam counts its steps for each tensor. On a GPU, unless fused, the counters are in the CPU's memory.
    counters = 0 if letters.device == "cuda" and optimizer != "adamw-fused" else 4 * count_tensors(config)
    if optimizer == "adamw-fused":
        scratch = 0
    elif optimizer == "adamw-foreach" or letters.device == "cuda":
        # The root of all second moments at once.
        scratch = parameters
    else:
        # A tensor's root and its quotient, and the quotient of the tensor before. Two blocks have all the neighbours.
        shapes = parameter_shapes(config.but(n_layers=min(config.n_layers, 2)))
        numbers = [prod(shape) for shape in shapes.values()]
        scratch = letters.r * max(before + 2 * this for before, this in pairwise([0, *numbers]))
    return 2 * parameters + counters, scratch


def max_batch_size(config: GPTConfig, memory_bytes: int, sequence_length: int | None = None, **how) -> int:
    """The most sequences a step can read at once without its peak exceeding a memory; 0, if not even one fits.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        memory_bytes: what there is for tensors, from 1 to 10¹⁸. A GPU of 80 GB has less: its context, the
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
    """A quotient rounded up, exact for numbers of any size."""
    return -(-number // by)


def in_gigabytes(size_bytes: int) -> str:
    """A size in GB, 10⁹ bytes, and in GiB, 2³⁰.

    >>> in_gigabytes(6_493_800_000)
    '6.49 GB (6.05 GiB)'

    Raises:
        TypeError, ValueError: the size is no number, or is not finite.
    """
    check_number("size_bytes", size_bytes, "a finite number", lambda size: abs(size) < 10**100)
    return f"{size_bytes / 1e9:,.2f} GB ({size_bytes / 2**30:,.2f} GiB)"
