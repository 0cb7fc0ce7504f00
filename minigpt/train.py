"""Train a GPT: from a text to a model that continues texts.

    python -m minigpt.train --config mini --out runs/mini
    python -m minigpt.train --config mini --data my.txt --vocab-size 512 --out runs/mine
    torchrun --nproc-per-node 2 -m minigpt.train --parallel fsdp --config gpt2 --data hf:NAME --out runs/gpt2

The same command again goes on where the run was stopped or killed, to the same losses, if on the same kind
of machine and on as many processes. `train` is the same as a function; `Trainer` is the loop's body, one
step at a time.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from tqdm import tqdm

from minigpt import pretrained
from minigpt.checkpoint import check_numbers, only_run_in, read_checkpoint, restore, training_state, write_checkpoint
from minigpt.checks import check_choice, check_number, check_size, is_bar_hidden
from minigpt.config import CONFIGS, GPTConfig, configuration
from minigpt.data import Batches, Data, open_data, prepare
from minigpt.evaluation import Evaluation, evaluate
from minigpt.metrics import COLUMNS, TRACKERS, MetricsFile, open_tracker
from minigpt.model import GPT
from minigpt.parallel import PARALLEL, Processes, start, under_torchrun, whole
from minigpt.tokenizer import gpt2_tokenizer

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything about a training but the model and the text.

    Args:
        steps: how many times the parameters are changed.
        batch_size: sequences a step, over all processes.
        accumulate: read each process's share of a batch in so many parts, to save memory: a step
            takes what `memory.training_memory` says for batch_size / accumulate sequences.
        learning_rate: the highest, reached after the warm-up.
        warmup_steps: over so many steps the rate grows from 0, in a straight line.
        final_share: the share of the highest rate that the cosine falls to at the last step.
        weight_decay: pulls matrices towards 0, by this times the rate a step; biases and
            LayerNorms are let alone.
        beta1, beta2: how long Adam remembers gradients, and their squares.
        clip_norm: a gradient longer than this is shortened to it.
        precision: "fp32", or "bf16" or "fp16" for mixed precision: products in 16 bits,
            parameters and sums in 32.
        seed: of the first weights, the batches' order and dropout.
        log_every, evaluate_every, checkpoint_every: steps between two rows of metrics, two
            looks at held-out text, two checkpoints.
        evaluate_tokens, final_tokens: how many held-out tokens are predicted in such a look, and
            at the end.

    Raises:
        TypeError, ValueError: a field is of the wrong type or impossible; the message names it,
            its value and what would be right.

    Sources: Loshchilov and Hutter (2019) for AdamW, (2017) for the cosine; Brown et al. (2020),
    appendix B, for betas, clipping, warm-up and decay.
    """

    steps: int = 1_000
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_share: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    precision: str = "fp32"
    seed: int = 0
    log_every: int = 10
    evaluate_every: int = 250
    checkpoint_every: int = 250
    evaluate_tokens: int = 20_000
    final_tokens: int = 1_000_000

    @property
    def intervals(self) -> tuple[int, int, int]:
        return self.log_every, self.evaluate_every, self.checkpoint_every

    #: The most that a count may be, if not 10¹²: more is a slip of the pen.
    MOST = MappingProxyType({"batch_size": 65_536, "accumulate": 65_536, "seed": 2**64 - 1})
    #: What the other numbers must be, in words and as a test.
    RIGHT = MappingProxyType(
        {
            "learning_rate": ("more than 0 and at most 1,000", lambda rate: 0 < rate <= 1_000),
            "final_share": ("at least 0 and at most 1", lambda share: 0 <= share <= 1),
            "weight_decay": ("at least 0 and at most 1,000", lambda decay: 0 <= decay <= 1_000),
            "beta1": ("at least 0 and less than 1", lambda beta: 0 <= beta < 1),
            "beta2": ("at least 0 and less than 1", lambda beta: 0 <= beta < 1),
            "clip_norm": ("more than 0 and at most 1e30", lambda norm: 0 < norm <= 1e30),
        }
    )
    #: What may be changed when a run goes on: it changes what is said of the run, not the run.
    FREE = ("log_every", "evaluate_every", "checkpoint_every", "evaluate_tokens", "final_tokens")

    def __post_init__(self):
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if field.type is int:
                least = 0 if name in ("warmup_steps", "seed") else 1
                value = check_size(name, value, self.MOST.get(name, 10**12), least)
            elif field.type is float:
                value = check_number(name, value, *self.RIGHT[name])
            object.__setattr__(self, name, value)
        check_choice("precision", self.precision, PRECISIONS)
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate must divide batch_size={self.batch_size}; got {self.accumulate}")


