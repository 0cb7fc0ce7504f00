"""A training run on disk, so that it can be killed at any moment and go on as if it had not been.

A checkpoint is one safetensors file: parameters, the optimizer's states, and in the header what else
the run needs. It replaces the one before it in a single step. Nothing is unpickled.
"""

import fcntl
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minigpt.files import write_files
from minigpt.parallel import like, reshard, whole


def write_checkpoint(path: str | Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a checkpoint, all of it or nothing.

    Args:
        path: the file. If there is one, it is kept until the new one is complete on disk.
        tensors: by name.
        facts: what can be said in JSON.

    Raises:
        OSError: it can't be written, because the disk is full or the folder forbids it. What
            was there before is still there.
    """
    written = json.dumps(facts)
    header = {"facts": written, "crc32": str(checksum(tensors, written))}
    write_files({Path(path): lambda place: save_file(tensors, place, header)})


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `write_checkpoint` wrote: the tensors and the facts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a checkpoint, or a part of it was lost or altered.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a checkpoint; there is no such file")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} must be a checkpoint; it is damaged: {error}. It was left as it is") from None
    if "crc32" not in header or "facts" not in header:
        raise ValueError(f"{path} must be a checkpoint; it holds tensors and nothing about a run")
    if header["crc32"] != str(checksum(tensors, header["facts"])):
        raise ValueError(f"{path} is damaged: its content doesn't fit its checksum. It was left as it is")
    return tensors, json.loads(header["facts"])


def checksum(tensors: dict[str, Tensor], facts: str) -> int:
    """The CRC-32 of the facts, then of all names and numbers, in the order of the names."""
    crc = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy(), crc)
    return crc


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer | None, keep: bool = True) -> dict[str, Tensor]:
    """Parameters and optimizer states, whole and on the CPU, by name: `model/...`, `optimizer/.../exp_avg`.

    Under fsdp all processes have to call it: it puts their shards together, a tensor at a time.
    Those that don't keep them get nothing.
    """
    reshard(model)
    tensors = {}

    def take(name: str, shard: Tensor) -> None:
        full = whole(shard.detach())
        if keep:
            tensors[name] = full.cpu().contiguous()

    for name, parameter in model.named_parameters():
        take(f"model/{name}", parameter)
        for field, value in (optimizer.state.get(parameter, {}) if optimizer else {}).items():
            take(f"optimizer/{name}/{field}", value)
    return tensors


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Let no other process train into a folder meanwhile; a killed process lets go of it.

    Raises:
        RuntimeError: another does already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"{folder} must be free; another process is training into it") from None
        yield


@torch.no_grad()
def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put what `training_state` returned into a model and its optimizer, sharded as they are.

    Raises:
        ValueError: the tensors are another model's.
    """
    parameters = dict(model.named_parameters())
    ours = {name: tuple(p.shape) for name, p in parameters.items()}
    theirs = {name.removeprefix("model/"): tuple(t.shape) for name, t in tensors.items() if name.startswith("model/")}
    if ours != theirs:
        differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        name = differ[0]
        raise ValueError(f"tensors must be the model's; {name} must be {ours.get(name)}, got {theirs.get(name)}")
    for name, parameter in parameters.items():
        parameter.copy_(like(tensors[f"model/{name}"], parameter))
    optimizer.state.clear()
    for key, tensor in tensors.items():
        kind, _, rest = key.partition("/")
        if kind == "optimizer":
            name, _, field = rest.rpartition("/")
            parameter = parameters[name]
            one = tensor.dim() == 0  # the count of steps, which is never sharded
            optimizer.state[parameter][field] = tensor.to(parameter.device) if one else like(tensor, parameter)
