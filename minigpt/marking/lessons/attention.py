"""Lesson 1: attention, grown in four stages."""

import math

import torch
import torch.nn.functional as F

from minigpt.attention import MultiHeadAttention
from minigpt.marking.lessons import loaded, numbers_for, tensors
from minigpt.marking.verdict import Case, Exercise

PROJECTIONS = ("query", "key", "value", "output")


# Stage 1: one head


def one_head(x, w_q, w_k, w_v):
    """softmax(QKᵀ/√D)V without a mask: (T, C) -> (T, D)."""
    return F.scaled_dot_product_attention((x @ w_q)[None], (x @ w_k)[None], (x @ w_v)[None])[0]


def head_not_scaled(x, w_q, w_k, w_v):
    """The scores are not divided by √D. For wide heads the softmax would then put nearly everything on one position."""
    return (x @ w_q @ (x @ w_k).T).softmax(-1) @ (x @ w_v)


def head_scaled_by_width(x, w_q, w_k, w_v):
    """You divided by √C, not by √D. A dot product adds up the D numbers of one head: D is the width of a query."""
    return (x @ w_q @ (x @ w_k).T / math.sqrt(x.shape[-1])).softmax(-1) @ (x @ w_v)


def head_without_root(x, w_q, w_k, w_v):
    """You divided by D, not by √D. The spread of a sum of D random terms grows like the root of D."""
    return (x @ w_q @ (x @ w_k).T / w_q.shape[-1]).softmax(-1) @ (x @ w_v)


def head_wrong_axis(x, w_q, w_k, w_v):
    """Your softmax runs over the wrong axis. Each row belongs to one position that looks, and its weights over the
    positions that are looked at must sum to 1: dim=-1."""
    return (x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[-1])).softmax(0) @ (x @ w_v)


def head_keys_look(x, w_q, w_k, w_v):
    """Queries and keys have changed places: you compute KQᵀ. A row must belong to a query, so it is QKᵀ."""
    return (x @ w_k @ (x @ w_q).T / math.sqrt(w_q.shape[-1])).softmax(-1) @ (x @ w_v)


def head_mixes_keys(x, w_q, w_k, w_v):
    """Your weights mix the keys. Keys are only compared; what is handed over are the values."""
    return (x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[-1])).softmax(-1) @ (x @ w_k)


def head_without_softmax(x, w_q, w_k, w_v):
    """There is no softmax: your weights may be negative, and do not sum to 1."""
    return (x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[-1])) @ (x @ w_v)


def head_only_weights(x, w_q, w_k, w_v):
    """You return the attention weights, (T, T). The head's result is these weights times the values, (T, D)."""
    return (x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[-1])).softmax(-1)


def single_head(draw, T, C, D, size=1):
    """Arguments of a head: x (T, C), then three matrices (C, D)."""
    return (draw.numbers(T, C, low=-size, high=size), *(draw.numbers(C, D, low=-1, high=1) for _ in range(3)))


HEAD_CASES = [
    Case("one position, which can only look at itself", lambda draw: single_head(draw, 1, 3, 2)),
    Case(
        "two positions, and weights that leave x as it is",
        lambda draw: ([[1.0, 0.0], [0.0, 1.0]], *[[[1.0, 0.0], [0.0, 1.0]]] * 3),
    ),
    Case("T = 3, C = 4, D = 2", lambda draw: single_head(draw, 3, 4, 2)),
    Case("T = 5, C = 6, D = 4", lambda draw: single_head(draw, 5, 6, 4)),
    Case("T = 4, C = 6, D = 3, large numbers", lambda draw: single_head(draw, 4, 6, 3, size=3)),
]


# Stage 2: the mask


def masked_head(x, w_q, w_k, w_v):
    """softmax(QKᵀ/√D)V in which no position sees a later one: (T, C) -> (T, D)."""
    queries, keys = (x @ w_q)[None, None], (x @ w_k)[None, None]
    with torch.device("meta"):
        layer = MultiHeadAttention(w_q.shape[-1], 1)
    return layer.attention_weights(queries, keys)[0, 0] @ (x @ w_v)


