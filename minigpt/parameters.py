"""Counts of parameters: from a configuration alone, by kind of module, and of a module that exists.

All formulas use the letters of attention.py and model.py, and b = 1 with biases, 0 without.
The tests compare each formula with real modules. A configuration may be given by its name in `CONFIGS`. Sizes
are ints of at least 1, Python's or NumPy's; counts are Python's ints. Any other argument raises a TypeError or a
ValueError that names it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from minigpt.checks import check_choice, check_size, check_switch, shown, type_name
from minigpt.config import CONFIGS, GPTConfig, configuration
from minigpt.table import Table

#: The groups that a model's parameters fall into, in the order in which data passes through them.
GROUPS = ("token embedding", "position embedding", "attention", "feed-forward", "LayerNorm", "output head")


def attention_params(d_model: int, bias: bool = True) -> int:
    """Parameters of one `MultiHeadAttention`: 4·(C² + b·C), whatever the number of heads.

    >>> attention_params(768)
    2362368
    """
    C, b = check_size("d_model", d_model), check_switch("bias", bias)
    return 4 * (C**2 + b * C)


def feed_forward_params(d_model: int, d_ff: int, bias: bool = True) -> int:
    """Parameters of one `FeedForward`: 2·C·F + b·(F + C).

    >>> feed_forward_params(768, 3072)
    4722432
    """
    C, F, b = check_size("d_model", d_model), check_size("d_ff", d_ff), check_switch("bias", bias)
    return 2 * C * F + b * (F + C)


def norm_params(d_model: int, bias: bool = True) -> int:
    """Parameters of one LayerNorm: a scale and, with biases, a shift for each of the C numbers."""
    C, b = check_size("d_model", d_model), check_switch("bias", bias)
    return C + b * C


def params_by_group(config: GPTConfig) -> dict[str, int]:
    """The parameters of a whole model in the six `GROUPS`; they sum to `count_params(config)`."""
    config = configuration(config)
    C, L, b = config.d_model, config.n_layers, config.bias
    return {
        "token embedding": config.vocab_size * C,
        "position embedding": config.context_length * C,
        "attention": L * attention_params(C, b),
        "feed-forward": L * feed_forward_params(C, config.d_ff, b),
        "LayerNorm": (2 * L + 1) * norm_params(C, b),
        "output head": 0 if config.tie_weights else config.vocab_size * C,
    }


def count_params(config: GPTConfig) -> int:
    """Trainable parameters of `GPT(config)`, without building it.

    With biases, a tied head and F = 4·C this is C·(V + T_max + L·(12·C + 13) + 2).

    >>> count_params(CONFIGS["homework"])
    301771520
    """
    return sum(params_by_group(config).values())


def by_module(config: GPTConfig) -> Table:
    """Where the parameters are: a table with a row for each kind of module, how many there are, and their sum.

    Raises:
        ValueError: the rows don't sum to `count_params(config)` (`Table` checks its total).
    """
    config = configuration(config)
    C, L, b = config.d_model, config.n_layers, config.bias
    kinds = [
        ("token_embedding", "V·C", 1, config.vocab_size * C),
        ("position_embedding", "T_max·C", 1, config.context_length * C),
        ("block.norm1", "C + C" if b else "C", L, norm_params(C, b)),
        ("block.attention", "4·(C² + C)" if b else "4·C²", L, attention_params(C, b)),
        ("block.norm2", "C + C" if b else "C", L, norm_params(C, b)),
        ("block.feed_forward", "2·C·F + F + C" if b else "2·C·F", L, feed_forward_params(C, config.d_ff, b)),
        ("norm", "C + C" if b else "C", 1, norm_params(C, b)),
        ("head", "0, tied" if config.tie_weights else "V·C", 1, 0 if config.tie_weights else config.vocab_size * C),
    ]
    rows = [(name, formula, each, times, each * times) for name, formula, times, each in kinds]
    columns = ("module", "formula", "one has", "there are", "parameters")
    return Table(columns, rows, total=count_params(config), code=(0,))


def rule_of_thumb(config: GPTConfig) -> int:
    """12·L·C²: the blocks' matrices alone, for F = 4·C.

    Source: Kaplan et al. (2020), section 2.1, where it is called N; embeddings are not counted.

    >>> rule_of_thumb(CONFIGS["gpt3-175b"])
    173946175488
    """
    config = configuration(config)
    return 12 * config.n_layers * config.d_model**2


def family(names: Iterable[str]) -> Table:
    """A table of named configurations: their sizes, their parameters, and the error of the rule of thumb."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"names must be several names of CONFIGS; got {shown(names)}")
    rows = []
    for name in names:
        check_choice("each of names", name, CONFIGS)
        config = CONFIGS[name]
        total, rule = count_params(config), rule_of_thumb(config)
        sizes = (config.n_layers, config.d_model, config.n_heads)
        rows.append((name, *sizes, total, rule, f"{(rule - total) / total:+.1%}"))
    columns = ("name", "L", "C", "H", "parameters", "12·L·C²", "error")
    return Table(columns, rows)


