"""GPT: embeddings, a stack of blocks, a head. GPT-2's design, and GPT-3's except for sparse attention.

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

#: A target with this id is not scored: `F.cross_entropy` leaves it out.
IGNORED = -100


class FeedForward(nn.Module):
    """Two linear layers with a nonlinearity between them, applied to each position separately.

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
    """Attention, then feed-forward: each reads a normalised copy of the residual stream and adds to it.

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

    At first the weights are random, from a normal distribution of standard deviation 0.02; the
    matrices that write to the residual stream are divided by √(2L). Biases are 0, and the scales of
    LayerNorms 1.

    Source: Radford et al. (2019), section 2.3; its N residual layers are taken to be 2L, two a block.
    `GPT(CONFIGS["gpt2"])` has 124,439,808 parameters.
    """

    #: True: keep only the input of each block for backward, and run the block again when backward
    #: reaches it. This needs less memory and gives the same numbers, but the blocks' forward is
    #: computed twice (Chen et al. 2016). Set it on one model, or here on the class for all models.
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
        """Draw new random weights from PyTorch's global generator.

        They are drawn in 64 bits, whatever type they are kept in. In 32 bits, PyTorch draws other numbers
        on processors with other instructions, so that one seed would make different models.
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
        """For each position, give every token of the vocabulary a score as the next token.

        Args:
            tokens: token ids, integers, (B, T).
            targets: the ids that really come next, (B, T); -100 marks a position that is not scored.
            cache: for generating: the list that `new_cache` returned. The tokens then continue those
                that were read into it before.

        Returns:
            The logits, (B, T, V); with targets a pair: the logits and the loss, which is the mean
            cross-entropy in nats per token.

        If every target is -100, or B is 0, there is nothing to average, and the loss is nan.

        Raises:
            TypeError, ValueError: tokens or targets are not integers (B, T), one of them is not in
                the vocabulary (see `check_range`), there are more than context_length positions, or
                the cache belongs to another model or was left half filled by an interrupted call.
        """
        start = self.check_cache(cache)
        self.check_tokens(tokens, targets, start)
        x = self.hidden_states(tokens, start, cache)  # (B, T, C)
        logits = self.head(x)  # (B, T, V)
        if targets is None:
            return logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # ()
        return logits, loss

    def hidden_states(self, tokens, start=0, cache=None):
        """What the head reads: (B, T) token ids -> (B, T, C), for arguments that are checked already."""
        x = self.embed(tokens, start)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            if self.checkpointing and cache is None:
                x = checkpoint(block, x, use_reentrant=False)  # (B, T, C)
            else:
                x = block(x, None if cache is None else cache[i])  # (B, T, C)
        return self.norm(x)  # (B, T, C)

    def embed(self, tokens, start=0):
        """The input of the first block: (B, T) token ids -> (B, T, C); `start` is the first token's position."""
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
        """The number of positions that the cache holds, equal in all layers; 0 without a cache."""
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
        """Empty key-value caches, one for each layer, to pass to `forward` while generating.

        Call `truncate` on each of them to go back to an earlier position, and `repeat` on each of them to
        go on in several ways.
        """
        return [KVCache(self.config.context_length) for _ in self.blocks]

    @torch.no_grad()
    def attention_weights(self, tokens):
        """The attention weights of all layers: who looks at whom.

        The model runs in the mode it is in: call `eval()` first to switch dropout off.

        Args:
            tokens: token ids, (B, T).

        Returns:
            A list with one entry for each of the L layers: the weights of its heads, (B, H, T, T).
        """
        self.check_tokens(tokens, None, 0)
        x, weights = self.embed(tokens), []
        for block in self.blocks:
            weights.append(block.attention(block.norm1(x), return_weights=True)[1])
            x = block(x)  # (B, T, C)
        return weights


def check_range(name: str, ids: Tensor, vocab_size: int, besides: int | None = None) -> None:
    """Raise unless every id is from 0 to V - 1, or is `besides`.

    Two kinds of ids are not checked. To look at ids on a GPU, we would have to wait for it; its own kernels refuse
    wrong ids. And some ids have no values yet: while torch.compile or torch.export reads a model, under
    `torch.vmap`, and in fake tensors.
    """
    if ids.device.type != "cpu" or ids.numel() == 0 or torch.compiler.is_compiling():
        return
    looked_at = ids if besides is None else ids.where(ids != besides, 0)
    try:
        low, high = int(looked_at.min()), int(looked_at.max())
    except RuntimeError:  # a tensor without values can't be turned into a number
        return
    if not 0 <= low <= high < vocab_size:
        also = "" if besides is None else f" or {besides}"
        raise ValueError(f"{name} must be from 0 to {vocab_size - 1}{also}; got {low} to {high}")


@torch.no_grad()
def draw_normal(parameter: nn.Parameter, std: float) -> None:
    """Fill a parameter with numbers from a normal distribution of mean 0, drawn in 64 bits."""
    parameter.copy_(torch.empty_like(parameter, dtype=torch.float64).normal_(std=std))


@contextmanager
def evaluating(modules: Iterable[nn.Module]):
    """Switch modules to evaluation, without dropout, inside a `with` block; afterwards they are as before."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