#: How the configurations of those names are trained, if nothing else is said.
RECIPES: Mapping[str, TrainConfig] = MappingProxyType(
    {
        "mini": TrainConfig(learning_rate=4e-3, final_share=0.05),
        "shakespeare": TrainConfig(
            steps=9_000,
            batch_size=16,
            learning_rate=3e-3,
            warmup_steps=200,
            final_share=0.02,
            weight_decay=0.3,
            precision="bf16",
            log_every=20,
        ),
    }
)


def learning_rate(step: int, settings: TrainConfig) -> float:
    """The rate of step 0, 1, ...: up in a straight line, then down half a cosine; its end holds from then on.

    The last step has the lowest rate. (nanoGPT and llm.c are a step behind: there the first step
    after the warm-up has the highest rate once more, and the lowest would be that of a step after
    the last.)

    >>> settings = TrainConfig(steps=1_000, warmup_steps=100, learning_rate=1e-3, final_share=0.1)
    >>> [round(learning_rate(step, settings), 6) for step in (0, 49, 99, 549, 999)]
    [1e-05, 0.0005, 0.001, 0.00055, 0.0001]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = min(1.0, (step - settings.warmup_steps + 1) / max(1, settings.steps - settings.warmup_steps))
    cosine = (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * (settings.final_share + (1 - settings.final_share) * cosine)


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
    """What `Trainer.step` did: scalars, of the batch as it was predicted before the step."""

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
        if settings.precision == "fp16" and (self.processes.parallel == "fsdp" or self.processes.device.type == "cpu"):
            raise ValueError("precision must be bf16 or fp32 on a CPU and under fsdp; got 'fp16'")
        self.model, self.batches, self.settings = model, batches, settings
        #: Steps done.
        self.done = 0
        self.called = self.processes.wrap(model)
        self.optimizer = adamw(model, settings)
        # fp16 can't hold small gradients: they are scaled up before, and down after.
        self.scaler = torch.amp.GradScaler(self.processes.device.type, enabled=settings.precision == "fp16")

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
        torch.manual_seed(self.chance())

        # 3. Read the batch, in parts if it doesn't fit into memory at once. backward adds up the
        #    gradients of the parts, so each counts for its share.
        losses, rights = [], []
        for part in range(settings.accumulate):
            tokens, targets = self.read(part)  # (B, T)
            last = part == settings.accumulate - 1
            with processes.gradients_later(self.called, not last):
                with self.autocast():
                    logits, loss = self.called(tokens, targets)  # (B, T, V), ()
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
        return Step(rate, loss, whole(norm), accuracy)

    def read(self, part: int) -> tuple[Tensor, Tensor]:
        """The part-th part of this process's share of the next batch: inputs and targets, (B, T) each."""
        processes = self.processes
        parts = self.settings.accumulate * processes.count
        share = self.batches(self.done, processes.rank * self.settings.accumulate + part, parts)
        return tuple(tensor.to(processes.device) for tensor in share)

    def chance(self) -> int:
        """A seed for this step in this process."""
        return int(np.random.SeedSequence([self.settings.seed, self.done, self.processes.rank]).generate_state(1)[0])

    def autocast(self):
        """Where matrix products are computed in 16 bits, if the settings say so."""
        dtype = PRECISIONS[self.settings.precision]
        return torch.autocast(self.processes.device.type, dtype, enabled=dtype is not None)

    def evaluate(self, data: Data, max_tokens: int | None = None) -> Evaluation:
        """How good the model is on the held-out text; see `evaluation.evaluate`."""
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

    def go_on(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Be what was saved."""
        missing = [name for name in ("step", "scaler") if name not in facts]
        if missing:
            raise ValueError(f"facts must say {' and '.join(missing)}; they say {', '.join(facts) or 'nothing'}")
        restore(self.model, self.optimizer, tensors)
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])
        self.done = facts["step"]


@dataclass(frozen=True)
class Trained:
    """What `train` returns.

    Attributes:
        model: ready to evaluate. Under fsdp, this process's shards.
        tokenizer: what its tokens mean.
        history: the rows of metrics.csv, in the first process.
        held_out: the model on the held-out text.
    """

    model: GPT
    tokenizer: Tokenizer
    history: list[dict]
    held_out: Evaluation


def train(
    config: GPTConfig | str,
    data: Data,
    settings: TrainConfig | None = None,
    out: str | Path | None = None,
    *,
    processes: Processes | None = None,
    trackers: Sequence[str] = (),
    progress: bool | None = None,
) -> Trained:
    """Train a model, or go on where a run in the same folder was stopped.

    Args:
        config: the model, or the name of one of `CONFIGS`.
        data: what `data.prepare` returned.
        settings: how; the recipe of that name, or `TrainConfig()`, if not given.
        out: a folder for `metrics.csv`, `checkpoint.safetensors` and, at the end, the model, which
            `pretrained.load` reads, and `results.json`. None writes nothing.
        processes: who trains, and on what device; this process alone, on the fastest there is,
            if not given.
        trackers: where else the metrics go: "tensorboard", "wandb". Both need `out`.
        progress: show a bar; if not given, where there is a terminal.

    Raises:
        ValueError: the model's vocabulary is not the data's, the text is too short for its
            context, or the folder's run was another; nothing is changed then.
        OSError: the disk is full. The last checkpoint is kept.
        FloatingPointError: the loss, a parameter or what the optimizer knows of it is no number any
            more. The last checkpoint is kept.
        RuntimeError: another process is training into the folder.
    """
    trainer, out = ready(config, data, settings, out, processes, trackers)
    with only_run_in(out) if out and trainer.processes.first else nullcontext(do_nothing) as stay_alone:
        return run(trainer, data, out, trackers, progress, stay_alone)


def do_nothing() -> None:
    """What stands for `files.locked`'s check where nothing is written."""


def ready(
    config: GPTConfig | str,
    data: Data,
    settings: TrainConfig | None,
    out: str | Path | None,
    processes: Processes | None,
    trackers: Sequence[str],
) -> tuple[Trainer, Path | None]:
    """`train`'s arguments, checked and put together: who trains, and where to."""
    if isinstance(config, str):
        settings = settings or RECIPES.get(config)
    config = configuration(config)
    if out is not None and not str(out):
        raise ValueError("out must name a folder; got ''")
    settings, out = settings or TrainConfig(), None if out is None else Path(out)
    if trackers and out is None:
        raise ValueError(f"trackers must have a folder to write to; got {', '.join(trackers)} and out=None")
    if config.vocab_size != data.tokenizer.get_vocab_size():
        raise ValueError(f"vocab_size must be the data's, {data.tokenizer.get_vocab_size()}; got {config.vocab_size}")
    if processes is None and under_torchrun():
        raise ValueError('processes must be given under torchrun: Processes("ddp") or Processes("fsdp"); got None')
    processes = processes or Processes()

    torch.manual_seed(settings.seed)
    batches = Batches(data.train, config.context_length, settings.batch_size, settings.seed)
    return Trainer(GPT(config).to(processes.device), batches, settings, processes), out


def run(
    trainer: Trainer,
    data: Data,
    out: Path | None,
    trackers: Sequence[str],
    progress: bool | None,
    stay_alone: Callable[[], None],
) -> Trained:
    """`train`, when its arguments have been checked; `stay_alone` raises if another process writes there, too."""
    settings, batches = trainer.settings, trainer.batches
    facts = {
        "config": asdict(trainer.model.config),
        "settings": asdict(settings),
        "data": data.facts,
        "seconds": 0.0,
    }
    checkpoint = out and out / "checkpoint.safetensors"
    saved = None
    if checkpoint and os.path.lexists(checkpoint):
        tensors, before = read_checkpoint(checkpoint)
        check_same_run(checkpoint, before, facts)
        trainer.go_on(tensors, before)
        facts["seconds"] = before["seconds"]
        if "metrics.csv" in tensors:  # checkpoints of before that was stored have none
            saved = tensors["metrics.csv"].numpy().tobytes().decode()

    record = Record(trainer, data, facts, out, trackers, stay_alone, saved)
    with progress_bar(trainer, progress) as bar:
        if trainer.done == 0:
            record.add(None, evaluate=True)
        while trainer.done < settings.steps:
            after = trainer.done + 1
            due = {n for n in settings.intervals if after % n == 0 or after == settings.steps}
            in_table = bool(due & {settings.log_every, settings.evaluate_every})
            step = trainer.step(score=in_table)
            bar.update(batches.tokens_a_step)
            if in_table:
                record.add(step, evaluate=settings.evaluate_every in due)
                bar.set_postfix_str(record.summary())
            if checkpoint and settings.checkpoint_every in due:
                check_finite(step.loss, f"the loss of step {after}", settings)
                stay_alone()
                trainer.save(checkpoint, facts | {"seconds": record.seconds()}, record.text())
    check_numbers(trainer.model, trainer.optimizer, trainer.processes, trainer.done)
    held_out = trainer.evaluate(data, settings.final_tokens)
    check_finite(held_out.loss, "the loss on held-out text", settings)
    if out:
        stay_alone()
        finish(out, trainer, data, held_out, facts | {"seconds": record.seconds()})
    record.close()
    return Trained(trainer.model.eval(), data.tokenizer, record.rows, held_out)


def progress_bar(trainer: Trainer, shown: bool | None) -> tqdm:
    """Tokens read, tokens a second, and how long it will take; in the first process only."""
    a_step = trainer.batches.tokens_a_step
    return tqdm(
        total=trainer.settings.steps * a_step,
        initial=trainer.done * a_step,
        unit="tok",
        unit_scale=True,
        disable=is_bar_hidden(shown) if trainer.processes.first else True,
        dynamic_ncols=True,
    )


class Record:
    """The rows of a run: kept, and by the first process written, if there is a folder."""

    def __init__(
        self,
        trainer: Trainer,
        data: Data,
        facts: dict,
        out: Path | None,
        trackers: Sequence[str],
        stay_alone: Callable[[], None],
        saved: str | None,
    ):
        self.trainer, self.data, self.stay_alone = trainer, data, stay_alone
        self.seconds_before, self.began = facts["seconds"], time.monotonic()
        #: Since when, and since which step, tokens a second are measured.
        self.since, self.since_step = self.began, trainer.done
        self.rows: list[dict] = []
        self.writers = []
        if out and trainer.processes.first:
            out.mkdir(parents=True, exist_ok=True)
            settings = facts["config"] | facts["settings"] | {"source": facts["data"]["source"]}
            self.writers = [open_tracker(name, out, settings, trainer.done) for name in trackers]
            metrics = MetricsFile(out / "metrics.csv", trainer.done, saved)
            self.writers.insert(0, metrics)
            self.rows = list(metrics.rows)

    def add(self, step: Step | None, evaluate: bool) -> None:
        """A row: of the step just done, if there was one, and of held-out text, if asked for."""
        trainer, row = self.trainer, dict.fromkeys(COLUMNS)
        row["step"], row["tokens"] = trainer.done, trainer.done * trainer.batches.tokens_a_step
        if step:
            row["learning_rate"] = step.learning_rate
            row["loss"], row["accuracy"] = step.loss.item(), step.accuracy.item()
            row["gradient_norm"] = step.gradient_norm.item()
            tokens = (trainer.done - self.since_step) * trainer.batches.tokens_a_step
            row["tokens_per_second"] = round(tokens / (time.monotonic() - self.since))
        if evaluate:
            held_out = trainer.evaluate(self.data, trainer.settings.evaluate_tokens)
            for name in ("loss", "accuracy", "perplexity", "bits_a_byte"):
                row[f"held_out_{name}"] = getattr(held_out, name)
        self.rows.append(row)
        self.stay_alone()
        for writer in self.writers:
            writer.write(row)
        self.since, self.since_step = time.monotonic(), trainer.done

    def summary(self) -> str:
        """The last of each, for the progress bar."""
        held_out = next(
            (row["held_out_loss"] for row in reversed(self.rows) if row["held_out_loss"] is not None), math.nan
        )
        return f"loss {self.rows[-1]['loss']:.3f}, held out {held_out:.3f}"

    def text(self) -> str:
        """All of metrics.csv, if there is one."""
        return self.writers[0].text() if self.writers else ""

    def seconds(self) -> float:
        """How long the run has taken until now, what was lost by a kill left out."""
        return self.seconds_before + time.monotonic() - self.began

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def check_finite(loss: Tensor | float, what: str, settings: TrainConfig) -> None:
    """Raise rather than replace a good checkpoint by one of a model that is lost."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{what} is {float(loss)}; the last checkpoint is kept. "
            f"A lower learning_rate than {settings.learning_rate:.1e} may help"
        )


def check_same_run(checkpoint: Path, before: dict, now: dict) -> None:
    """Raise unless a run that goes on is the run that it was."""
    missing = [name for name in ("config", "settings", "data", "step", "seconds", "scaler") if name not in before]
    if missing or not {"fingerprint", "source"}.issubset(before["data"]):
        raise ValueError(f"{checkpoint} must be a run's; it doesn't say {', '.join(missing) or 'of which data'}")
    differ = []
    for kind in ("config", "settings"):
        for name, value in now[kind].items():
            if name not in TrainConfig.FREE and before[kind].get(name) != value:
                differ.append(f"{name}={before[kind].get(name)!r}, not {value!r}")
    if before["data"]["fingerprint"] != now["data"]["fingerprint"]:
        differ.append(f"other data, {before['data']['source']!r}")
    if differ:
        raise ValueError(
            f"{checkpoint} is of a run with {'; '.join(differ)}. It was left as it is: choose another folder"
            + longer(before["settings"].get("steps"), now["settings"]["steps"])
        )


def longer(before: int, now: int) -> str:
    """What there is to say to those who would have a run go on for more steps, or stop sooner."""
    if before == now:
        return ""
    return (
        f". (A run of {before} steps can't become one of {now}: how fast the learning rate falls depends on the number "
        "of steps from the beginning. To train for more or fewer, begin anew)"
    )


def finish(out: Path, trainer: Trainer, data: Data, held_out: Evaluation, facts: dict) -> None:
    """Write the model and its results. All processes have to call it; the first writes."""
    weights = trainer.weights()
    measured = asdict(held_out) | {"perplexity": held_out.perplexity}  # JSON has no nan, and nothing infinite
    if trainer.processes.first:
        results = {
            "settings": facts["settings"],
            "data": facts["data"],
            "tokens_read": trainer.done * trainer.batches.tokens_a_step,
            "minutes": round(facts["seconds"] / 60, 1),
            "processes": trainer.processes.count,
            "device": str(trainer.processes.device),
            "torch": torch.__version__,
            "held_out": {name: value if math.isfinite(value) else None for name, value in measured.items()},
        }
        more = {"tokenizer.json": data.tokenizer.to_str(pretty=True), "results.json": pretrained.as_json(results)}
        pretrained.save_weights(trainer.model.config, weights, out, more=more)
    trainer.processes.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python -m minigpt.train --help`."""
    asked = vars(command_line().parse_args(arguments))
    try:
        train_as_asked(asked)
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError, MemoryError) as error:
        sys.exit(f"error: {str(error) or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last checkpoint")