def count(module: nn.Module, trainable: bool | None = None) -> int:
    """The number of parameters that a module holds; a parameter that is used in two places counts once.

    Args:
        module: any module, also one on the meta device.
        trainable: True: only those with requires_grad. False: only those without. None: all.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {shown(module)} ({type_name(module)})")
    if trainable is not None:
        trainable = check_switch("trainable", trainable)
    return sum(p.numel() for p in module.parameters() if trainable is None or p.requires_grad == trainable)


@dataclass(frozen=True)
class Summary:
    """A model's size as a training log gives it; printed in the form of PyTorch Lightning's summary.

    Attributes:
        trainable_params, other_params: the number of parameters that are trained, and of those that are not.
        size_bytes: the bytes of all parameters.
    """

    trainable_params: int
    other_params: int
    size_bytes: int

    def __str__(self):
        lines = (
            (short(self.trainable_params), "Trainable params"),
            (short(self.other_params), "Non-trainable params"),
            (short(self.trainable_params + self.other_params), "Total params"),
            (f"{self.size_bytes / 1e6:,.3f}", "Total estimated model params size (MB)"),
        )
        return "\n".join(f"{number:<10}{what}" for number, what in lines)

    __repr__ = __str__


def summary(model: nn.Module) -> Summary:
    """Count the parameters of a module and their bytes, as a training log does."""
    trainable, other = count(model, trainable=True), count(model, trainable=False)
    return Summary(trainable, other, sum(p.numel() * p.element_size() for p in model.parameters()))


def short(number: int) -> str:
    """A count in thousands, millions, billions: 301771520 is "301 M", 2362368 is "2.4 M".

    From 100 on, the fraction is cut off, not rounded: 301.77 million is written 301 M.

    Raises:
        TypeError: the number is not an int.
        ValueError: it is negative.
    """
    number = check_size("number", number, least=0)
    power = 0
    while number >= 1000 ** (power + 1) and power < 4:
        power += 1
    rounded_down = number // 1000**power
    digits = str(rounded_down) if power == 0 or rounded_down >= 100 else f"{number / 1000**power:.1f}"
    return f"{digits} {' KMBT'[power]}".strip()


def parameter_shapes(config: GPTConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of each parameter of `GPT(config)`, in its order."""
    C, F, V = config.d_model, config.d_ff, config.vocab_size

    def with_bias(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if config.bias else {})

    shapes = {"token_embedding.weight": (V, C), "position_embedding.weight": (config.context_length, C)}
    for i in range(config.n_layers):
        shapes |= with_bias(f"blocks.{i}.norm1", C)
        for projection in ("query", "key", "value", "output"):
            shapes |= with_bias(f"blocks.{i}.attention.{projection}", C, C)
        shapes |= with_bias(f"blocks.{i}.norm2", C)
        shapes |= with_bias(f"blocks.{i}.feed_forward.expand", F, C)
        shapes |= with_bias(f"blocks.{i}.feed_forward.contract", C, F)
    shapes |= with_bias("norm", C)
    return shapes if config.tie_weights else shapes | {"head.weight": (V, C)}


def count_tensors(config: GPTConfig) -> int:
    """The number of parameter tensors of `GPT(config)`: a weight is one, a bias is one."""
    # Two embeddings; two norms and six linear layers in each block, and the last norm; the head, if it is not tied.
    return 2 + (8 * config.n_layers + 1) * (1 + config.bias) + (not config.tie_weights)