def scores_of(x, w_q, w_k):
    return x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[-1])


def never(scores):
    return torch.full_like(scores, -math.inf)


def mask_missing(x, w_q, w_k, w_v):
    """There is no mask yet: every position sees what comes after it, which is what it will be asked to predict."""
    return scores_of(x, w_q, w_k).softmax(-1) @ (x @ w_v)


def mask_hides_the_past(x, w_q, w_k, w_v):
    """Your mask hides the past, not the future. Position t may see the positions 0 to t; hide what is above the
    diagonal, not below."""
    scores = scores_of(x, w_q, w_k)
    return (scores + never(scores).tril(-1)).softmax(-1) @ (x @ w_v)


def mask_hides_itself(x, w_q, w_k, w_v):
    """Your mask hides a position from itself, too, and the first position is left with nothing to look at: its weights
    are nan. The diagonal must stay visible: triu(1), not triu(0)."""
    scores = scores_of(x, w_q, w_k)
    return (scores + never(scores).triu(0)).softmax(-1) @ (x @ w_v)


def mask_after_softmax(x, w_q, w_k, w_v):
    """You mask after the softmax, so what is left of a row no longer sums to 1. Mask the scores before it."""
    return scores_of(x, w_q, w_k).softmax(-1).tril() @ (x @ w_v)


def mask_of_zeros(x, w_q, w_k, w_v):
    """You set masked scores to 0. e⁰ is 1, so the future still gets weight. Only -∞ becomes exactly 0."""
    return scores_of(x, w_q, w_k).tril().softmax(-1) @ (x @ w_v)


def mask_one_too_late(x, w_q, w_k, w_v):
    """Your mask lets each position see the next one, the very token it has to predict: triu(1), not triu(2)."""
    scores = scores_of(x, w_q, w_k)
    return (scores + never(scores).triu(2)).softmax(-1) @ (x @ w_v)


def mask_wrong_axis(x, w_q, w_k, w_v):
    """The mask is right, but the softmax runs over the axis of the queries. Each row must sum to 1: dim=-1."""
    scores = scores_of(x, w_q, w_k)
    return (scores + never(scores).triu(1)).softmax(0) @ (x @ w_v)


def mask_of_ones_added(x, w_q, w_k, w_v):
    """You add the mask itself, ones and zeros, to the scores. A visible position needs 0 added, a hidden one -∞."""
    scores = scores_of(x, w_q, w_k)
    return (scores + torch.ones_like(scores).tril()).softmax(-1) @ (x @ w_v)


# Stage 3: many heads


def many_heads(x, w_q, w_k, w_v, w_o, n_heads):
    """H masked heads side by side, mixed by w_o: (T, C) -> (T, C)."""
    weights = {f"{name}.weight": w.T for name, w in zip(PROJECTIONS, (w_q, w_k, w_v, w_o), strict=True)}
    C = x.shape[-1]
    return loaded(lambda: MultiHeadAttention(C, n_heads, bias=False), weights)(x[None])[0]


