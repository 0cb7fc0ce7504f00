"""Training, one step at a time: `Trainer.step` is the central function."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from minigpt.data import Batches, Data
from minigpt.model import GPT
from minigpt.precision import PRECISIONS
from minigpt.train.checkpoint import check_numbers, restore, training_state, write_checkpoint
from minigpt.train.evaluation import Evaluation, evaluate
from minigpt.train.parallel import Processes, gathered
from minigpt.train.settings import TrainConfig, learning_rate


def adamw(model: nn.Module, settings: TrainConfig) -> torch.optim.AdamW:
    """An AdamW with weight decay for matrices, and none for vectors (biases and LayerNorms)."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )


@dataclass(frozen=True)
class Step:
    """The result of `Trainer.step`, all scalars; loss and accuracy are those before the parameters changed."""

    learning_rate: float
    loss: Tensor
    gradient_norm: Tensor
    accuracy: Tensor | None


class Trainer:
    """Trains a model, one step at a time.

    Args:
        model: the model to train, on the device of the processes.
        batches: the batch for each step.
        settings: see `TrainConfig`.
        processes: the processes that train together; this process alone, if not given.

    Raises:
        ValueError: the batch can't be divided into equal parts, or fp16 is asked for where it doesn't work.
    """

    def __init__(self, model: GPT, batches: Batches, settings: TrainConfig, processes: Processes | None = None):
        self.processes = processes or Processes(device=str(model.head.weight.device))
        parts = settings.accumulate * self.processes.count
        if settings.batch_size % parts:
            raise ValueError(
                f"batch_size must be a multiple of accumulate × processes = {parts}; got {settings.batch_size}"
            )
        if settings.precision == "amp-fp16" and (
            self.processes.parallel == "fsdp" or self.processes.device.type == "cpu"
        ):
            raise ValueError("precision must be amp-bf16 or fp32 on a CPU and under fsdp; got 'amp-fp16'")
        self.model, self.batches, self.settings = model, batches, settings
        #: The number of steps done.
        self.done = 0
        #: What to call while training: the model itself, or under ddp PyTorch's wrapper around it.
        self.wrapped = self.processes.wrap(model)
        self.optimizer = adamw(model, settings)
        # fp16 can't hold small gradients: the loss is scaled up before backward, the gradients down after.
        self.scaler = torch.amp.GradScaler(self.processes.device.type, enabled=settings.precision == "amp-fp16")

    def step(self, score: bool = True) -> Step:
        """Read a batch, and change the parameters so that they would have predicted it better.

        Args:
            score: whether to compute the accuracy, too; for that, all logits are read once more.
        """
        settings, processes = self.settings, self.processes
        self.model.train()

        # 1. The learning rate, how far to go in this step: small at first, then large, then smaller
        #    and smaller.
        rate = learning_rate(self.done, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        # 2. The random numbers for dropout depend only on the seed, the step and the process. A run
        #    that was killed draws the same numbers again, and no random state has to be stored.
        torch.manual_seed(self.step_seed())

        # 3. Read the batch, in parts if it doesn't fit into memory at once. backward adds up the
        #    gradients of the parts, so the loss of each part is divided by the number of parts.
        losses, rights = [], []
        for part in range(settings.accumulate):
            tokens, targets = self.read(part)  # (B, T)
            last = part == settings.accumulate - 1
            with processes.gradients_later(self.wrapped, not last):
                with self.autocast():
                    logits, loss = self.wrapped(tokens, targets)  # (B, T, V), ()
                self.scaler.scale(loss / settings.accumulate).backward()
            losses.append(loss.detach())
            if score:
                rights.append((logits.argmax(-1) == targets).float().mean())

        # 4. Shorten the gradient if it is too long. A few batches have a huge gradient, and one step
        #    along it could undo a thousand others.
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)  # ()

        # 5. Step: AdamW changes every parameter. Then the gradients are cleared; else the gradients
        #    of the next batch would be added to them.
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

        self.done += 1
        loss = processes.mean(torch.stack(losses).mean())  # ()
        accuracy = processes.mean(torch.stack(rights).mean()) if score else None
        return Step(rate, loss, gathered(norm), accuracy)

    def read(self, part: int) -> tuple[Tensor, Tensor]:
        """Part number `part` of this process's share of the next batch: inputs and targets, (B, T) each."""
        processes = self.processes
        parts = self.settings.accumulate * processes.count
        share = self.batches(self.done, processes.rank * self.settings.accumulate + part, parts)
        return tuple(tensor.to(processes.device) for tensor in share)

    def step_seed(self) -> int:
        """The seed of dropout for this step in this process."""
        return int(np.random.SeedSequence([self.settings.seed, self.done, self.processes.rank]).generate_state(1)[0])

    def autocast(self):
        """A context in which matrix products are computed in 16 bits, if the settings say so."""
        return PRECISIONS[self.settings.precision].autocast(self.processes.device.type)

    def evaluate(self, data: Data, max_tokens: int | None = None) -> Evaluation:
        """Evaluate the model on the held-out text; see `evaluation.evaluate`."""
        return evaluate(
            self.model,
            data.held_out,
            data.token_bytes,
            max_tokens,
            autocast=self.autocast(),
            processes=self.processes,
        )

    def save(self, path: Path, facts: dict, metrics: str = "") -> None:
        """Write a checkpoint that also holds the text of metrics.csv. All processes must call it; the first writes."""
        check_numbers(self.model, self.optimizer, self.processes, self.done)
        tensors = training_state(self.model, self.optimizer, keep=self.processes.first)
        if self.processes.first:
            if metrics:
                tensors["metrics.csv"] = torch.frombuffer(bytearray(metrics.encode()), dtype=torch.uint8)
            write_checkpoint(path, tensors, {**facts, "step": self.done, "scaler": self.scaler.state_dict()})
        self.processes.wait()

    def weights(self) -> dict[str, Tensor]:
        """The whole parameters, on the CPU. All processes must call it; only the first gets the parameters."""
        tensors = training_state(self.model, None, keep=self.processes.first)
        return {name.removeprefix("model/"): tensor for name, tensor in tensors.items()}

    def resume(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Continue from a saved state: parameters, the optimizer's states, the number of steps done."""
        missing = [name for name in ("step", "scaler") if name not in facts]
        if missing:
            raise ValueError(f"facts must say {' and '.join(missing)}; they say {', '.join(facts) or 'nothing'}")
        restore(self.model, self.optimizer, tensors)
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        self.done = facts["step"]
