"""How many bytes it takes to read a prompt, and to keep its keys and values."""

from dataclasses import dataclass

from minigpt.checks import check_choice, check_size, check_switch, shown
from minigpt.config import GPTConfig, configuration
from minigpt.memory.step import Letters


def kv_cache_bytes(config: GPTConfig, batch_size: int = 1, length: int | None = None, precision: str = "fp32") -> int:
    """Return the bytes of the keys and values of all layers: 2·L·B·S·C numbers of e bytes.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        batch_size: B, sequences that are continued.
        length: S, positions there is room for; context_length, which `KVCache` reserves, if not given.
        precision: one of `PRECISIONS`.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible.

    >>> from minigpt import CONFIGS
    >>> kv_cache_bytes(CONFIGS["homework"])
    125829120
    """
    most = configuration(config).context_length
    if length is not None and check_size("length", length) > most:
        raise ValueError(f"length must be at most context_length={most}; got {shown(length)}")
    letters = Letters(config, batch_size, length, precision, device="cuda")
    return 2 * letters.L * letters.n


@dataclass(frozen=True)
class InferenceMemory:
    """The memory of reading a prompt, as `inference_memory` returns it.

    Attributes:
        parameters_bytes: the model's parameters.
        kv_cache_bytes: keys and values; 0 without a cache.
        temporaries_bytes: the most that is there besides at once, the prompt included.
    """

    parameters_bytes: int
    kv_cache_bytes: int
    temporaries_bytes: int

    @property
    def peak_bytes(self) -> int:
        """The parts' sum."""
        return self.parameters_bytes + self.kv_cache_bytes + self.temporaries_bytes


def inference_memory(
    config: GPTConfig,
    batch_size: int = 1,
    sequence_length: int | None = None,
    precision: str = "fp32",
    attention: str = "explicit",
    cache: bool = True,
    device: str = "cpu",
) -> InferenceMemory:
    """Return the memory of reading a prompt of T positions at once, in eval mode and under torch.no_grad().

    The steps that follow, of one token each, need less.

    Args:
        cache: whether keys and values are kept, in a cache with room for context_length positions.
        config, batch_size, sequence_length, attention, device: as in `training_memory`.
        precision: "fp32" or "bf16". (Under autocast, the weights would be there twice.)

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible.

    >>> from minigpt import CONFIGS
    >>> inference_memory(CONFIGS["homework"]).peak_bytes
    1624427520
    """
    check_choice("precision", precision, ("fp32", "bf16"))
    check_switch("cache", cache)
    config = configuration(config).but(dropout=0.0, attention_dropout=0.0)
    letters = Letters(config, batch_size, sequence_length, precision, attention=attention, device=device)
    n, f, A = letters.n, letters.f, letters.e * letters.A
    # The block's input and its norm; queries, keys, values.
    inside = 5 * n
    if letters.explicit:
        softmax = inside + n + 3 * A + 2 * letters.e * letters.T**2
        # The weights, their product with the values, the same merged, and its projection.
        attended = max(softmax, inside + A + 3 * n)
    else:
        attended = inside + 2 * n
    # The block's input, the sum so far, its norm; feed-forward's two wide tensors and its result.
    expanded = 3 * n + 2 * f + n
    return InferenceMemory(
        parameters_bytes=letters.P,
        kv_cache_bytes=kv_cache_bytes(config, batch_size, precision=precision) if cache else 0,
        temporaries_bytes=8 * letters.N + max(attended, expanded, n + letters.Z),
    )