def heads_of(x, w_q, w_k, w_v, slices, mask=True, scale=None):
    """The results of the heads, (T, D) each; a head takes these columns of the projections."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    found = []
    for columns in slices:
        scores = q[:, columns] @ k[:, columns].T / math.sqrt(scale or q[:, columns].shape[-1])
        scores = scores + never(scores).triu(1) if mask else scores
        found.append(scores.softmax(-1) @ v[:, columns])
    return found


def neighbours(C, H):
    return [slice(C // H * h, C // H * (h + 1)) for h in range(H)]


def heads_not_split(x, w_q, w_k, w_v, w_o, n_heads):
    """There is one big head here. Each head takes its own D columns of Q, K and V, and has a softmax of its own."""
    return heads_of(x, w_q, w_k, w_v, [slice(None)])[0] @ w_o


def heads_interleaved(x, w_q, w_k, w_v, w_o, n_heads):
    """Your head h takes every H-th column. Head h has the neighbouring columns from h·D to (h + 1)·D."""
    found = heads_of(x, w_q, w_k, w_v, [slice(h, None, n_heads) for h in range(n_heads)])
    return torch.cat(found, -1) @ w_o


def heads_not_mixed(x, w_q, w_k, w_v, w_o, n_heads):
    """The heads lie side by side, but w_o has not mixed them."""
    return torch.cat(heads_of(x, w_q, w_k, w_v, neighbours(x.shape[-1], n_heads)), -1)


def heads_not_masked(x, w_q, w_k, w_v, w_o, n_heads):
    """Your heads see the future: the mask of the last stage is missing."""
    return torch.cat(heads_of(x, w_q, w_k, w_v, neighbours(x.shape[-1], n_heads), mask=False), -1) @ w_o


def heads_scaled_by_width(x, w_q, w_k, w_v, w_o, n_heads):
    """You divide by √C. Now that heads are split, a dot product adds up D = C / H numbers only: divide by √D."""
    C = x.shape[-1]
    return torch.cat(heads_of(x, w_q, w_k, w_v, neighbours(C, n_heads), scale=C), -1) @ w_o


def heads_in_reverse(x, w_q, w_k, w_v, w_o, n_heads):
    """The heads are joined in the wrong order: the first head's result comes first."""
    return torch.cat(heads_of(x, w_q, w_k, w_v, neighbours(x.shape[-1], n_heads))[::-1], -1) @ w_o


def heads_mixed_by_transpose(x, w_q, w_k, w_v, w_o, n_heads):
    """You multiply by the transpose of w_o. Here matrices stand as in the formula: x @ w."""
    return torch.cat(heads_of(x, w_q, w_k, w_v, neighbours(x.shape[-1], n_heads)), -1) @ w_o.T


def heads_read_slices(x, w_q, w_k, w_v, w_o, n_heads):
    """Your head h reads only its slice of x. Every head reads all C numbers of x; what is sliced is Q, K and V."""
    parts = [
        heads_of(x[:, s], w_q[s, s], w_k[s, s], w_v[s, s], [slice(None)])[0] for s in neighbours(x.shape[-1], n_heads)
    ]
    return torch.cat(parts, -1) @ w_o


def several_heads(draw, T, H, D):
    """Arguments of H heads: x (T, C), four matrices (C, C), H."""
    C = H * D
    return (*(draw.numbers(rows, C, low=-1, high=1) for rows in (T, C, C, C, C)), H)


# Stage 4: all at once


def fast(x, weights, n_heads):
    """Masked multi-head attention of a batch: (B, T, C) -> (B, T, C)."""
    return loaded(lambda: MultiHeadAttention(x.shape[-1], n_heads), weights)(x)


