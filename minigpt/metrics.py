"""What a training run says of itself: rows in a CSV file always, elsewhere when asked."""

import csv
import io
import secrets
from pathlib import Path

from minigpt.files import write_files

#: The columns of metrics.csv. `step` counts the steps done; what was not measured is empty.
COLUMNS = (
    "step",
    "tokens",
    "learning_rate",
    "loss",
    "accuracy",
    "gradient_norm",
    "held_out_loss",
    "held_out_accuracy",
    "held_out_perplexity",
    "held_out_bits_a_byte",
    "tokens_per_second",
)
TRACKERS = ("tensorboard", "wandb")


class MetricsFile:
    """A CSV file, a row at a time; each row is in the file as soon as it is written.

    Numbers are written in full: what is read back is what was measured, bit for bit.

    Args:
        path: the file; the rows it has up to `step` are kept, the others dropped.
        step: where the run goes on; 0 begins anew.
    """

    def __init__(self, path: str | Path, step: int = 0):
        self.path = Path(path)
        #: The rows that were kept.
        self.kept = [row for row in read_metrics(path) if row["step"] <= step] if step and self.path.is_file() else []
        text = lines([dict(zip(COLUMNS, COLUMNS, strict=True)), *self.kept])
        write_files({self.path: lambda path: path.write_text(text, encoding="utf-8")})

    def write(self, row: dict) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines([row]))

    def close(self) -> None:
        """Nothing is left to write."""


def lines(rows: list[dict]) -> str:
    """Rows as CSV."""
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n").writerows(
        {name: "" if value is None else value for name, value in row.items()} for row in rows
    )
    return text.getvalue()


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of a metrics.csv: numbers, or None where nothing was measured.

    A last line that a killed run left half written is dropped.
    """
    text = Path(path).read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]
    rows = list(csv.DictReader(io.StringIO(complete)))
    return [{name: number(value) for name, value in row.items()} for row in rows]


def number(text: str) -> int | float | None:
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)


def open_tracker(name: str, folder: Path, settings: dict, step: int = 0):
    """Where else the rows go: TensorBoard's event files, or Weights & Biases.

    Args:
        name: one of `TRACKERS`.
        folder: the run's; both write below it. W&B sends what it writes unless WANDB_MODE=offline.
        settings: what the run was started with.
        step: where the run goes on.

    Raises:
        ValueError: there is no such tracker.
        ModuleNotFoundError: its package is not installed.
    """
    if name not in TRACKERS:
        raise ValueError(f"trackers must be among {', '.join(TRACKERS)}; got {name!r}")
    try:
        return {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}[name](folder, settings, step)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"the tracker {name} needs a package: pip install {name}") from error


class TensorBoard:
    def __init__(self, folder: Path, settings: dict, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder / "tensorboard", purge_step=step + 1 if step else 0)
        self.writer.add_text("settings", "\n\n".join(f"{name}: {value}" for name, value in settings.items()), step)

    def write(self, row: dict) -> None:
        for name, value in row.items():
            if name != "step" and value is not None:
                self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    def __init__(self, folder: Path, settings: dict, step: int):
        import wandb

        known = folder / "wandb" / "run_id.txt"  # a run that goes on is the same run
        if not (step and known.is_file()):
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(secrets.token_hex(4), encoding="utf-8")
        run_id = known.read_text(encoding="utf-8")
        self.run = wandb.init(
            project="minigpt", name=folder.name, id=run_id, resume="allow", dir=folder, config=settings
        )

    def write(self, row: dict) -> None:
        measured = {name: value for name, value in row.items() if value is not None}
        self.run.log(measured, step=row["step"])

    def close(self) -> None:
        self.run.finish()
