"""A training step as PyTorch really allocates it: measured with the same arguments that step.py predicts from."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import ProfilerActivity, profile, record_function

from minigpt.checks import check_choice, check_size, check_switch
from minigpt.config import GPTConfig, configuration
from minigpt.memory import ATTENTIONS, DEVICES, OPTIMIZERS, PRECISIONS
from minigpt.model import GPT

#: The phases of a step, in the order of time.
PHASES = ("forward", "backward", "optimizer", "clearing")


class MeasuredStep:
    """A model, an optimizer and a batch of random tokens, ready to train. Arguments as in `training_memory`.

    (Where gradients accumulate, the optimizer steps nevertheless each time: here only bytes matter.)

    >>> from minigpt import CONFIGS
    >>> step = MeasuredStep(CONFIGS["mini"], batch_size=2)
    >>> for phase in step.phases.values():
    ...     phase()
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
        config, batch_size = configuration(config), check_size("batch_size", batch_size)
        T = config.context_length if sequence_length is None else check_size("sequence_length", sequence_length)
        check_choice("precision", precision, PRECISIONS)
        check_choice("optimizer", optimizer, OPTIMIZERS)
        check_choice("attention", attention, ATTENTIONS)
        check_choice("device", device, DEVICES)
        with torch.device(device), default_dtype(PRECISIONS[precision].parameters):
            model = GPT(config)
        model.checkpointing = check_switch("checkpointing", checkpointing)
        for block in model.blocks:
            block.attention.fused = attention == "fused"
        self.model = model
        self.optimizer = make_optimizer(optimizer, model)
        self.precision, self.device = precision, device
        self.accumulating = check_switch("accumulating", accumulating)
        shape = (batch_size, T)
        self.tokens = torch.randint(config.vocab_size, shape, device=device)
        self.targets = torch.randint(config.vocab_size, shape, device=device)
        self.logits = self.loss = None

    def forward(self) -> None:
        """Predict, and keep the logits, as a training loop does that scores them."""
        with PRECISIONS[self.precision].autocast(self.device):
            self.logits, self.loss = self.model(self.tokens, self.targets)

    def backward(self) -> None:
        """Compute the gradients. (Those of fp16 are not scaled, which changes their bytes by three numbers.)"""
        self.loss.backward()

    def optimizer_step(self) -> None:
        """Change the parameters."""
        self.optimizer.step()

    def clearing(self) -> None:
        """Let go of all that the next step makes anew, or adds to."""
        if not self.accumulating:
            self.optimizer.zero_grad(set_to_none=True)
        self.logits = self.loss = None

    @property
    def phases(self) -> dict[str, Callable[[], None]]:
        """The functions that make up a step, by phase, in the order of time."""
        names = (self.forward, self.backward, self.optimizer_step, self.clearing)
        return dict(zip(PHASES, names, strict=True))

    @property
    def standing_bytes(self) -> int:
        """The bytes that are there between two steps: parameters, optimizer states, batch, gradients to add to."""
        states = [t for state in self.optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
        tensors = [*self.model.parameters(), self.tokens, self.targets]
        tensors += [p.grad for p in self.model.parameters() if p.grad is not None]
        tensors += [t for t in states if t.device.type == self.tokens.device.type]
        return sum(t.nbytes for t in tensors)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create tensors of floating-point numbers in another type, inside a `with`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_optimizer(name: str, model: torch.nn.Module) -> torch.optim.Optimizer:
    """One of `memory.OPTIMIZERS`, with PyTorch's defaults."""
    options = {
        "adamw": {},
        "adamw-fused": {"fused": True},
        "adamw-foreach": {"foreach": True},
        "sgd": {"lr": 1e-3},
        "sgd-momentum": {"lr": 1e-3, "momentum": 0.9},
    }[name]
    kind = torch.optim.AdamW if name.startswith("adamw") else torch.optim.SGD
    return kind(model.parameters(), **options)


def saved_by_forward(step: MeasuredStep) -> int:
    """Do a step's forward pass and count the bytes that autograd saves of it.

    Each storage counts once; parameters are left out. `training_memory(...).saved_bytes` predicts the result.
    """
    parameters = {p.untyped_storage()._cdata for p in step.model.parameters()}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        step.forward()
    return sum(storage.nbytes() for storage in saved.values())


@dataclass(frozen=True)
class Trace:
    """The allocations and releases of PyTorch's allocator for CPUs in one step.

    Attributes:
        start_bytes: the bytes that were allocated before the step.
        live_bytes: the bytes that were allocated after each allocation and each release.
        phases: the phase that each of them fell into.
        operations: the operations that each of them happened in, the outermost first.
    """

    start_bytes: int
    live_bytes: list[int]
    phases: list[str]
    operations: list[tuple[str, ...]]

    @property
    def peak_bytes(self) -> int:
        """The most bytes that were allocated at once."""
        return max(self.live_bytes)

    @property
    def peak_phase(self) -> str:
        """The phase that the peak fell into."""
        return self.phases[self.live_bytes.index(self.peak_bytes)]


def trace(step: MeasuredStep) -> Trace:
    """Do a step on a CPU, which creates the optimizer's states, and record a second one with the profiler."""
    for phase in step.phases.values():
        phase()
    start = step.standing_bytes
    # The profiler announces itself on stderr unless told otherwise.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    # Some versions of it warn that they forget events, unless told to keep them (acc_events).
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as recorded:
        for name, phase in step.phases.items():
            with record_function(name):
                phase()
    events = recorded.profiler.kineto_results.events()
    # What allocates at the same nanosecond stays in the order it was recorded in.
    changes = sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns())
    spans = sorted((e for e in events if e.name() != "[memory]"), key=lambda e: (e.start_ns(), -e.end_ns()))
    live, open_spans, following = start, [], 0
    recorded_step = Trace(start, [], [], [])
    for change in changes:
        now = change.start_ns()
        while following < len(spans) and spans[following].start_ns() <= now:
            open_spans.append(spans[following])
            following += 1
        open_spans = [span for span in open_spans if span.end_ns() >= now]
        names = tuple(span.name() for span in open_spans)
        phase = next((name for name in names if name in PHASES), None)
        if phase:
            live += change.nbytes()
            recorded_step.live_bytes.append(live)
            recorded_step.phases.append(phase)
            recorded_step.operations.append(names)
    return recorded_step
