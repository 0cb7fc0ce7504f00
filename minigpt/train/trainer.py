"""One step of training at a time: `Trainer.step` is the heart of it."""

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
    """AdamW that lets matrices decay and leaves vectors, biases and LayerNorms, alone."""
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
    """The result of `Trainer.step`: scalars, of the batch as it was predicted before the step."""

    learning_rate: float
    loss: Tensor
    gradient_norm: Tensor
    accuracy: Tensor | None


class Trainer:
    """Training, a step at a time.

    Args:
        model: what is trained, on the device of the processes.
        batches: what is read when.
        settings: see `TrainConfig`.
        processes: who trains together; this process alone, if not given.

    Raises:
        ValueError: the batch can't be shared out, or fp16 is asked for where it doesn't work.
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
        #: Steps done.
        self.done = 0
        #: The model as it is called while training: under ddp, inside PyTorch's wrapper.
        self.wrapped = self.processes.wrap(model)
        self.optimizer = adamw(model, settings)
        # fp16 can't hold small gradients: they are scaled up before, and down after.
        self.scaler = torch.amp.GradScaler(self.processes.device.type, enabled=settings.precision == "amp-fp16")

    def step(self, score: bool = True) -> Step:
        """Read a batch, and change the parameters so that they would have predicted it better.

        Args:
            score: whether to count the right predictions, too, which takes a look at all logits.
        """
        settings, processes = self.settings, self.processes
        self.model.train()

        # 1. How far to go this time: carefully at first, then boldly, then ever more carefully.
        rate = learning_rate(self.done, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

        # 2. Chance, for dropout, follows from the seed and the step. A run that was killed draws
        #    the same again, and no random state has to be stored.
        torch.manual_seed(self.step_seed())

        # 3. Read the batch, in parts if it doesn't fit into memory at once. backward adds up the
        #    gradients of the parts, so each counts for its share.
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

        # 4. A rare batch has a huge gradient, and one such step could undo a thousand others.
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)  # ()

        # 5. Step: AdamW changes every parameter. Then forget the gradients, or they would be
        #    added to those of the next batch.
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

        self.done += 1
        loss = processes.mean(torch.stack(losses).mean())  # ()
        accuracy = processes.mean(torch.stack(rights).mean()) if score else None
        return Step(rate, loss, gathered(norm), accuracy)

    def read(self, part: int) -> tuple[Tensor, Tensor]:
        """The part-th part of this process's share of the next batch: inputs and targets, (B, T) each."""
        processes = self.processes
        parts = self.settings.accumulate * processes.count
        share = self.batches(self.done, processes.rank * self.settings.accumulate + part, parts)
        return tuple(tensor.to(processes.device) for tensor in share)

    def step_seed(self) -> int:
        """The seed of dropout for this step in this process."""
        return int(np.random.SeedSequence([self.settings.seed, self.done, self.processes.rank]).generate_state(1)[0])

    def autocast(self):
        """Where matrix products are computed in 16 bits, if the settings say so."""
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
        """Write a checkpoint, with metrics.csv's text in it. All processes have to call it; the first writes."""
        check_numbers(self.model, self.optimizer, self.processes, self.done)
        tensors = training_state(self.model, self.optimizer, keep=self.processes.first)
        if self.processes.first:
            if metrics:
                tensors["metrics.csv"] = torch.frombuffer(bytearray(metrics.encode()), dtype=torch.uint8)
            write_checkpoint(path, tensors, {**facts, "step": self.done, "scaler": self.scaler.state_dict()})
        self.processes.wait()

    def weights(self) -> dict[str, Tensor]:
        """The parameters, whole and on the CPU. All processes have to call it; the first gets them."""
        tensors = training_state(self.model, None, keep=self.processes.first)
        return {name.removeprefix("model/"): tensor for name, tensor in tensors.items()}

    def resume(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Take up a saved state: parameters, the optimizer's states, the steps done."""
        missing = [name for name in ("step", "scaler") if name not in facts]
        if missing:
            raise ValueError(f"facts must say {' and '.join(missing)}; they say {', '.join(facts) or 'nothing'}")
        restore(self.model, self.optimizer, tensors)
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        self.done = facts["step"]
