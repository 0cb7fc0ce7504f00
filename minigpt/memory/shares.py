"""How many bytes each of many processes holds of a model that they train together."""

from dataclasses import dataclass
from math import prod

from minigpt.checks import check_choice, check_size
from minigpt.config import GPTConfig, configuration
from minigpt.memory.step import OPTIMIZERS, ceil_div
from minigpt.parameters import count_params, parameter_shapes
from minigpt.precision import PRECISIONS

#: The ways in which N processes share the work.
STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp", "tensor")

#: The most processes that are computed with.
MAX_PROCESSES = 100_000


@dataclass(frozen=True)
class Share:
    """The bytes that one of N processes holds between two steps, and those of its gradients."""

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int

    @property
    def total_bytes(self) -> int:
        """The parts' sum."""
        return self.parameters_bytes + self.gradients_bytes + self.optimizer_bytes


def process_shares(
    config: GPTConfig, processes: int, strategy: str, precision: str = "fp32", optimizer: str = "adamw"
) -> tuple[Share, ...]:
    """Return the bytes of parameters, gradients and optimizer states that each of N processes holds.

    Activations are left out: except under "tensor", they depend on each process's share of the batch alone. Tensors
    that are put together for a moment, and those under way between processes, come on top; with DDP these are the
    gradients' bytes once more, unless it is told gradient_as_bucket_view=True, as `parallel` does.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        processes: N, at most 100,000.
        strategy: "ddp", everything in each; "zero1", each has a share of the optimizer's states; "zero2",
            of the gradients, too; "zero3" or "fsdp", of the parameters, too; "tensor", each computes
            with a part of every matrix.
        precision: one of `PRECISIONS`.
        optimizer: one of `OPTIMIZERS`; Adam's counters, 4 bytes a tensor, are left out.

    ZeRO's shares are cut as `torch.distributed.fsdp.fully_shard` cuts them: of each tensor every process gets as
    many rows (of the first axis) as the others, but the last ones may get fewer, or none. Under "tensor" a
    process has H / N heads, F / N hidden numbers and such a cut of the vocabulary; LayerNorms, positions and the
    biases of output and contract are whole in each.

    Returns:
        One share for each process.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible, or "tensor" where N divides
            n_heads or d_ff with a rest.

    Sources: Li et al. (2020) for DDP; Rajbhandari et al. (2020) for ZeRO; Zhao et al. (2023) for FSDP; Shoeybi
    et al. (2019), section 3, for tensor parallelism.

    >>> from minigpt import CONFIGS
    >>> process_shares(CONFIGS["gpt3-175b"], 64, "fsdp")[0].total_bytes
    43651209216
    """
    config, processes = configuration(config), check_size("processes", processes, MAX_PROCESSES)
    check_choice("strategy", strategy, STRATEGIES)
    check_choice("precision", precision, PRECISIONS)
    check_choice("optimizer", optimizer, OPTIMIZERS)
    for name in ("n_heads", "d_ff"):
        if strategy == "tensor" and getattr(config, name) % processes:
            raise ValueError(f"processes must divide {name}={getattr(config, name)} under 'tensor'; got {processes}")
    # Blocks are alike: one of them counts for all.
    blocks = config.n_layers
    shapes = [
        (name, shape, blocks if name.startswith("blocks.") else 1)
        for name, shape in parameter_shapes(config.but(n_layers=1)).items()
    ]
    number_bytes = PRECISIONS[precision].parameters.itemsize
    states = {"sgd": 0, "sgd-momentum": 1}.get(optimizer, 2)
    whole = number_bytes * count_params(config)
    if strategy == "ddp":
        return (Share(whole, whole, states * whole),) * processes
    shares = []
    for rank in range(processes):
        if strategy == "tensor":
            numbers = (times * tensor_part(name, shape, rank, processes) for name, shape, times in shapes)
        else:
            numbers = (times * rows_of(rank, processes, shape) for _, shape, times in shapes)
        part = number_bytes * sum(numbers)
        parameters = part if strategy in ("zero3", "fsdp", "tensor") else whole
        gradients = whole if strategy == "zero1" else part
        shares.append(Share(parameters, gradients, states * part))
    return tuple(shares)


def rows_of(rank: int, processes: int, shape: tuple[int, ...]) -> int:
    """Numbers in the rank-th process's rows of a tensor that is cut along its first axis, as torch.chunk does it."""
    rows = ceil_div(shape[0], processes)
    return max(0, min(rows, shape[0] - rank * rows)) * prod(shape[1:])


def tensor_part(name: str, shape: tuple[int, ...], rank: int, processes: int) -> int:
    """Numbers of a parameter that the rank-th process has under tensor parallelism."""
    if name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
        return prod(shape) // processes
    if name.endswith(("output.bias", "contract.bias")) or "norm" in name or "position" in name:
        return prod(shape)
    return rows_of(rank, processes, shape)