def train_as_asked(asked: dict) -> None:
    """What `main` does with its arguments."""
    given = {name: value for name, value in asked.items() if value is not None}
    check_choice("--config", asked["config"], CONFIGS)
    config = CONFIGS[asked["config"]].but(**{name: given[name] for name in MODEL_OPTIONS if name in given})
    settings = RECIPES.get(asked["config"], TrainConfig())
    settings = replace(
        settings, **{field.name: given[field.name] for field in fields(TrainConfig) if field.name in given}
    )

    if not asked["out"]:
        raise ValueError("--out must name a folder; got ''")
    parallel = asked["parallel"] or ("ddp" if under_torchrun() else None)
    start(parallel, asked["device"])  # to say what is wrong before texts are read
    out, first = Path(asked["out"]), int(os.environ.get("RANK", 0)) == 0
    with only_run_in(out) if first else nullcontext(do_nothing) as stay_alone:
        data = prepared(asked, config, out / "data") if first else open_data(waited_for(out / "data"))
        processes = Processes(parallel, asked["device"])
        trainer, _ = ready(config, data, settings, out, processes, asked["track"])
        trained = run(trainer, data, out, asked["track"], False if asked["quiet"] else None, stay_alone)
    if processes.first:
        found = trained.held_out
        bits = f"{found.bits_a_byte:.3f} bits a byte, " if found.bytes else ""
        print(
            f"{out}: after {settings.steps:,} steps {bits}loss {found.loss:.3f}, "
            f"accuracy {found.accuracy:.1%} on {found.tokens:,} held-out tokens"
        )
    processes.close()


