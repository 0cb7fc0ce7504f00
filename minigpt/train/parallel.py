"""One process or many: PyTorch's DDP and FSDP2 behind a few functions, so that there is one training loop for all.

When `torchrun` starts several processes, each trains on its part of every batch. Under "ddp" each has the
whole model; under "fsdp" each keeps its share of the parameters, gradients and optimizer states.
(Only at the beginning, when they are drawn, all parameters have to fit into each device.)

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
    """The processes that train together; there may be only one.

    Args:
        parallel: "ddp" or "fsdp", for processes that torchrun started; None for a single process.
        device: "cpu", "cuda", "mps"; None: the fastest device there is.

    Raises:
        ValueError: parallel or device has another value, there are fewer GPUs than processes, or
            parallel is given and torchrun did not start this process.
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
            # Gradients are views of the buffers that are sent, so that they need no memory of their own.
            return DistributedDataParallel(model, gradient_as_bucket_view=True)
        if self.parallel == "fsdp":
            mesh = init_device_mesh(self.device.type, (self.count,))
            for block in model.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(model, mesh=mesh)
        return model

    def gradients_later(self, wrapped: nn.Module, later: bool) -> AbstractContextManager:
        """A context for backward. If `later`, gradients are not yet exchanged: more parts of the batch follow."""
        if self.parallel == "ddp" and later:
            return wrapped.no_sync()
        if self.parallel == "fsdp":
            wrapped.set_requires_gradient_sync(not later)
        return nullcontext()

    def share(self, items: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's share of the pairs of inputs and targets, one in `count`. All processes get equally many.

        (Under fsdp all processes must call the model equally often; else they would wait for each
        other forever. So a process that has no pair left gets one whose targets are not scored.)
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
        """Wait until all processes have come to this point."""
        if self.parallel:
            dist.barrier()

    def close(self) -> None:
        if self.parallel:
            dist.destroy_process_group()


def start(parallel: str | None, device: str | None) -> tuple[int, int, int, torch.device]:
    """This process's number, the number of processes, its number on its machine, and its device; see `Processes`."""
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
    """The accelerator of this machine, or "cpu" if there is none; several processes can't share Apple's."""
    return next(name for name in devices() if not (parallel and name == "mps"))


def checked_device(device: str, local_rank: int) -> str:
    """Return the device; raise unless it is there, and there are enough of its kind for all processes."""
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
    """Under fsdp, free the whole parameters that the last call of the model put together; only the shards remain."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: its shard, or all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(tensor: Tensor) -> Tensor:
    """The whole tensor, if this process holds only a shard of it. All processes must call this function."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(full: Tensor, parameter: Tensor) -> Tensor:
    """Move a full tensor to the device of a parameter, and shard it like the parameter."""
    full = full.to(parameter.device)
    if isinstance(parameter, DTensor):
        return distribute_tensor(full, parameter.device_mesh, parameter.placements)
    return full
