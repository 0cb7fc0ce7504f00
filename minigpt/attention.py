"""Causal multi-head self-attention, every line explained, and the cache that makes generating fast.

Letters for shapes, here and everywhere in the course:

    B  sequences in the batch          H  attention heads
    T  positions read in this call     D  width of one head, C / H
    S  positions that can be seen:     C  width of the model, d_model = H·D
       the cached ones, then these T
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.checks import check_dropout, check_heads, check_size, check_switch


class MultiHeadAttention(nn.Module):
    """Every position looks at itself and the positions before it, and takes what it needs.

        head_h = softmax(Q_h K_hᵀ / √D) V_h        for h = 1 ... H
        output = concat(head_1, ..., head_H) W_o + b_o

    Args:
        d_model: C, the width of the input and of the output.
        n_heads: H, the number of attention heads; must divide d_model.
        context_length: the largest number of positions that can be seen at once.
        dropout: probability, in [0, 1), that an attention weight is dropped (set to 0) while training.
        bias: whether the four projections add a bias.

    Raises:
        TypeError, ValueError: an argument has the wrong type or an impossible value; the message
            names the argument, its value and what would be right.

    Source: Vaswani et al. (2017), section 3.2, equation 1; section 3.2.3 for the causal mask.
    At d_model = 768 with biases it has 4·(768² + 768) = 2,362,368 parameters.
    """

    #: True: use PyTorch's fused kernel wherever it is faster; the output is the same. False: always
    #: use the explicit formula. Set it on one module, or here on the class for all modules.
    fused = True

    def __init__(self, d_model, n_heads, context_length=1024, dropout=0.0, bias=True):
        # The sizes are checked first: 768 numbers can't be divided equally among 10 heads.
        check_size("d_model", d_model)
        check_size("n_heads", n_heads)
        check_size("context_length", context_length)
        check_heads(d_model, n_heads)
        check_dropout("dropout", dropout)
        check_switch("bias", bias)

        # From here on, nn.Module keeps a list of the layers that are assigned, with their parameters.
        super().__init__()

        # The heads share the width equally: at C = 768, each of twelve heads is D = 64 wide.
        self.n_heads = int(n_heads)
        self.d_head = int(d_model // n_heads)

        # forward needs these two settings. They are not parameters: neither is learned.
        self.context_length = int(context_length)
        self.dropout = dropout

        # W_q: what is this position looking for? One matrix makes the queries of all heads.
        self.query = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_k: what does this position offer to those that look? Its keys are compared with their queries.
        self.key = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_v: what does this position give to the positions that look at it?
        self.value = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_o: mixes the results of the heads. Until then they only lie side by side.
        self.output = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

    def forward(self, x, cache=None, return_weights=False):
        """Let each position of x look at itself and the positions before it.

        Args:
            x: one vector for each position, (B, T, C).
            cache: a `KVCache` with the keys and values of the positions before x. These positions
                are seen, too, and the keys and values of x are added to the cache. None: nothing
                comes before x.
            return_weights: whether to return the attention weights (who looked at whom), too. Only
                the explicit formula computes them, so it is used then.

        Returns:
            The output, (B, T, C); with return_weights a pair: the output and the weights,
            (B, H, T, S). Each row of S weights sums to 1.

        Raises:
            TypeError, ValueError: x is not (B, T, C), its numbers have another type than the weights,
                cache is not a `KVCache`, or more than context_length positions would be seen.
            RuntimeError: a cache is used while gradients are recorded.
        """
        # Without this check, a wrong input would fail inside the first product, with a less helpful error.
        check_input(self, x, cache)

        # 1. Project: three linear maps of the same x. Q = x W_q + b_q; K and V likewise.
        queries = self.query(x)  # (B, T, C)
        keys = self.key(x)  # (B, T, C)
        values = self.value(x)  # (B, T, C)

        # 2. Split: head h gets the h-th slice of D numbers. From here on each head works by itself.
        queries_h = self.split_heads(queries)  # (B, H, T, D)
        keys_h = self.split_heads(keys)  # (B, H, T, D)
        values_h = self.split_heads(values)  # (B, H, T, D)

        # 3. Remember: keys and values never change once they are computed, so those of earlier
        #    positions are taken from the cache. Queries need no cache: only the new positions look.
        if cache is None:
            seen_keys, seen_values = keys_h, values_h  # (B, H, S, D)
        else:
            seen_keys, seen_values = cache.append(keys_h, values_h)  # (B, H, S, D)

        # 4. Look: softmax(QKᵀ/√D)V. There are two ways to the same result: the formula, which is easy
        #    to read, and PyTorch's fused kernel, which is fast. (In 16 bits on a CPU, the formula is
        #    faster: see benchmarks/attention_speed.py.)
        if return_weights or not self.fused or in_16_bits_on_a_cpu(queries_h):
            weights = self.attention_weights(queries_h, seen_keys)  # (B, H, T, S)
            kept = F.dropout(weights, self.dropout, self.training)  # (B, H, T, S)
            found = kept @ seen_values  # (B, H, T, D)
        else:
            found = self.fused_attention(queries_h, seen_keys, seen_values)  # (B, H, T, D)

        # 5. Merge: put the results of the heads side by side again, in the order of step 2.
        by_position = found.transpose(1, 2)  # (B, T, H, D)
        merged = by_position.flatten(2)  # (B, T, C)

        # 6. Mix: the output projection combines the results of all heads. Until here, no head used
        #    the results of another.
        out = self.output(merged)  # (B, T, C)
        return (out, weights) if return_weights else out

    def split_heads(self, x):
        """(B, T, C) -> (B, H, T, D): split the last axis into heads, and put the heads before the positions."""
        # A view: C = H·D numbers in a row are read as H rows of D numbers. Nothing is moved or copied.
        heads = x.unflatten(-1, (self.n_heads, self.d_head))  # (B, T, H, D)
        # H goes next to B, because the matrix products of step 4 treat all axes except the last two
        # as a batch.
        return heads.transpose(1, 2)  # (B, H, T, D)

    def attention_weights(self, queries, keys):
        """softmax(QKᵀ/√D) with the future masked: (B, H, T, D), (B, H, S, D) -> (B, H, T, S)."""
        # /√D: D random products add up to a number about √D large. Without the division, the softmax
        # would saturate and hardly learn (Vaswani et al., section 3.2.1). The queries are divided, not
        # the scores: the result is the same, and for S > D there are fewer numbers to divide.
        scaled = queries / math.sqrt(self.d_head)  # (B, H, T, D)

        # QKᵀ: the dot product of every query with every key. The larger it is, the better the two match.
        keys_t = keys.transpose(-2, -1)  # (B, H, D, S)
        scores = scaled @ keys_t  # (B, H, T, S)

        # Causality: query t is at position S - T + t, and must not see any later key. -∞ marks the future.
        T, S = scores.shape[-2:]
        never = torch.full((T, S), -math.inf, dtype=scores.dtype, device=scores.device)  # (T, S)
        future = never.triu(S - T + 1)  # (T, S)

        # e^(-∞) = 0: a masked score gets the weight 0, and the weights of the others sum to 1.
        masked = scores + future  # (B, H, T, S)
        return masked.softmax(dim=-1)  # (B, H, T, S)

    def fused_attention(self, queries, keys, values):
        """Step 4 in one call, with the same result. Where PyTorch can, it does not store the (T, S) weights."""
        # The kernel has one mask built in: the causal mask for T = S. A single query sees all keys, and
        # needs no mask. For several new positions after a filled cache, the mask is written out.
        T, S = queries.size(-2), keys.size(-2)
        mask, is_causal = None, False
        if T == S:
            is_causal = True
        elif T > 1:
            ones = torch.ones(T, S, dtype=torch.bool, device=queries.device)  # (T, S)
            mask = ones.tril(S - T)  # (T, S)

        # Nothing is dropped in evaluation. nn.Dropout knows that by itself; this function must be told.
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )  # (B, H, T, D)

    def extra_repr(self):
        """The text that `print(module)` shows besides the projections."""
        # The projections print their own sizes; only this module knows how heads divide the width.
        return f"{self.n_heads} heads of {self.d_head}, context_length={self.context_length}"


def check_input(layer: MultiHeadAttention, x, cache) -> None:
    """Raise unless the layer can read x, and cache is a `KVCache` or None."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor of floating-point numbers; got {type(x).__name__}")
    d_model = layer.n_heads * layer.d_head
    if x.dim() != 3 or x.size(-1) != d_model:
        raise ValueError(f"x must be (B, T, {d_model}); got {tuple(x.shape)}")
    # If the projection was replaced by another kind of layer, we don't know what input that layer takes.
    weight = getattr(layer.query, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point():
        if x.is_meta and not weight.is_meta:
            raise ValueError(f"x must hold numbers, as the weights on {weight.device} do; got a meta tensor")
        if x.dtype != weight.dtype and not under_autocast(x, weight):
            raise ValueError(f"x must hold numbers like the weights', {weight.dtype}; got {x.dtype}")
    if cache is not None and not isinstance(cache, KVCache):
        raise TypeError(f"cache must be a KVCache or None; got {type(cache).__name__}")
    # Cached positions count, too: of the S positions that are seen, the first S - T were read earlier.
    S = x.size(1) + (0 if cache is None else cache.length)
    if layer.context_length < S:
        raise ValueError(f"x may show {layer.context_length} positions at most; got {S}")


def under_autocast(*tensors) -> bool:
    """Whether autocast will convert these tensors to one type. It converts no 64-bit numbers, and no integers."""
    fits = all(x.is_floating_point() and x.dtype != torch.float64 and not x.is_meta for x in tensors)
    return fits and torch.is_autocast_enabled(tensors[0].device.type)


def in_16_bits_on_a_cpu(x) -> bool:
    """Whether x holds 16-bit numbers on a CPU: there, PyTorch's fused kernel is slower than the formula."""
    return x.device.type == "cpu" and x.dtype.itemsize == 2


class KVCache:
    """The keys and values that one attention layer has computed so far.

    To generate a token, the model reads one new position. Without a cache it would have to project
    all earlier positions again for every token, always to the same keys and values.

    Args:
        context_length: the largest number of positions. Room for all of them is reserved at the
            first append, so that an append copies only the new positions.

    The cache keeps all numbers in the type of the first ones. If these had 16 bits, as under autocast,
    later numbers in 32 bits are rounded to 16. `append` returns numbers in the type that it was given.
    """

    def __init__(self, context_length):
        check_size("context_length", context_length)
        self.context_length = int(context_length)
        #: The number of positions that are held: S after an append, 0 before the first append.
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys, values):
        """Add T positions and return all S positions that are now held.

        Args:
            keys, values: (B, H, T, D) each.

        Returns:
            All keys and all values, (B, H, S, D) each: views of the cache, or copies if it keeps another
            type of numbers.

        Raises:
            RuntimeError: gradients are being recorded; writing into the cache would corrupt them.
            ValueError: keys and values have different shapes, don't fit the B, H and D of the cache, or
                need more room than is left.
        """
        if torch.is_grad_enabled() and (keys.requires_grad or values.requires_grad):
            raise RuntimeError("a KVCache is for generation: call the model under torch.no_grad()")
        if keys.dim() != 4 or values.shape != keys.shape:
            shapes = f"{tuple(keys.shape)} and {tuple(values.shape)}"
            raise ValueError(f"keys and values must both have the same shape (B, H, T, D); got {shapes}")
        B, H, T, D = keys.shape
        end = self.length + T
        if end > self.context_length:
            raise ValueError(f"keys must fit into {self.context_length} positions; {self.length} + {T} do not")
        held = (B, H, D) if self.keys is None else (*self.keys.shape[:2], self.keys.size(-1))
        if held != (B, H, D):
            raise ValueError(f"keys must have the cache's (B, H, D) = {held}; got {(B, H, D)}")
        if self.keys is None:
            self.keys = keys.new_empty(B, H, self.context_length, D)
            self.values = values.new_empty(B, H, self.context_length, D)
        self.keys.narrow(2, self.length, T).copy_(keys)
        self.values.narrow(2, self.length, T).copy_(values)
        self.length = end
        seen_keys, seen_values = self.keys.narrow(2, 0, end), self.values.narrow(2, 0, end)  # (B, H, S, D)
        # Under autocast, the cache may hold another kind of numbers than it is given.
        if self.keys.dtype != keys.dtype:
            return seen_keys.to(keys.dtype), seen_values.to(values.dtype)
        return seen_keys, seen_values  # (B, H, S, D)

    def truncate(self, length):
        """Forget all positions except the first `length`. With 0 the cache is as good as new, for any batch.

        Raises:
            ValueError: length is not from 0 to the number of positions that are held.
        """
        if length not in range(self.length + 1):
            raise ValueError(f"length must be an int from 0 to {self.length}, the positions held; got {length!r}")
        self.length = int(length)
        if length == 0:
            self.keys = self.values = None

    def repeat(self, times):
        """Repeat each sequence `times` times, so that a text that was read once can go on in several ways."""
        check_size("times", times)
        if self.keys is not None:
            self.keys = self.keys.repeat_interleave(times, dim=0)
            self.values = self.values.repeat_interleave(times, dim=0)
