"""A whole training run: steps, evaluations on held-out text, checkpoints, and at the end the model and its results."""

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from minigpt import pretrained
from minigpt.checks import is_bar_hidden
from minigpt.config import GPTConfig, configuration
from minigpt.data import Batches, Data
from minigpt.model import GPT
from minigpt.train.checkpoint import check_numbers, only_run_in, read_checkpoint
from minigpt.train.evaluation import Evaluation
from minigpt.train.metrics import COLUMNS, MetricsFile, open_tracker
from minigpt.train.parallel import Processes, under_torchrun
from minigpt.train.settings import RECIPES, TrainConfig
from minigpt.train.trainer import Step, Trainer

#: The old and the new names of the mixed precisions: older checkpoints have the old ones.
RENAMED_PRECISIONS = {"bf16": "amp-bf16", "fp16": "amp-fp16"}


@dataclass(frozen=True)
class Trained:
    """The result of `train`.

    Attributes:
        model: the trained model, ready to evaluate. Under fsdp, only this process's shards.
        tokenizer: the tokenizer of its tokens.
        history: the rows of metrics.csv, in the first process all of them.
        held_out: the evaluation of the model on the held-out text.
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
    """Train a model. If a run in the same folder was stopped, continue it.

    Args:
        config: the configuration of the model, or its name in `CONFIGS`.
        data: the text, as `data.prepare` returned it.
        settings: the settings; if not given, the recipe of the configuration's name, or `TrainConfig()`.
        out: a folder for `metrics.csv`, `checkpoint.safetensors` and, at the end, `results.json` and
            the model, which `pretrained.load` can read. None writes nothing.
        processes: the processes that train, with their device; if not given, this process alone, on
            the fastest device there is.
        trackers: more places to send the metrics to: "tensorboard", "wandb". Both need `out`.
        progress: whether to show a bar; if not given, it is shown in a terminal.

    Raises:
        ValueError: the model's vocabulary is not the data's, the text is too short for the model's
            context, or the folder holds another run; nothing is changed then.
        OSError: the disk is full. The last checkpoint is kept.
        FloatingPointError: the loss, a parameter or an optimizer's state is nan or infinite. The last
            checkpoint is kept.
        RuntimeError: another process is training into the folder.
    """
    trainer, out = ready(config, data, settings, out, processes, trackers)
    with only_run_in(out) if out and trainer.processes.first else nullcontext(do_nothing) as stay_alone:
        return run(trainer, data, out, trackers, progress, stay_alone)


def do_nothing() -> None:
    """Do nothing: it stands for the function that `files.locked` yields, where nothing is written."""


def ready(
    config: GPTConfig | str,
    data: Data,
    settings: TrainConfig | None,
    out: str | Path | None,
    processes: Processes | None,
    trackers: Sequence[str],
) -> tuple[Trainer, Path | None]:
    """Check the arguments of `train`, and make of them the trainer and the path of the folder."""
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
    """`train` for checked arguments; `stay_alone` raises if another process is writing into the folder, too."""
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
        trainer.resume(tensors, before)
        facts["seconds"] = before["seconds"]
        if "metrics.csv" in tensors:  # older checkpoints have none
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
            bar.update(batches.tokens_per_step)
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
    """A bar with the tokens read, the tokens a second and the time left; only the first process shows it."""
    a_step = trainer.batches.tokens_per_step
    return tqdm(
        total=trainer.settings.steps * a_step,
        initial=trainer.done * a_step,
        unit="tok",
        unit_scale=True,
        disable=is_bar_hidden(shown) if trainer.processes.first else True,
        dynamic_ncols=True,
    )


class Record:
    """The rows of a run. All processes keep them; if there is a folder, the first process writes them, too."""

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
        #: The time and the step from which on tokens a second are measured.
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
        """Add a row: the step just done, if there was one, and an evaluation on held-out text, if asked for."""
        trainer, row = self.trainer, dict.fromkeys(COLUMNS)
        row["step"], row["tokens"] = trainer.done, trainer.done * trainer.batches.tokens_per_step
        if step:
            row["learning_rate"] = step.learning_rate
            row["loss"], row["accuracy"] = step.loss.item(), step.accuracy.item()
            row["gradient_norm"] = step.gradient_norm.item()
            tokens = (trainer.done - self.since_step) * trainer.batches.tokens_per_step
            row["tokens_per_second"] = round(tokens / (time.monotonic() - self.since))
        if evaluate:
            held_out = trainer.evaluate(self.data, trainer.settings.evaluate_tokens)
            for name in ("loss", "accuracy", "perplexity", "bits_per_byte"):
                row[f"held_out_{name}"] = getattr(held_out, name)
        self.rows.append(row)
        self.stay_alone()
        for writer in self.writers:
            writer.write(row)
        self.since, self.since_step = time.monotonic(), trainer.done

    def summary(self) -> str:
        """The last loss and the last loss on held-out text, for the progress bar."""
        held_out = next(
            (row["held_out_loss"] for row in reversed(self.rows) if row["held_out_loss"] is not None), math.nan
        )
        return f"loss {self.rows[-1]['loss']:.3f}, held out {held_out:.3f}"

    def text(self) -> str:
        """The whole text of metrics.csv; "" in processes that write none."""
        return self.writers[0].text() if self.writers else ""

    def seconds(self) -> float:
        """The seconds that the run has taken until now, without the time that was lost when it was killed."""
        return self.seconds_before + time.monotonic() - self.began

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def check_finite(loss: Tensor | float, what: str, settings: TrainConfig) -> None:
    """Raise if a loss is not finite, so that a good checkpoint is not replaced by that of a lost model."""
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"{what} is {float(loss)}; the last checkpoint is kept. "
            f"A lower learning_rate than {settings.learning_rate:.1e} may help"
        )


def check_same_run(checkpoint: Path, before: dict, now: dict) -> None:
    """Raise unless the run in a checkpoint and the run that is to continue it are the same."""
    missing = [name for name in ("config", "settings", "data", "step", "seconds", "scaler") if name not in before]
    if missing or not {"fingerprint", "source"}.issubset(before["data"]):
        raise ValueError(f"{checkpoint} must be a run's; it doesn't say {', '.join(missing) or 'of which data'}")
    differ = []
    for kind in ("config", "settings"):
        for name, value in now[kind].items():
            was = before[kind].get(name)
            if name == "precision":
                was = RENAMED_PRECISIONS.get(was, was)
            if name not in TrainConfig.FREE and was != value:
                differ.append(f"{name}={was!r}, not {value!r}")
    if before["data"]["fingerprint"] != now["data"]["fingerprint"]:
        differ.append(f"other data, {before['data']['source']!r}")
    if differ:
        raise ValueError(
            f"{checkpoint} is of a run with {'; '.join(differ)}. It was left as it is: choose another folder"
            + longer(before["settings"].get("steps"), now["settings"]["steps"])
        )


def longer(before: int, now: int) -> str:
    """A hint, added to an error, for users who want to continue a run with more steps or fewer."""
    if before == now:
        return ""
    return (
        f". (A run of {before} steps can't become one of {now}: how fast the learning rate falls depends on the number "
        "of steps from the beginning. To train for more or fewer, begin anew)"
    )


def finish(out: Path, trainer: Trainer, data: Data, held_out: Evaluation, facts: dict) -> None:
    """Write the model and its results. All processes must call this function; only the first writes."""
    weights = trainer.weights()
    measured = asdict(held_out) | {"perplexity": held_out.perplexity}  # nan and inf become None below: JSON lacks them
    if trainer.processes.first:
        results = {
            "settings": facts["settings"],
            "data": facts["data"],
            "tokens_read": trainer.done * trainer.batches.tokens_per_step,
            "minutes": round(facts["seconds"] / 60, 1),
            "processes": trainer.processes.count,
            "device": str(trainer.processes.device),
            "torch": torch.__version__,
            "held_out": {name: value if math.isfinite(value) else None for name, value in measured.items()},
        }
        more = {"tokenizer.json": data.tokenizer.to_str(pretty=True), "results.json": pretrained.as_json(results)}
        pretrained.save_weights(trainer.model.config, weights, out, more=more)
    trainer.processes.wait()
