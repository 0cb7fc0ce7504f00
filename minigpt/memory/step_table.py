"""The formulas of step.toml, read, evaluated and shown."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import CodeType

from minigpt.config import GPTConfig
from minigpt.memory.formulas import Formula, at_once, evaluate, formula, in_order
from minigpt.table import Table

#: The names that formulas get from outside: fields of GPTConfig, arguments of training_memory, counts of parameters.
GIVEN = (
    *(field.name for field in fields(GPTConfig)),
    *("batch_size", "sequence_length", "precision", "optimizer", "attention"),
    *("checkpointing", "device", "accumulating", "parameters", "tensors", "neighbours"),
)


class Section:
    """Letters by name, each a formula that may use those before it.

    Attributes:
        formulas: the formulas by name, in the order of their evaluation.
        code: all of them, compiled.
    """

    def __init__(self, formulas: Mapping[str, Formula]):
        self.formulas, self.code = formulas, in_order(formulas)


class Layer:
    """The bytes that forward saves in a layer: a formula for each operation."""

    def __init__(self, formulas: Mapping[str, Formula]):
        self.formulas, self.code = formulas, at_once(formulas.values())

    def sizes(self, values: dict[str, object]) -> dict[str, int]:
        """Return the bytes by operation."""
        return dict(zip(self.formulas, evaluate(self.code, values), strict=True))


@dataclass(frozen=True)
class Row:
    """An operation of a stage: a condition, and formulas of gradients, saved activations and temporaries."""

    operation: str
    only_if: Formula
    parts: tuple[Formula, Formula, Formula]
    code: CodeType = field(init=False, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "code", at_once(self.parts, self.only_if))


@dataclass(frozen=True)
class StageRows:
    """A stage of a step: its name, its phase, whether each block goes through it, and its operations."""

    name: str
    phase: str
    each_block: bool
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class StepTable:
    """The formulas of step.toml.

    Attributes:
        letters: letters of the configuration and the settings.
        saved: the bytes that forward saves, by layer. Each layer's sum is a letter of its own.
        sums: letters that build on these.
        undoing: letters that depend on `done`, the number of blocks whose backward is over.
        stages: the stages of a step, in the order of time.
        meanings: the meaning of each letter, and by (layer, operation) the tensors that are saved.
    """

    letters: Section
    saved: Mapping[str, Layer]
    sums: Section
    undoing: Section
    stages: tuple[StageRows, ...]
    meanings: Mapping[str | tuple[str, str], str]

    def values(self, given: Mapping[str, object]) -> tuple[dict[str, object], dict[str, dict[str, int]]]:
        """Return the values of all names but those in `undoing`, and the bytes that forward saves, by layer."""
        values = dict(given)
        evaluate(self.letters.code, values)
        saved = {name: layer.sizes(values) for name, layer in self.saved.items()}
        values |= {name: sum(sizes.values()) for name, sizes in saved.items()}
        evaluate(self.sums.code, values)
        return values, saved

    def stages_of(
        self, values: Mapping[str, object]
    ) -> Iterator[tuple[StageRows, Row, tuple[int, int, int], dict[str, object]]]:
        """Return the stages of a step in the order of time, one for each row whose condition holds.

        Args:
            values: the values of all names but those in `undoing`.

        Returns:
            For each: the stage, its row, the bytes of gradients, saved activations and temporaries, and the values of
            all names.
        """
        for stage in self.stages:
            for done in turns(values["n_layers"]) if stage.each_block else (0,):
                here = {**values, "done": done}
                if stage.each_block:
                    evaluate(self.undoing.code, here)
                for row in stage.rows:
                    sizes = evaluate(row.code, here)
                    if sizes:
                        yield stage, row, sizes, here

    def stage_table(self, values: Mapping[str, object]) -> Table:
        """Return the stages of a step as formulas, and the size of each in GB.

        The formulas are those of the step at hand, without summands of 0. Of the blocks, the one with the most bytes
        counts. Parameters (P) and the optimizer's states (O), which are there all the time, are in the size alone.
        """
        most: dict[tuple[str, str], int] = {}
        for stage, row, sizes, here in self.stages_of(values):
            texts = [part.simplified(here, self.varying) for part in row.parts]
            key = f"{stage.name}: {row.operation}", " | ".join(texts)
            most[key] = max(most.get(key, 0), here["P"] + here["O"] + sum(sizes))
        rows = [(name, text, f"{size / 1e9:.2f}") for (name, text), size in most.items()]
        return Table(("stage: operation", "gradients | saved | temporaries", "GB"), rows, code=(1,))

    @property
    def varying(self) -> tuple[str, ...]:
        """The names that have another value for each block."""
        return ("done", *self.undoing.formulas)

    def saved_table(self, layer: str, values: Mapping[str, object]) -> Table:
        """Return the tensors that forward saves in a layer, by operation, with their formula and their bytes."""
        sizes = self.saved[layer].sizes(values)
        rows = [
            (f"{operation}: {self.meanings[layer, operation]}", each.simplified(values), sizes[operation])
            for operation, each in self.saved[layer].formulas.items()
            if sizes[operation]
        ]
        return Table(("operation: saved", "formula", "bytes"), rows, total=sum(sizes.values()), code=(1,))

    def letter_table(self, values: Mapping[str, object], *tables: Table) -> Table:
        """Return the letters in the formulas of tables, and the letters in their formulas, with their meanings."""
        example = {**values, "done": 0}
        evaluate(self.undoing.code, example)
        formulas = {**self.letters.formulas, **self.sums.formulas, **self.undoing.formulas}
        texts = {name: each.simplified(example, self.varying) for name, each in formulas.items()}
        used, unread = set(), [row[i] for table in tables for row in table.rows for i in table.code]
        while unread:
            new = set(re.findall(r"\w+", unread.pop())) & set(texts) - used
            used |= new
            unread += [texts[name] for name in new]
        rows = [(name, texts[name], self.meanings[name]) for name in texts if name in used]
        return Table(("letter", "formula", "meaning"), rows, code=(0, 1))


def turns(n_layers: int) -> list[int]:
    """Return how many blocks are through when those come that can be the fullest: the last block and the first.

    Every row is linear in that number.
    """
    return sorted({0, n_layers - 1})


def read_table(text: str) -> StepTable:
    """Read formulas from TOML as in step.toml.

    Raises:
        ValueError: a text is no formula, or uses a name that is not above it, or a letter's name is not new. The
            message names the place.
    """
    source = tomllib.loads(text)
    known, meanings = set(GIVEN), {}

    def section(name: str) -> Section:
        formulas = {}
        for letter, (words, meaning) in source[name].items():
            if letter in known:
                raise ValueError(f"step.toml, {name}: each name must be new; got {letter!r} again")
            formulas[letter] = formula(words, known, f"step.toml, {name}, {letter!r}")
            known.add(letter)
            meanings[letter] = meaning
        return Section(formulas)

    def layer(name: str) -> Layer:
        formulas = {}
        for operation, (words, meaning) in source["saved"][name].items():
            formulas[operation] = formula(words, known, f"step.toml, saved of the {name}, {operation!r}")
            meanings[name, operation] = meaning
        return Layer(formulas)

    def stage(name: str, phase: str, rows: list[list[str]], each_block: bool = False) -> StageRows:
        names = known if each_block else known - {"done", *undoing.formulas}
        read = []
        for only_if, operation, *parts in rows:
            where = f"step.toml, {name!r}, {operation!r}"
            if len(parts) != 3:
                raise ValueError(f"{where} must have 3 formulas: gradients, saved, temporaries; got {len(parts)}")
            sizes = tuple(formula(words, names, where) for words in parts)
            read.append(Row(operation, formula(only_if, names, where), sizes))
        return StageRows(name, phase, each_block, tuple(read))

    letters = section("letters")
    saved = {name: layer(name) for name in source["saved"]}
    known |= set(saved)
    sums = section("sums")
    known.add("done")
    undoing = section("undoing")
    return StepTable(letters, saved, sums, undoing, tuple(stage(**each) for each in source["stages"]), meanings)


STEP = read_table(Path(__file__).with_name("step.toml").read_text(encoding="utf-8"))
