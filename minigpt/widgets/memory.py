"""MemoryExplorer: how many bytes a training step takes, and when it is fullest."""

from dataclasses import asdict

import traitlets

from minigpt.checks import check_choice, shown
from minigpt.config import CONFIGS, MAX_SIZES, GPTConfig, configuration
from minigpt.memory import (
    ATTENTIONS,
    DEVICES,
    OPTIMIZERS,
    PRECISIONS,
    TrainingMemory,
    in_gigabytes,
    training_memory,
)
from minigpt.memory.step import Letters
from minigpt.widgets.explorer import Explorer, Refused, bundle, checked, styles
from minigpt.widgets.parameters import Size

#: The name of a configuration that is not in `CONFIGS`.
OWN = "your own"

#: The largest batch. Even with it, the largest model in `CONFIGS` stays below 2⁵³ bytes, where JavaScript is exact.
MAX_BATCH_SIZE = 4_096


class MemoryExplorer(Explorer):
    """The memory of a training step, part by part and stage by stage, and the GPUs it fits on.

    The numbers are those of `minigpt.memory.training_memory`: tensors alone.

    Args:
        config: the first configuration, a `GPTConfig` or the name of one in `CONFIGS`.
        settings: the first values of the traits below.

    Attributes:
        config_name: one of the names in `CONFIGS`, or "your own" if the explorer was given another configuration.
        batch_size: B, from 1 to 4,096; the slider ends at 512.
        sequence_length: T, from 1 to the configuration's context_length; None stands for context_length. When a
            configuration with a shorter context is chosen, T becomes None.
        precision, optimizer, attention, checkpointing: as in `training_memory`.
        device: "cuda" or "cpu".

    Raises:
        TraitError: a setting is impossible or of the wrong type; it stays what it was.
        TypeError: config is neither a configuration nor a name, or there is no such setting.
        ValueError: there is no configuration of that name, or it is too large to count exactly in a
            browser, or the first settings are impossible together.

    If settings become impossible together later, the widget says so, and `memory` raises the error.

    >>> explorer = MemoryExplorer("homework", optimizer="sgd")
    >>> explorer.memory.peak.name, explorer.memory.optimizer_bytes
    ('start of backward', 0)
    """

    _esm = bundle("memory.js")
    _css = styles("memory.css")

    configs = traitlets.List(read_only=True).tag(sync=True)
    config_name = traitlets.Unicode().tag(sync=True)
    batch_size = Size(MAX_BATCH_SIZE).tag(sync=True)
    sequence_length = Size(MAX_SIZES["context_length"], None, allow_none=True).tag(sync=True)
    precision = traitlets.Unicode("fp32").tag(sync=True)
    optimizer = traitlets.Unicode("adamw").tag(sync=True)
    attention = traitlets.Unicode("explicit").tag(sync=True)
    checkpointing = traitlets.Bool(False).tag(sync=True)
    device = traitlets.Unicode("cuda").tag(sync=True)

    _precision = checked("precision", lambda value: check_choice("precision", value, PRECISIONS))
    _optimizer = checked("optimizer", lambda value: check_choice("optimizer", value, OPTIMIZERS))
    _attention = checked("attention", lambda value: check_choice("attention", value, ATTENTIONS))
    _device = checked("device", lambda value: check_choice("device", value, DEVICES))

    def __init__(self, config: GPTConfig | str = "homework", **settings):
        config = configuration(config)
        name = next((name for name, named in CONFIGS.items() if named == config), OWN)
        self._configs = {**CONFIGS, name: config}
        if training_memory(self._configs[name], MAX_BATCH_SIZE).peak_bytes >= 2**53:
            raise ValueError(
                f"config must take less than 2^53 bytes with {MAX_BATCH_SIZE:,} sequences; got {shown(config)}"
            )
        self.set_trait("configs", [[name, asdict(each)] for name, each in self._configs.items()])
        super().__init__(config_name=name, **settings)
        self.set_trait("description", self._describe())

    @traitlets.validate("config_name", "sequence_length")
    def _known_and_short_enough(self, proposal):
        asked = {"config_name": self.config_name, proposal["trait"].name: proposal["value"]}
        try:
            check_choice("config_name", asked["config_name"], tuple(self._configs))
            config, T = self._configs[asked["config_name"]], asked.get("sequence_length")
            Letters(config, 1, T)
        except (TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        return proposal["value"]

    @traitlets.observe("config_name")
    def _shorten(self, change):
        if (self.sequence_length or 1) > self.config.context_length:
            self.sequence_length = None

    @property
    def config(self) -> GPTConfig:
        """The configuration that is chosen."""
        return self._configs[self.config_name]

    @property
    def memory(self) -> TrainingMemory:
        """The memory that is shown; raises a ValueError if there is no such step."""
        return training_memory(
            self.config,
            self.batch_size,
            self.sequence_length,
            self.precision,
            self.optimizer,
            self.attention,
            self.checkpointing,
            self.device,
        )

    def _describe(self) -> str:
        peak = self.memory.peak
        T = self.sequence_length or self.config.context_length
        return (
            "how many bytes a training step takes, part by part and stage by stage. "
            f"Configuration {self.config_name}, batch size {self.batch_size:,}, {T:,} positions, {self.precision}, "
            f"{self.optimizer}, {self.attention} attention, checkpointing {'on' if self.checkpointing else 'off'}, "
            f"on {self.device}: the peak is {in_gigabytes(peak.total_bytes)}, at the stage “{peak.name}”."
        )