def prepared(asked: dict, config: GPTConfig, folder: Path) -> Data:
    """The text that is asked for, as tokens in a folder."""
    tokenizer = gpt2_tokenizer() if asked["tokenizer"] == "gpt2" else config.vocab_size
    if asked["tokenizer"] == "gpt2" and config.vocab_size != tokenizer.get_vocab_size():
        raise ValueError(f"vocab_size must be {tokenizer.get_vocab_size()}, GPT-2's; got {config.vocab_size}")
    return prepare(asked["data"], folder, tokenizer, asked["max_bytes"])


def waited_for(folder: Path, hours: float = 24) -> Path:
    """A folder, when the first process has prepared it; that may take longer than processes wait for each other."""
    began, said = time.monotonic(), 0.0
    while not folder.is_dir():
        waited = time.monotonic() - began
        if waited > hours * 3_600:
            raise TimeoutError(f"{folder} must be prepared by the process of rank 0; it isn't after {hours} hours")
        if waited > said + (60 if said else 3):
            print(f"waiting for the process of rank 0 to prepare {folder}, for {waited:.0f} s now", file=sys.stderr)
            said = waited
        time.sleep(0.2)
    return folder


#: The fields of `GPTConfig` that the command line can change.
MODEL_OPTIONS = {
    "vocab_size": int,
    "context_length": int,
    "d_model": int,
    "n_heads": int,
    "n_layers": int,
    "dropout": float,
    "attention_dropout": float,
    "activation": str,
}


