"""The metrics of a training run: always rows in a CSV file, and, if asked for, TensorBoard or Weights & Biases."""

import csv
import io
import secrets
import stat
import warnings
from pathlib import Path

from minigpt.files import write_files

#: The columns of metrics.csv. `step` is the number of steps done; a value that was not measured is empty.
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
    "held_out_bits_per_byte",
    "tokens_per_second",
)
#: The old and the new name of a column that was renamed: files with the old name can still be read.
RENAMED = {"held_out_bits_a_byte": "held_out_bits_per_byte"}
TRACKERS = ("tensorboard", "wandb")


class MetricsFile:
    """A CSV file that is written row by row; each row is in the file as soon as `write` returns.

    Numbers are written in full, so that reading them back gives exactly what was measured. If the file
    is deleted, cut or replaced during the run, the next `write` restores all rows.

    Args:
        path: the file; its rows up to `step` are kept, the others are dropped.
        step: the step at which the run goes on; 0 begins anew.
        saved: the file's text as the checkpoint has it; it is used if the file differs from it.

    Raises:
        ValueError: the run goes on, the checkpoint has no text, and the file is missing or damaged.
    """

    def __init__(self, path: str | Path, step: int = 0, saved: str | None = None):
        self.path = Path(path)
        self.rows = rows_until(self.path, step, saved) if step else []
        self.write_all()

    def write(self, row: dict) -> None:
        self.rows.append(row)
        if not self.is_as_it_was_left():
            self.write_all()
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(lines([row]))
        self.size_bytes = self.path.stat().st_size

    def write_all(self) -> None:
        write_files({self.path: lambda path: path.write_text(self.text(), encoding="utf-8", newline="")})
        self.size_bytes = self.path.stat().st_size

    def is_as_it_was_left(self) -> bool:
        """Whether the file is still as it was last written: a regular file of the same length."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == self.size_bytes

    def text(self) -> str:
        """The whole file."""
        return lines([dict(zip(COLUMNS, COLUMNS, strict=True)), *self.rows])

    def close(self) -> None:
        """Do nothing: every row is in the file already."""


def rows_until(path: Path, step: int, saved: str | None) -> list[dict]:
    """The rows up to a step: those of the file or, if the checkpoint has saved others, those of the checkpoint."""
    try:
        rows = [row for row in read_metrics(path) if row["step"] <= step]
        if saved is None and not (rows and rows[0]["step"] == 0):
            raise ValueError(f"{path} must begin with the row of step 0; it does not")
    except (OSError, ValueError) as error:
        if saved is None:
            raise ValueError(f"the run goes on at step {step} and needs its metrics, but {error}") from None
        rows = []
    if saved is None:
        return rows
    saved_rows = [row for row in parsed(saved, str(path)) if row["step"] <= step]
    if lines(rows) != lines(saved_rows):
        warnings.warn(f"{path} was not as it was left; its rows up to step {step} were restored", stacklevel=2)
    return saved_rows


def lines(rows: list[dict]) -> str:
    """Write rows as the lines of a CSV file."""
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n").writerows(
        {name: "" if value is None else value for name, value in row.items()} for row in rows
    )
    return text.getvalue()


def read_metrics(path: str | Path) -> list[dict]:
    """The rows of a metrics.csv: numbers, or None where nothing was measured.

    A last line that a killed run left half written is dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not such a table; the message names the file and the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file; there is none")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8; {error}") from None
    return parsed(text, str(path))


def parsed(text: str, name: str) -> list[dict]:
    """`read_metrics` for a text; an error calls the text by `name`."""
    table = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
    rows = []
    try:
        columns = [RENAMED.get(name, name) for name in next(table, [])]
        if "step" not in columns:
            raise ValueError("the first line must name the columns, step among them")
        for row in table:
            if len(row) != len(columns):
                raise ValueError(f"there must be {len(columns)} values; got {len(row)}")
            rows.append({column: number(value) for column, value in zip(columns, row, strict=True)})
            if not isinstance(rows[-1]["step"], int):
                raise ValueError(f"step must be a whole number; got {rows[-1]['step']}")
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{name} is damaged in line {max(1, table.line_num)}: {error}") from None
    return rows


def number(text: str) -> int | float | None:
    if not text:
        return None
    return int(text) if text.isdecimal() else float(text)


def open_tracker(name: str, folder: Path, settings: dict, step: int = 0):
    """Open a second place for the rows: TensorBoard's event files, or Weights & Biases.

    Args:
        name: one of `TRACKERS`.
        folder: the folder of the run; both write below it. W&B also sends what it writes to its
            server, unless WANDB_MODE=offline.
        settings: the settings that the run was started with.
        step: the step at which the run goes on.

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
            write_files({known: lambda path: path.write_text(secrets.token_hex(4), encoding="utf-8")})
        run_id = known.read_text(encoding="utf-8")
        self.run = wandb.init(
            project="minigpt", name=folder.name, id=run_id, resume="allow", dir=folder, config=settings
        )

    def write(self, row: dict) -> None:
        measured = {name: value for name, value in row.items() if value is not None}
        self.run.log(measured, step=row["step"])

    def close(self) -> None:
        self.run.finish()
