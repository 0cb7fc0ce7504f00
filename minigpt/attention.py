"""Causal multi-head self-attention, every line explained, and the cache it generates with.

Letters for shapes, here and everywhere in the course:

    B  sequences in the batch          H  attention heads
    T  positions read in this call     D  width of one head, C / H
    S  positions that can be seen:     C  width of the model, d_model = H·D
       those in the cache, then T
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
        n_heads: H, how many times to look; must divide d_model.
        context_length: the most positions that can be seen at once.
        dropout: probability, in [0, 1), that a weight is dropped while training.
        bias: whether the four projections add a bias.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or impossible; the message
            names it, its value and what would be right.

    Source: Vaswani et al. (2017), section 3.2, equation 1; the causal mask is section 3.2.3's.
    At d_model = 768 with biases it has 4·(768² + 768) = 2,362,368 parameters.
    """

    #: True: PyTorch's fused kernel wherever it is the faster way to the same output. False: the
    #: explicit formula always. Set it on one module, or here for all of them.
    fused = True

    def __init__(self, d_model, n_heads, context_length=1024, dropout=0.0, bias=True):
        # The sizes are checked first: 768 numbers can't be shared out among 10 heads.
        check_size("d_model", d_model)
        check_size("n_heads", n_heads)
        check_size("context_length", context_length)
        check_heads(d_model, n_heads)
        check_dropout("dropout", dropout)
        check_switch("bias", bias)

        # nn.Module keeps the list of the parameters that are assigned from here on.
        super().__init__()

        # The heads share the width: at C = 768, twelve heads are D = 64 wide each.
        self.n_heads = int(n_heads)
        self.d_head = int(d_model // n_heads)

        # Needed in forward, and not parameters: nothing here is learned.
        self.context_length = int(context_length)
        self.dropout = dropout

        # W_q: what is this position looking for? All heads' questions are one matrix.
        self.query = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_k: what does this position offer to those who look? Compared with the questions.
        self.key = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_v: what does this position hand over to those who chose it?
        self.value = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

        # W_o: mixes what the heads found, which until then lie side by side, unaware of each other.
        self.output = nn.Linear(d_model, d_model, bias)  # weight (C, C), bias (C,): C·C + C

    def forward(self, x, cache=None, return_weights=False):
        """Attend.

        Args:
            x: one vector a position, (B, T, C).
            cache: a `KVCache` that holds the keys and values of the positions before x; they
                are seen too, and those of x are added to it. None: there is nothing before x.
            return_weights: also return who looked at whom, which takes the explicit way.

        Returns:
            (B, T, C), or with return_weights the pair of it and the weights, (B, H, T, S);
            each row of S weights sums to 1.

        Raises:
            TypeError, ValueError: x is not (B, T, C) in the numbers that the weights are, cache is no
                `KVCache`, or more than context_length positions would be seen.
            RuntimeError: a cache is used while gradients are recorded.
        """
        # Without this check, a wrong input would fail inside the first product, with less to go by.
        check_input(self, x, cache)

        # 1. Project: three linear maps of the same x. Q = x W_q + b_q, and likewise K and V.
        queries = self.query(x)  # (B, T, C)
        keys = self.key(x)  # (B, T, C)
        values = self.value(x)  # (B, T, C)

        # 2. Split: head h gets the h-th slice of D numbers, and from here on works by itself.
        queries_h = self.split_heads(queries)  # (B, H, T, D)
        keys_h = self.split_heads(keys)  # (B, H, T, D)
        values_h = self.split_heads(values)  # (B, H, T, D)

        # 3. Remember: keys and values never change once computed, so the earlier ones are
        #    taken from the cache. Queries need no cache: only the new positions ask.
        if cache is None:
            seen_keys, seen_values = keys_h, values_h  # (B, H, S, D)
        else:
            seen_keys, seen_values = cache.append(keys_h, values_h)  # (B, H, S, D)

        # 4. Look: softmax(QKᵀ/√D)V. Two ways to the same result: one to read, one to be fast.
        #    (In 16 bits on a CPU, the one to read is the fast one: benchmarks/attention_speed.py.)
        if return_weights or not self.fused or in_16_bits_on_a_cpu(queries_h):
            weights = self.attention_weights(queries_h, seen_keys)  # (B, H, T, S)
            kept = F.dropout(weights, self.dropout, self.training)  # (B, H, T, S)
            found = kept @ seen_values  # (B, H, T, D)
        else:
            found = self.fused_attention(queries_h, seen_keys, seen_values)  # (B, H, T, D)

        # 5. Merge: the heads' findings side by side again, in the order they were split in.
        by_position = found.transpose(1, 2)  # (B, T, H, D)
        merged = by_position.flatten(2)  # (B, T, C)

        # 6. Mix: the output projection, the first place where heads learn of each other.
        out = self.output(merged)  # (B, T, C)
        return (out, weights) if return_weights else out

    def split_heads(self, x):
        """(B, T, C) -> (B, H, T, D): the last axis read as heads, the heads put before the positions."""
        # A view: C = H·D numbers in a row are read as H rows of D. Nothing is moved or copied.
        heads = x.unflatten(-1, (self.n_heads, self.d_head))  # (B, T, H, D)
        # H next to B, because the products of step 4 treat all axes but the last two as a batch.
        return heads.transpose(1, 2)  # (B, H, T, D)

    def attention_weights(self, queries, keys):
        """softmax(QKᵀ/√D) with the future masked: (B, H, T, D), (B, H, S, D) -> (B, H, T, S)."""
        # /√D: D random products add up to something √D large; unscaled, the softmax would
        # saturate and hardly learn (Vaswani et al., section 3.2.1). The queries are divided, not
        # the products: the result is the same, and there are fewer of them.
        scaled = queries / math.sqrt(self.d_head)  # (B, H, T, D)

        # QKᵀ: every query times every key. The larger the product, the better they match.
        keys_t = keys.transpose(-2, -1)  # (B, H, D, S)
        scores = scaled @ keys_t  # (B, H, T, S)

        # Causality: query t is position S - T + t, and sees no later key. -∞ marks the future.
        T, S = scores.shape[-2:]
        never = torch.full((T, S), -math.inf, dtype=scores.dtype, device=scores.device)  # (T, S)
        future = never.triu(S - T + 1)  # (T, S)

        # e^(-∞) = 0: a masked score gets no weight, and the others share the whole.
        masked = scores + future  # (B, H, T, S)
        return masked.softmax(dim=-1)  # (B, H, T, S)

    def fused_attention(self, queries, keys, values):
        """Step 4 in one call: same arguments, same result, and where PyTorch can, no (T, S) weights stored."""
        # The kernel knows one mask by name, the causal one of T = S. A single query sees all.
        # Between the two (several positions after a filled cache), the mask is spelled out.
        T, S = queries.size(-2), keys.size(-2)
        mask, is_causal = None, False
        if T == S:
            is_causal = True
        elif T > 1:
            ones = torch.ones(T, S, dtype=torch.bool, device=queries.device)  # (T, S)
            mask = ones.tril(S - T)  # (T, S)

        # Evaluation drops nothing; this function, unlike nn.Dropout, has to be told.
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )  # (B, H, T, D)

    def extra_repr(self):
        """What `print(module)` shows besides the projections."""
        # The projections print their own sizes; only this module knows how they are shared out.
        return f"{self.n_heads} heads of {self.d_head}, context_length={self.context_length}"