def project(x, weights, name):
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def attend(x, weights, n_heads, project=project, split=None, merge=None, mask=lambda s: s.triu(1), scale=None):
    """`fast`, with a part of it replaced."""
    B, T, C = x.shape
    split = split or (lambda y: y.reshape(B, T, n_heads, C // n_heads).transpose(1, 2))
    merge = merge or (lambda y: y.transpose(1, 2).reshape(B, T, C))
    q, k, v = (split(project(x, weights, name)) for name in PROJECTIONS[:3])
    scores = q @ k.transpose(-2, -1) / math.sqrt(scale or C // n_heads)
    scores = scores + mask(torch.full((T, T), -math.inf))
    return project(merge(scores.softmax(-1) @ v), weights, "output")


def fast_without_biases(x, weights, n_heads):
    """The biases are missing: each of the four projections is x @ weight.T + bias."""
    return attend(x, weights, n_heads, project=lambda x, weights, name: x @ weights[f"{name}.weight"].T)


def fast_without_transpose(x, weights, n_heads):
    """You compute x @ weight. PyTorch keeps a linear layer's weight as (out, in): it is x @ weight.T, or F.linear."""
    wrong = lambda x, weights, name: x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]  # noqa: E731
    return attend(x, weights, n_heads, project=wrong)


def fast_merged_without_transpose(x, weights, n_heads):
    """The heads are split, but not brought back in order: (B, H, T, D) must become (B, T, H, D) before it is reshaped
    to (B, T, C). Transpose before you reshape."""
    return attend(x, weights, n_heads, merge=lambda y: y.reshape(x.shape))


def fast_split_without_transpose(x, weights, n_heads):
    """You reshape (B, T, C) straight to (B, H, T, D), which cuts across positions. Reshape to (B, T, H, D), then
    transpose T and H."""
    B, T, C = x.shape
    return attend(x, weights, n_heads, split=lambda y: y.reshape(B, n_heads, T, C // n_heads))


def fast_hides_the_past(x, weights, n_heads):
    """Your mask hides the past, not the future: -∞ belongs above the diagonal."""
    return attend(x, weights, n_heads, mask=lambda scores: scores.tril(-1))


def fast_not_masked(x, weights, n_heads):
    """Your positions see the future. With F.scaled_dot_product_attention, say is_causal=True."""
    return attend(x, weights, n_heads, mask=lambda scores: 0)


def fast_scaled_by_width(x, weights, n_heads):
    """You divide by √C, not by √D, where D = C / H is the width of one head."""
    return attend(x, weights, n_heads, scale=x.shape[-1])


def fast_not_mixed(x, weights, n_heads):
    """The last step is missing: the output projection, which mixes the heads."""
    nothing = lambda x, weights, name: x if name == "output" else project(x, weights, name)  # noqa: E731
    return attend(x, weights, n_heads, project=nothing)


def layer(draw, B, T, H, D):
    """Arguments of a whole layer: x (B, T, C), its eight tensors by name, H."""
    C = H * D
    shapes = {
        f"{name}.{kind}": (C, C) if kind == "weight" else (C,) for name in PROJECTIONS for kind in ("weight", "bias")
    }
    return draw.numbers(B, T, C, low=-1, high=1), numbers_for(draw, shapes), H


EXERCISES = [
    Exercise(
        one_head,
        HEAD_CASES,
        [
            head_not_scaled,
            head_scaled_by_width,
            head_without_root,
            head_wrong_axis,
            head_keys_look,
            head_mixes_keys,
            head_without_softmax,
            head_only_weights,
        ],
        prepare=tensors,
    ),
    Exercise(
        masked_head,
        HEAD_CASES,
        [
            mask_missing,
            mask_hides_the_past,
            mask_hides_itself,
            mask_after_softmax,
            mask_of_zeros,
            mask_one_too_late,
            mask_wrong_axis,
            mask_of_ones_added,
        ],
        prepare=tensors,
    ),
    Exercise(
        many_heads,
        [
            Case("one head", lambda draw: several_heads(draw, 3, 1, 4)),
            Case("T = 5, two heads, D = 3", lambda draw: several_heads(draw, 5, 2, 3)),
            Case("T = 4, three heads, D = 2", lambda draw: several_heads(draw, 4, 3, 2)),
            Case("one position", lambda draw: several_heads(draw, 1, 2, 2)),
        ],
        [
            heads_not_split,
            heads_interleaved,
            heads_not_mixed,
            heads_not_masked,
            heads_scaled_by_width,
            heads_in_reverse,
            heads_mixed_by_transpose,
            heads_read_slices,
        ],
        prepare=tensors,
    ),
    Exercise(
        fast,
        [
            Case("one sequence, one head", lambda draw: layer(draw, 1, 3, 1, 2)),
            Case("B = 2, T = 5, H = 3, D = 4", lambda draw: layer(draw, 2, 5, 3, 4)),
            Case("B = 3, T = 4, H = 2, D = 5", lambda draw: layer(draw, 3, 4, 2, 5)),
            Case("one position", lambda draw: layer(draw, 2, 1, 2, 3)),
        ],
        [
            fast_without_biases,
            fast_without_transpose,
            fast_merged_without_transpose,
            fast_split_without_transpose,
            fast_hides_the_past,
            fast_not_masked,
            fast_scaled_by_width,
            fast_not_mixed,
        ],
        prepare=tensors,
    ),
]
