"""ParameterExplorer: how many parameters a GPT has, and where they are."""

import traitlets

from minigpt.checks import check_size
from minigpt.config import CONFIGS, MAX_SIZES, GPTConfig, configuration
from minigpt.parameters import count_params
from minigpt.widgets.explorer import Explorer, Refused, bundle

#: The fields of `GPTConfig` that have a control.
FIELDS = ("n_layers", "d_model", "n_heads", "vocab_size", "context_length", "tie_weights")


#: The largest width. Even if the other sizes are at their largest, too, JavaScript counts exactly.
MAX_D_MODEL = 100_000


class Size(traitlets.Int):
    """A trait that is an int from 1 to `most`; NumPy's ints are accepted, True is not."""

    def __init__(self, most: int, default_value=1, **options):
        super().__init__(default_value, **options)
        self.most = most

    def validate(self, obj, value) -> int:
        try:
            return check_size(self.name, value, self.most)
        except (TypeError, ValueError) as error:
            raise Refused(str(error)) from error


class ParameterExplorer(Explorer):
    """The parameter count of a GPT and its split, with sliders for the sizes.

    The models are like GPT-2: F = 4·C, biases everywhere.

    Args:
        config: the first configuration, a `GPTConfig` or the name of one in `CONFIGS`.

    Attributes:
        n_layers, d_model, n_heads, vocab_size, context_length, tie_weights: the fields of `GPTConfig`, d_model
            up to 100,000.

    Raises:
        TraitError: a size is set to a value that is not an int, below 1 or too large; it stays what it was.
        TypeError: config is neither a configuration nor a name.
        ValueError: there is no configuration of that name, or it has no biases or another F than 4·C.

    >>> explorer = ParameterExplorer("homework")
    >>> explorer.n_layers = 24
    >>> count_params(explorer.config)
    537900800
    """

    _esm = bundle("parameters.js")

    presets = traitlets.List(read_only=True).tag(sync=True)
    n_layers = Size(MAX_SIZES["n_layers"]).tag(sync=True)
    d_model = Size(MAX_D_MODEL).tag(sync=True)
    n_heads = Size(MAX_D_MODEL).tag(sync=True)
    vocab_size = Size(MAX_SIZES["vocab_size"]).tag(sync=True)
    context_length = Size(MAX_SIZES["context_length"]).tag(sync=True)
    tie_weights = traitlets.Bool().tag(sync=True)

    def __init__(self, config: GPTConfig | str = "homework"):
        config = configuration(config)
        if not config.bias or config.d_ff != 4 * config.d_model:
            raise ValueError(f"config must have biases and d_ff = 4·d_model; got {config}")
        self.set_trait("presets", [[name, traits_of(preset)] for name, preset in CONFIGS.items()])
        super().__init__(**traits_of(config))
        self.set_trait(
            "description",
            f"how many parameters a GPT has, with sliders for its sizes. With {config.n_layers} layers of width "
            f"{config.d_model:,}, a vocabulary of {config.vocab_size:,} and {config.context_length:,} positions "
            f"it has {count_params(config):,}.",
        )

    @property
    def config(self) -> GPTConfig:
        """The configuration that the sliders show; raises a ValueError if n_heads doesn't divide d_model."""
        return GPTConfig(**{name: getattr(self, name) for name in FIELDS})


def traits_of(config: GPTConfig) -> dict[str, int | bool]:
    """The fields of a configuration that the widget shows."""
    return {name: getattr(config, name) for name in FIELDS}