def check_input(layer: MultiHeadAttention, x, cache) -> None:
    """Raise unless a layer can read x, and cache is one."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor of floating-point numbers; got {type(x).__name__}")
    d_model = layer.n_heads * layer.d_head
    if x.dim() != 3 or x.size(-1) != d_model:
        raise ValueError(f"x must be (B, T, {d_model}); got {tuple(x.shape)}")
    # A projection that was exchanged for another kind of layer may take what it likes.
    weight = getattr(layer.query, "weight", None)
    if isinstance(weight, Tensor) and weight.is_floating_point():
        if x.is_meta and not weight.is_meta:
            raise ValueError(f"x must hold numbers, as the weights on {weight.device} do; got a meta tensor")
        if x.dtype != weight.dtype and not under_autocast(x, weight):
            raise ValueError(f"x must hold numbers like the weights', {weight.dtype}; got {x.dtype}")
    if cache is not None and not isinstance(cache, KVCache):
        raise TypeError(f"cache must be a KVCache or None; got {type(cache).__name__}")
    # The cache counts: S positions are seen, of which the first S - T were read earlier.
    S = x.size(1) + (0 if cache is None else cache.length)
    if layer.context_length < S:
        raise ValueError(f"x may show {layer.context_length} positions at most; got {S}")


def under_autocast(*tensors) -> bool:
    """Whether autocast will bring these to one type. It leaves 64 bits, and what is no floating-point number, alone."""
    fits = all(x.is_floating_point() and x.dtype != torch.float64 and not x.is_meta for x in tensors)
    return fits and torch.is_autocast_enabled(tensors[0].device.type)


def in_16_bits_on_a_cpu(x) -> bool:
    """Whether these are numbers for which PyTorch's fused kernel is slower than the formula."""
    return x.device.type == "cpu" and x.dtype.itemsize == 2


class KVCache:
    """The keys and values that one attention layer has computed so far.

    Generating a token reads one new position. Without a cache all earlier positions would be
    projected again for every token, and always to the same keys and values.

    Args:
        context_length: how many positions there will be room for. It is reserved at the
            first append, so that appending copies the new positions and no others.

    It keeps numbers of the kind that came first. Under autocast to 16 bits those have 16, and later
    ones in 32 bits are rounded to them; what `append` returns has the kind that it was given.
    """

    def __init__(self, context_length):
        check_size("context_length", context_length)
        self.context_length = int(context_length)
        #: How many positions are held: S after an append, 0 before the first.
        self.length = 0
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys, values):
        """Add T positions and return all S that are now held.

        Args:
            keys, values: (B, H, T, D) each.

        Returns:
            Two, (B, H, S, D) each: views of the cache, unless it keeps another kind of numbers.

        Raises:
            RuntimeError: gradients are being recorded, which writing in place would corrupt.
            ValueError: keys and values don't fit to each other, to what the cache was begun with, or
                into its room.
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
        return seen_keys.to(keys.dtype), seen_values.to(values.dtype)

    def truncate(self, length):
        """Forget all positions but the first `length`; after 0 the cache is as new, for any batch.

        Raises:
            ValueError: length is not from 0 to the number of positions that are held.
        """
        if length not in range(self.length + 1):
            raise ValueError(f"length must be an int from 0 to {self.length}, the positions held; got {length!r}")
        self.length = int(length)
        if length == 0:
            self.keys = self.values = None

    def repeat(self, times):
        """Hold each sequence so many times, side by side: what was read once can go on in several ways."""
        check_size("times", times)
        if self.keys is not None:
            self.keys = self.keys.repeat_interleave(times, dim=0)
            self.values = self.values.repeat_interleave(times, dim=0)
