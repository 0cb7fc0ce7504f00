"""The shape of a GPT: one frozen dataclass and the configurations that have names."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from minigpt.checks import (
    check_choice,
    check_dropout,
    check_heads,
    check_size,
    check_switch,
    check_text,
    is_size,
    shown,
)

ACTIVATIONS = ("gelu_tanh", "gelu", "relu")

#: The largest sizes allowed. They are far above those of any model, and small enough that anything computed
#: from a configuration takes about a second at most.
MAX_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "vocab_size": 10**9,
        "context_length": 10**9,
        "d_model": 10**9,
        "n_heads": 10**9,
        "n_layers": 10_000,
        "d_ff": 4 * 10**9,
    }
)


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Everything that has to be decided before a GPT can be built.

    NumPy's numbers are accepted, and become Python's. `MAX_SIZES` says how large a size may be.

    Args:
        vocab_size: V, the number of different tokens.
        context_length: the largest number of positions that the model can read at once. The
            length of an actual input is T, and T <= context_length.
        d_model: C, the width of the model: how many numbers stand for one position.
        n_heads: H, the number of attention heads in a layer. Each is D = C / H wide, so H must
            divide C.
        n_layers: L, the number of blocks, one on top of the other.
        d_ff: F, the width of the feed-forward layer inside a block; 4·C if not given.
        dropout: the probability, in [0, 1), that a number is set to zero while training.
        attention_dropout: the same for attention weights; equal to dropout if not given. If it
            is above 0, PyTorch has no fused attention for a CPU, and training takes longer.
        bias: whether linear layers and LayerNorms add a bias. Those of GPT-2 and GPT-3 do.
        tie_weights: whether the output head uses the token embedding's matrix, as in GPT-2,
            or a matrix of its own.
        activation: the feed-forward layer's nonlinearity: "gelu_tanh" (GPT-2's approximation
            of GELU), "gelu" (the exact one) or "relu".

    Raises:
        TypeError: a field has the wrong type: a size is not an int, or a switch is not a bool.
        ValueError: a field has the right type but an impossible value, or a size is above its
            bound in `MAX_SIZES`. Both errors name the field, its value and what would be right.

    Source: Radford et al. (2019), section 2.3, for GPT-2; Brown et al. (2020), section 2.1, for GPT-3.

    >>> GPTConfig(vocab_size=50257, context_length=1024, d_model=768, n_heads=12, n_layers=12).d_head
    64
    """

    vocab_size: int
    context_length: int
    d_model: int
    n_heads: int
    n_layers: int
    d_ff: int | None = None
    dropout: float = 0.0
    attention_dropout: float | None = None
    bias: bool = True
    tie_weights: bool = True
    activation: str = "gelu_tanh"

    def __post_init__(self):
        if self.d_ff is None and is_size(self.d_model):
            object.__setattr__(self, "d_ff", 4 * int(self.d_model))
        if self.attention_dropout is None:
            object.__setattr__(self, "attention_dropout", self.dropout)
        for field, most in MAX_SIZES.items():
            object.__setattr__(self, field, check_size(field, getattr(self, field), most))
        check_heads(self.d_model, self.n_heads)
        for field in ("dropout", "attention_dropout"):
            object.__setattr__(self, field, check_dropout(field, getattr(self, field)))
        for field in ("bias", "tie_weights"):
            object.__setattr__(self, field, check_switch(field, getattr(self, field)))
        check_choice("activation", check_text("activation", self.activation), ACTIVATIONS)

    @property
    def d_head(self) -> int:
        """D = C / H, the width of one attention head."""
        return self.d_model // self.n_heads

    def but(self, **changes) -> "GPTConfig":
        """A copy of this configuration with some fields changed; the copy is checked again.

        If d_ff was 4·C, it is 4·C of the new d_model, too. If attention_dropout was equal to dropout,
        it is equal to the new dropout, too. (A field that is itself among the changes gets the value given.)

        >>> CONFIGS["gpt2"].but(d_model=1024, n_heads=16).d_ff
        4096
        """
        if self.d_ff == 4 * self.d_model:
            changes = {"d_ff": None, **changes}
        if self.attention_dropout == self.dropout:
            changes = {"attention_dropout": None, **changes}
        return replace(self, **changes)


def gpt2(d_model: int, n_heads: int, n_layers: int) -> GPTConfig:
    """A GPT-2: byte-pair vocabulary of 50,257, 1,024 positions (Radford et al. 2019, Table 2)."""
    return GPTConfig(vocab_size=50_257, context_length=1_024, d_model=d_model, n_heads=n_heads, n_layers=n_layers)


def gpt3(d_model: int, n_heads: int, n_layers: int) -> GPTConfig:
    """A GPT-3: GPT-2's vocabulary, 2,048 positions (Brown et al. 2020, section 2.1 and Table 2.1)."""
    return gpt2(d_model, n_heads, n_layers).but(context_length=2_048)


#: The configurations that have names. Where a row of the GPT-3 paper's Table 2.1 contradicts
#: itself, a comment says what we chose.
CONFIGS: Mapping[str, GPTConfig] = MappingProxyType(
    {
        # Chapters 5 and 7 train it while they run.
        "tiny": GPTConfig(vocab_size=1_024, context_length=64, d_model=96, n_heads=4, n_layers=3),
        # Small enough to learn something in a minute on two CPU cores.
        "mini": GPTConfig(vocab_size=1_024, context_length=128, d_model=128, n_heads=4, n_layers=4),
        # The model that comes with the package: as large as fits into 6 MB, in half precision and
        # with its tokenizer.
        "shakespeare": GPTConfig(
            vocab_size=1_024,
            context_length=256,
            d_model=224,
            n_heads=7,
            n_layers=4,
            dropout=0.15,
            attention_dropout=0.0,
        ),
        # The homework: GPT-2 Large's width and heads with GPT-2 Small's twelve layers.
        "homework": gpt2(1_280, 20, 12),
        # Radford et al. (2019), Table 2. The paper gives no number of heads; the released
        # models have heads 64 wide.
        "gpt2": gpt2(768, 12, 12),
        "gpt2-medium": gpt2(1_024, 16, 24),
        "gpt2-large": gpt2(1_280, 20, 36),
        "gpt2-xl": gpt2(1_600, 25, 48),
        # Brown et al. (2020), Table 2.1.
        "gpt3-small": gpt3(768, 12, 12),
        "gpt3-medium": gpt3(1_024, 16, 24),
        "gpt3-large": gpt3(1_536, 16, 24),
        # The table says 24 heads of 128, which would make 3,072, not 2,048. 16 heads of 128 fit.
        # The number of parameters does not depend on the number of heads.
        "gpt3-xl": gpt3(2_048, 16, 24),
        "gpt3-2.7b": gpt3(2_560, 32, 32),
        "gpt3-6.7b": gpt3(4_096, 32, 32),
        # The table says d_model = 5,140 with 40 heads of 128, which make 5,120.
        "gpt3-13b": gpt3(5_120, 40, 40),
        "gpt3-175b": gpt3(12_288, 96, 96),
    }
)


def configuration(config: GPTConfig | str) -> GPTConfig:
    """Return a configuration as it is; for a name in `CONFIGS`, the configuration of that name.

    Raises:
        TypeError: config is neither a configuration nor a name.
        ValueError: there is no configuration of that name.
    """
    if isinstance(config, str) and config in CONFIGS:
        return CONFIGS[config]
    if not isinstance(config, GPTConfig):
        error = ValueError if isinstance(config, str) else TypeError
        raise error(f"config must be a GPTConfig or one of {', '.join(CONFIGS)}; got {shown(config)}")
    return config
