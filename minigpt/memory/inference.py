"""How many bytes: reading a prompt, and the keys and values that are kept of it."""

from dataclasses import dataclass

from minigpt.checks import check_choice, check_size, check_switch, shown
from minigpt.config import GPTConfig, configuration
from minigpt.memory.step import Sizes
from minigpt.parameters import count_params


def kv_cache_bytes(config: GPTConfig, batch_size: int = 1, length: int | None = None, precision: str = "fp32") -> int:
    """Keys and values of all layers: 2·L·B·S·C numbers of e bytes.

    Args:
        config: the model, or the name of one in `CONFIGS`.
        batch_size: B, sequences that are continued.
        length: S, positions there is room for. `KVCache` reserves context_length, which it is if not given.
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
    sizes = Sizes(config, batch_size, length, precision, "explicit", "cuda")
    return 2 * sizes.config.n_layers * sizes.n


@dataclass(frozen=True)
class InferenceMemory:
    """What `inference_memory` returns.

    Attributes:
        parameters_bytes: P.
        kv_cache_bytes: 0 without a cache.
        temporaries_bytes: the most that is there besides at once.
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
    """The memory of reading a prompt of T positions at once, in eval mode and under torch.no_grad().

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
    sizes = Sizes(config, batch_size, sequence_length, precision, attention, device)
    n, f, A = sizes.n, sizes.f, sizes.e * sizes.weights
    # What the block reads, and its norm; queries, keys, values.
    inside = 5 * n
    if sizes.explicit:
        softmax = inside + n + 3 * A + 2 * sizes.e * sizes.T**2
        # The weights, what they found, the same merged, and the projection of it.
        attended = max(softmax, inside + A + 3 * n)
    else:
        attended = inside + 2 * n
    # What the block reads, the sum so far, its norm; feed-forward's share.
    expanded = 3 * n + 2 * f + n
    return InferenceMemory(
        parameters_bytes=sizes.r * count_params(config),
        kv_cache_bytes=kv_cache_bytes(config, batch_size, precision=precision) if cache else 0,
        temporaries_bytes=8 * sizes.N + max(attended, expanded, n + sizes.Z),
    )
