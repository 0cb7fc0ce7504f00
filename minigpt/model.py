"""GPT: embeddings, a stack of blocks, a head. GPT-2's design; GPT-3's, but for sparse attention.

Letters besides attention.py's: F = d_ff, V = vocab_size, L = n_layers, T_max = context_length.
"""

import math
from collections.abc import Iterable
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minigpt.attention import KVCache, MultiHeadAttention
from minigpt.config import GPTConfig

#: A target that is not scored: what `F.cross_entropy` leaves out.
IGNORED = -100


class FeedForward(nn.Module):
    """Two linear layers with a nonlinearity between, applied to every position by itself.

    Takes and returns (B, T, C). Source: Vaswani et al. (2017), section 3.3; GELU as in GPT
    (Radford et al. 2018). At C = 768 with biases: 8·768² + 5·768 = 4,722,432 parameters.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.activation = config.activation
        self.expand = nn.Linear(config.d_model, config.d_ff, config.bias)  # weight (F, C), bias (F,): F·C + F
        self.contract = nn.Linear(config.d_ff, config.d_model, config.bias)  # weight (C, F), bias (C,): C·F + C

    def forward(self, x):
        hidden = self.expand(x)  # (B, T, F)
        if self.activation == "relu":
            active = F.relu(hidden)  # (B, T, F)
        else:
            approximate = "tanh" if self.activation == "gelu_tanh" else "none"
            active = F.gelu(hidden, approximate=approximate)  # (B, T, F)
        return self.contract(active)  # (B, T, C)


class Block(nn.Module):
    """Attention, then feed-forward; each reads a normalised copy and adds to the residual stream.

    Takes and returns (B, T, C). LayerNorm stands before each part (pre-LayerNorm): Radford et
    al. (2019), section 2.3. At C = 768 with biases: 12·768² + 13·768 = 7,087,872 parameters.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.d_model, bias=config.bias)  # weight (C,), bias (C,): C + C
        self.attention = MultiHeadAttention(
            config.d_model, config.n_heads, config.context_length, config.attention_dropout, config.bias
        )
        self.norm2 = nn.LayerNorm(config.d_model, bias=config.bias)  # weight (C,), bias (C,): C + C
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, cache: KVCache | None = None):
        x = x + self.dropout(self.attention(self.norm1(x), cache))  # (B, T, C)
        return x + self.dropout(self.feed_forward(self.norm2(x)))  # (B, T, C)


