"""One process or many: PyTorch's DDP and FSDP2 behind a few verbs, so that the loop stays one loop.

Started by `torchrun`, each process trains on its part of every batch. Under "ddp" each has the whole
model; under "fsdp" each keeps its share of the parameters, gradients and optimizer states.
(The parameters alone have to fit into one device once, when they are drawn.)

Sources: Li et al. (2020) for DDP; Rajbhandari et al. (2020) and Zhao et al. (2023) for sharding.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from minigpt.checks import check_choice
from minigpt.model import IGNORED

PARALLEL = ("ddp", "fsdp")


class Processes:
    """The processes that train together; one, if there is nothing else.

    Args:
        parallel: "ddp" or "fsdp", started by torchrun; None for a single process.
        device: "cpu", "cuda", "mps"; the fastest there is, if None.

    Raises:
        ValueError: parallel or device is something else, there are fewer GPUs than processes, or
            this process was not started by torchrun.
    """

    def __init__(self, parallel: str | None = None, device: str | None = None):
        self.parallel = parallel
        self.rank, self.count, local_rank, self.device = start(parallel, device)
        if parallel:
            if self.device.type == "cuda":  # each process on a GPU of its own
                self.device = torch.device("cuda", local_rank)
                torch.cuda.set_device(self.device)
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the module to call in place of the model while training. Under fsdp the model itself is sharded."""
        if self.parallel == "ddp":
            # Gradients are views of what is sent, and need no second place.
            return DistributedDataParallel(model, gradient_as_bucket_view=True)
        if self.parallel == "fsdp":
            mesh = init_device_mesh(self.device.type, (self.count,))
            for block in model.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
        return model

    def gradients_later(self, wrapped: nn.Module, later: bool) -> AbstractContextManager:
        """Within it gradients are summed up in this process only, if `later`: others follow in the batch."""
        if self.parallel == "ddp" and later:
            return wrapped.no_sync()
        if self.parallel == "fsdp":
            wrapped.set_requires_gradient_sync(not later)
        return nullcontext()

    def share(self, items: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Every count-th pair of inputs and targets. All processes get equally many.

        (Under fsdp all must call the model equally often, or they would wait for each other
        forever: who has none left gets one whose targets are not scored.)
        """
        filler = None
        for i, (inputs, targets) in enumerate(items):
            turn = i % self.count
            if turn == 0:
                filler = inputs, torch.full_like(targets, IGNORED)
            if turn == self.rank:
                yield inputs, targets
                filler = None
        if filler is not None:
            yield filler

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.parallel:
            total = values.to(self.device)
            dist.all_reduce(total)
            return total.to(values.device)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        return self.sum(values) / self.count

    def wait(self) -> None:
        """Go on when all are here."""
        if self.parallel:
            dist.barrier()

    def close(self) -> None:
        if self.parallel:
            dist.destroy_process_group()


def start(parallel: str | None, device: str | None) -> tuple[int, int, int, torch.device]:
    """Which process this is, of how many, which of its machine, and its device; see `Processes`."""
    if parallel is not None:
        check_choice("parallel", parallel, PARALLEL)
    if parallel and not under_torchrun():
        raise ValueError(f"parallel={parallel!r} must be started by torchrun; it was not")
    rank, count, local_rank = 0, 1, 0
    if parallel:
        rank, count, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return rank, count, local_rank, torch.device(checked_device(device or fastest_device(parallel), local_rank))


def under_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "LOCAL_RANK" in os.environ


def devices() -> list[str]:
    """The kinds of devices that are available, the fastest first."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    return [name for name, is_available in available.items() if is_available]


def fastest_device(parallel: str | None = None) -> str:
    """The accelerator that is there, or "cpu"; several processes can't share Apple's."""
    return next(name for name in devices() if not (parallel and name == "mps"))


def checked_device(device: str, local_rank: int) -> str:
    """The device, if it is there, and there are enough of them."""
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    counts = {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": 1}
    right = kind in devices() and (device == kind or number.isdecimal() and int(number) < counts[kind])
    if not right:
        numbered = f", or one of {counts['cuda']} GPUs as cuda:0" if "cuda" in devices() else ""
        raise ValueError(f"device must be one of {', '.join(devices())}{numbered}; got {device!r}")
    if device == "cuda" and local_rank >= torch.cuda.device_count():
        raise ValueError(f"there must be a GPU for each process of a machine; there are {torch.cuda.device_count()}")
    return device


def reshard(model: nn.Module) -> None:
    """Under fsdp, give back what the last call put together: the parameters are then the shards."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: its shard, or all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """The full tensor of which this process may hold a shard. All processes have to ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(full: Tensor, parameter: Tensor) -> Tensor:
    """A full tensor on the device of a parameter, and sharded as it is."""
    full = full.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(full, parameter.device_mesh, parameter.placements)
    return full
