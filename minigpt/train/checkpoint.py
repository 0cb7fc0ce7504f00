"""A training run on disk: it can be killed at any moment, and go on later as if nothing had happened.

A checkpoint is one safetensors file: parameters, the optimizer's states, and in the header everything else
that the run needs. It replaces the checkpoint before it in a single step. Nothing is unpickled.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from minigpt.checks import is_integer, is_number
from minigpt.files import locked, write_files
from minigpt.train.parallel import Processes, gathered, local, reshard, sharded_like


def write_checkpoint(path: str | Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a checkpoint, all of it or nothing.

    Args:
        path: the file. An old file is kept until the new one is complete on disk.
        tensors: the tensors, by name.
        facts: everything else, as values that JSON can hold.

    Raises:
        OSError: the checkpoint can't be written, because the disk is full or the folder forbids it.
            The old file is still there.
    """
    written = json.dumps(facts)
    header = {"facts": written, "crc32": str(checksum(tensors, written))}
    write_files({Path(path): lambda place: save_file(tensors, place, header)})


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read what `write_checkpoint` wrote: the tensors and the facts.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a checkpoint, a part of it was lost or changed, or its facts about
            the run are impossible.
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
    try:
        facts = json.loads(header["facts"])
        check_facts(facts)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a checkpoint; what it says of the run is wrong: {error}") from None
    return tensors, facts


def check_facts(facts: dict) -> None:
    """Raise if a checkpoint's facts about a run are impossible; missing facts are not an error here."""
    if not isinstance(facts, dict):
        raise ValueError(f"facts must be an object; got {facts!r}")
    for name in ("config", "settings", "data", "scaler"):
        if not isinstance(facts.get(name, {}), dict):
            raise ValueError(f"{name} must be an object; got {facts[name]!r}")
    step, seconds = facts.get("step", 0), facts.get("seconds", 0.0)
    if not is_integer(step) or step < 0:
        raise ValueError(f"step must be a whole number of at least 0; got {step!r}")
    if not is_number(seconds) or not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a number of at least 0; got {seconds!r}")
    steps = facts.get("settings", {}).get("steps", math.inf)
    if not isinstance(steps, int | float) or step > steps:
        raise ValueError(f"step must be at most steps={steps!r}; got {step}")


def checksum(tensors: dict[str, Tensor], facts: str) -> int:
    """The CRC-32 of the facts, then of all names and numbers, in the order of the names."""
    crc = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy(), crc)
    return crc


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer | None, keep: bool = True) -> dict[str, Tensor]:
    """Parameters and optimizer states, whole and on the CPU, by name: `model/...`, `optimizer/.../exp_avg`.

    Under fsdp all processes must call this function: it puts their shards together, one tensor at a time.
    Processes with keep=False get an empty dict.
    """
    reshard(model)
    tensors = {}

    def take(name: str, shard: Tensor) -> None:
        full = gathered(shard.detach())
        if keep:
            tensors[name] = full.cpu().contiguous()

    for name, parameter in model.named_parameters():
        take(f"model/{name}", parameter)
        for field, value in (optimizer.state.get(parameter, {}) if optimizer else {}).items():
            take(f"optimizer/{name}/{field}", value)
    return tensors


@contextmanager
def only_run_in(folder: Path) -> Iterator[Callable[[], None]]:
    """Make sure, in a `with` block, that no other process trains into a folder; a killed process releases it.

    It yields a function to call before each write: see `files.locked`.

    Raises:
        RuntimeError: another process is training into the folder already.
        OSError: the folder can't be made, or there is a link in the lock's place.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"out must be a folder; got {str(folder)!r}, which is none")
    is_new, lock = not folder.exists(), folder / ".lock"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(lock, f"{folder} must be free; another process is training into it") as stay_alone:
            yield stay_alone
    finally:
        # A run that was refused before it wrote anything leaves no folder behind.
        with suppress(OSError):
            if is_new and [path.name for path in folder.iterdir()] == [lock.name]:
                lock.unlink()
                folder.rmdir()


@torch.no_grad()
def check_numbers(model: nn.Module, optimizer: torch.optim.Optimizer, processes: Processes, step: int) -> None:
    """Raise if a model is lost, so that a good checkpoint is not replaced. All processes must call this function.

    All parameters and optimizer states are checked: a loss is computed before the step, and can't show what
    the step did. A parameter is lost, too, if its square is too large for 32 bits: no matrix product could use it.

    Raises:
        FloatingPointError: a number is nan or infinite; the message names the first such parameter.
    """
    lost = []
    for name, parameter in model.named_parameters():
        length = torch.linalg.vector_norm(local(parameter).float())
        states = optimizer.state.get(parameter, {}).values()
        if not (length.isfinite() and all(local(state).isfinite().all() for state in states)):
            lost.append(name)
    if processes.sum(torch.tensor(len(lost))):
        raise FloatingPointError(
            f"after step {step} {lost[0] if lost else 'a shard elsewhere'}, or what the optimizer knows of it, is nan "
            f"or infinite: the model is lost; the last checkpoint is kept. A lower learning_rate may help"
        )


@torch.no_grad()
def restore(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put the tensors of `training_state` into a model and its optimizer, which may be sharded.

    Raises:
        ValueError: the tensors belong to another model or another optimizer, or hold nan or infinite
            numbers. Nothing is changed then.
    """
    parameters = dict(model.named_parameters())
    ours = {name: tuple(p.shape) for name, p in parameters.items()}
    theirs = {name.removeprefix("model/"): tuple(t.shape) for name, t in tensors.items() if name.startswith("model/")}
    if ours != theirs:
        differ = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        name = differ[0]
        raise ValueError(f"tensors must be the model's; {name} must be {ours.get(name)}, got {theirs.get(name)}")
    states = {}
    for key, tensor in tensors.items():
        kind, _, rest = key.partition("/")
        if kind not in ("model", "optimizer"):
            continue
        name, _, field = rest.rpartition("/") if kind == "optimizer" else (rest, "", "parameter")
        if name not in parameters or field not in ("parameter", "step", "exp_avg", "exp_avg_sq"):
            raise ValueError(f"tensors must be the model's and AdamW's; got {key}")
        shape = () if field == "step" else ours[name]
        if tuple(tensor.shape) != shape or not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"tensors must hold finite numbers; {key}, {shape}, does not")
        if kind == "optimizer":
            states.setdefault(name, {})[field] = tensor
    for name, fields in states.items():
        if len(fields) != 3 or len(states) != len(parameters):
            raise ValueError(f"tensors must have AdamW's step, exp_avg and exp_avg_sq of all parameters; not of {name}")
    for name, parameter in parameters.items():
        parameter.copy_(sharded_like(tensors[f"model/{name}"], parameter))
    optimizer.state.clear()
    for name, fields in states.items():
        parameter = parameters[name]
        for field, tensor in fields.items():  # the count of steps is never sharded
            placed = tensor.to(parameter.device) if field == "step" else sharded_like(tensor, parameter)
            optimizer.state[parameter][field] = placed