class GPT(nn.Module):
    """A decoder-only transformer: token ids in, a score for every possible next token out.

    Args:
        config: the sizes; see `GPTConfig`.

    Initialised with weights from a normal distribution of standard deviation 0.02, those that
    write to the residual stream divided by √(2L), biases 0.

    Source: Radford et al. (2019), section 2.3; its N residual layers are read as 2L.
    `GPT(CONFIGS["gpt2"])` has 124,439,808 parameters.
    """

    #: True: for backward, keep what enters a block and nothing else of it, and run the block once
    #: more when backward arrives there. Less memory, the same numbers, a forward more arithmetic
    #: (Chen et al. 2016). Set it on one model, or here for all of them.
    checkpointing = False

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)  # weight (V, C): V·C
        self.position_embedding = nn.Embedding(config.context_length, config.d_model)  # weight (T_max, C): T_max·C
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)  # weight (C,), bias (C,): C + C
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)  # weight (V, C)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight  # (V, C)
        self.init_weights()

    def init_weights(self):
        """Draw all weights anew, from PyTorch's global generator.

        They are drawn in 64 bits, whatever they are kept in: PyTorch draws 32-bit numbers otherwise on
        processors with other instructions, and one seed would make two models.
        """
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layers)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            elif name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
                draw_normal(parameter, residual_std)
            else:
                draw_normal(parameter, 0.02)

    def forward(self, tokens, targets=None, cache: list[KVCache] | None = None):
        """Score every token of the vocabulary as the successor of every position.

        Args:
            tokens: token ids, integers, (B, T).
            targets: the ids that really come next, (B, T); -100 where there is none to score.
            cache: what `new_cache` returned, while generating: tokens then continue what
                was read before.

        Returns:
            logits (B, T, V), or with targets the pair of it and the loss: the mean
            cross-entropy in nats a token.

        Where every target is -100, or B is 0, there is nothing to average, and the loss is nan.

        Raises:
            TypeError, ValueError: tokens or targets are not integers (B, T), one of them is not in
                the vocabulary (see `check_range`), the context is exceeded, or the cache is
                another model's or was left half filled by an interrupted call.
        """
        start = self.check_cache(cache)
        self.check_tokens(tokens, targets, start)
        x = self.embed(tokens, start)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            if self.checkpointing and cache is None:
                x = checkpoint(block, x, use_reentrant=False)  # (B, T, C)
            else:
                x = block(x, None if cache is None else cache[i])  # (B, T, C)
        x = self.norm(x)  # (B, T, C)
        logits = self.head(x)  # (B, T, V)
        if targets is None:
            return logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # ()
        return logits, loss

    def embed(self, tokens, start=0):
        """What enters the first block: (B, T) token ids -> (B, T, C); `start` is the first position."""
        positions = torch.arange(start, start + tokens.size(1), device=tokens.device)  # (T,)
        meaning = self.token_embedding(tokens)  # (B, T, C)
        place = self.position_embedding(positions)  # (T, C)
        return self.dropout(meaning + place)  # (B, T, C)

    def check_tokens(self, tokens, targets, start):
        given = {"tokens": tokens} if targets is None else {"tokens": tokens, "targets": targets}
        for name, ids in given.items():
            if not isinstance(ids, Tensor):
                raise TypeError(f"{name} must be a tensor of token ids (B, T); got {type(ids).__name__}")
        if tokens.dim() != 2 or tokens.dtype not in (torch.int64, torch.int32):
            got = f"{tokens.dtype} {tuple(tokens.shape)}"
            raise ValueError(f"tokens must be integers of shape (B, T), torch.int64 or torch.int32; got {got}")
        T, context_length, V = tokens.size(1), self.config.context_length, self.config.vocab_size
        if T == 0 or start + T > context_length:
            held = f" with the {start} in the cache" if start else ""
            raise ValueError(f"tokens must fill 1 to {context_length} positions{held}; got {start + T}")
        if tokens.is_meta and not self.token_embedding.weight.is_meta:
            raise ValueError("tokens must hold ids for a model that holds weights; got a meta tensor, which has none")
        check_range("tokens", tokens, V)
        if targets is None:
            return
        if targets.shape != tokens.shape or targets.dtype != torch.int64 or targets.is_meta != tokens.is_meta:
            raise ValueError(
                f"targets must be torch.int64 and shaped like tokens, {tuple(tokens.shape)}; "
                f"got {targets.dtype} {tuple(targets.shape)}{' of no values' if targets.is_meta else ''}"
            )
        check_range("targets", targets, V, besides=IGNORED)

    def check_cache(self, cache) -> int:
        """How many positions the cache holds, in every layer; 0 without one."""
        if cache is None:
            return 0
        if not isinstance(cache, list | tuple) or not all(isinstance(layer, KVCache) for layer in cache):
            raise TypeError(f"cache must be what new_cache() returns, a KVCache for each layer; got {cache!r}")
        lengths = {layer.length for layer in cache}
        if len(cache) != len(self.blocks) or len(lengths) != 1:
            raise ValueError(
                f"cache must come from new_cache() and hold the same positions in all {len(self.blocks)} layers; "
                f"got {len(cache)} layers with {sorted(lengths)} positions"
            )
        return lengths.pop()

    def new_cache(self) -> list[KVCache]:
        """An empty key-value cache, one for each layer, to pass to `forward` while generating.

        `truncate` each of them to go back to an earlier position, `repeat` each of them to go on in several ways.
        """
        return [KVCache(self.config.context_length) for _ in self.blocks]

    @torch.no_grad()
    def attention_weights(self, tokens):
        """Who looks at whom.

        The model is run as it is: call `eval()` first to leave out dropout.

        Args:
            tokens: token ids, (B, T).

        Returns:
            For each of the L layers the weights of its heads, (B, H, T, T).
        """
        self.check_tokens(tokens, None, 0)
        x, weights = self.embed(tokens), []
        for block in self.blocks:
            weights.append(block.attention(block.norm1(x), return_weights=True)[1])
            x = block(x)  # (B, T, C)
        return weights


def check_range(name: str, ids: Tensor, vocab_size: int, besides: int | None = None) -> None:
    """Raise unless every id is from 0 to V - 1, or is `besides`: as far as ids can be looked at.

    Those on a GPU are not: that would mean to wait for it, and its own kernels refuse them. Nor can those be that
    have no values yet: while torch.compile or torch.export reads a model, under `torch.vmap`, in fake tensors.
    """
    if ids.device.type != "cpu" or ids.numel() == 0 or torch.compiler.is_compiling():
        return
    looked_at = ids if besides is None else ids.where(ids != besides, 0)
    try:
        low, high = int(looked_at.min()), int(looked_at.max())
    except RuntimeError:  # PyTorch's answer to whoever asks such a tensor for a number
        return
    if not 0 <= low <= high < vocab_size:
        also = "" if besides is None else f" or {besides}"
        raise ValueError(f"{name} must be from 0 to {vocab_size - 1}{also}; got {low} to {high}")


@torch.no_grad()
def draw_normal(parameter: nn.Parameter, std: float) -> None:
    """Fill a parameter from a normal distribution around 0, drawn in 64 bits."""
    parameter.copy_(torch.empty_like(parameter, dtype=torch.float64).normal_(std=std))


@contextmanager
def evaluating(modules: Iterable[nn.Module]):
    """Modules without dropout for a while, and as they were afterwards."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