def command_line() -> argparse.ArgumentParser:
    """The options: where from, where to, then the fields of `GPTConfig` and of `TrainConfig`."""
    parser = argparse.ArgumentParser(
        "python -m minigpt.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help=f"the model: {', '.join(CONFIGS)}")
    parser.add_argument("--out", required=True, help="the folder of the run")
    parser.add_argument("--data", default="shakespeare", help='"shakespeare", a file, a folder, or hf:NAME')
    parser.add_argument("--max-bytes", type=int, help="read only so much of the text")
    parser.add_argument("--tokenizer", choices=("own", "gpt2"), default="own", help="learn one, or fetch GPT-2's")
    parser.add_argument("--device", help="cpu, cuda, mps; the fastest there is, if not given")
    parser.add_argument("--parallel", choices=PARALLEL, help="under torchrun: copies (ddp) or shards (fsdp)")
    parser.add_argument("--track", nargs="*", choices=TRACKERS, default=(), help="send metrics elsewhere, too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    model = parser.add_argument_group("the model, where it differs from the configuration")
    for name, kind in MODEL_OPTIONS.items():
        model.add_argument(f"--{name.replace('_', '-')}", type=kind)
    training = parser.add_argument_group("the training, where it differs from the recipe")
    for field in fields(TrainConfig):
        training.add_argument(
            f"--{field.name.replace('_', '-')}", type=field.type, help=f"{field.default}, or the recipe's"
        )
    return parser


if __name__ == "__main__":
    main()
