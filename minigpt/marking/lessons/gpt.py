"""Lesson 2: the GPT from its parts. Weights come under the names that `GPT.state_dict()` gives them."""

import torch
import torch.nn.functional as F

from minigpt.config import GPTConfig
from minigpt.marking.lessons import loaded, loaded_gpt, numbers_for, tensors
from minigpt.marking.lessons.attention import fast as attention
from minigpt.marking.verdict import Case, Exercise
from minigpt.model import Block, FeedForward
from minigpt.parameters import parameter_shapes

__all__ = ["EXERCISES", "attention", "part"]


def part(weights, prefix):
    """The weights whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def config(V=5, T_max=7, H=2, D=3, L=1, F=8):
    return GPTConfig(vocab_size=V, context_length=T_max, d_model=H * D, n_heads=H, n_layers=L, d_ff=F)


def weights_for(draw, config, prefix=""):
    """The weights of a GPT of this configuration, or of the part of it whose names begin with a prefix."""
    return numbers_for(draw, part(parameter_shapes(config), prefix))


# LayerNorm


def layer_norm(x, scale, shift):
    """Each position's numbers brought to mean 0 and variance 1, then scaled and shifted: (B, T, C) -> (B, T, C)."""
    return F.layer_norm(x, scale.shape, scale, shift)


def normed(x, axis=-1, biased=True, eps=1e-5):
    mean = x.mean(axis, keepdim=True)
    return (x - mean) / (x.var(axis, keepdim=True, correction=0 if biased else 1) + eps).sqrt()


def norm_over_positions(x, scale, shift):
    """Your mean runs over the positions. Each position is normalised by itself, over its C numbers: dim=-1."""
    return normed(x, axis=1) * scale + shift


def norm_over_everything(x, scale, shift):
    """Your mean is that of the whole tensor. Each position has a mean of its own, over its C numbers: dim=-1, and
    keepdim=True so that the shapes fit."""
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * scale + shift


def norm_divides_by_n_minus_1(x, scale, shift):
    """Your variance divides by C - 1, as x.var() and x.std() do unless told otherwise. LayerNorm divides by C:
    correction=0."""
    return normed(x, biased=False) * scale + shift


def norm_without_mean(x, scale, shift):
    """You do not subtract the mean. (That is another normalisation, RMSNorm. GPT-2 has LayerNorm.)"""
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def norm_without_root(x, scale, shift):
    """You divide by the variance; divide by its root, the standard deviation."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.var(-1, keepdim=True, correction=0) + 1e-5) * scale + shift


def norm_without_eps(x, scale, shift):
    """Where all numbers of a position are equal, the variance is 0 and you divide by 0. Add 1e-5 to the variance."""
    return normed(x, eps=0) * scale + shift


def norm_not_scaled(x, scale, shift):
    """The result has mean 0 and variance 1, and there it stops: multiply by scale and add shift."""
    return normed(x)


def norm_shifted_first(x, scale, shift):
    """You add the shift before you multiply by the scale. It is the other way round."""
    return (normed(x) + shift) * scale


def norm_arguments(draw, B, T, C):
    return draw.numbers(B, T, C), draw.numbers(C), draw.numbers(C)


# Feed-forward


def feed_forward(x, weights):
    """Two linear layers with a GELU between them: (B, T, C) -> (B, T, C)."""
    C, F = x.shape[-1], len(weights["expand.bias"])
    sizes = GPTConfig(vocab_size=1, context_length=1, d_model=C, n_heads=1, n_layers=1, d_ff=F)
    return loaded(lambda: FeedForward(sizes), weights)(x)


def linear(x, weights, name):
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def gelu(x):
    return F.gelu(x, approximate="tanh")


def feed_with_relu(x, weights):
    """Your nonlinearity is ReLU. GPT-2's is GELU, which lets a little of the negative numbers through."""
    return linear(linear(x, weights, "expand").relu(), weights, "contract")


def feed_with_exact_gelu(x, weights):
    """This is the exact GELU. GPT-2 has the approximation by tanh: F.gelu(hidden, approximate="tanh"). The two differ
    in the fourth decimal."""
    return linear(F.gelu(linear(x, weights, "expand")), weights, "contract")


def feed_without_activation(x, weights):
    """There is no nonlinearity between the two layers. Without one, both together are a single linear layer."""
    return linear(linear(x, weights, "expand"), weights, "contract")


def feed_activates_twice(x, weights):
    """The nonlinearity belongs between the two layers only. Behind the second there is none."""
    return gelu(linear(gelu(linear(x, weights, "expand")), weights, "contract"))


def feed_without_biases(x, weights):
    """The biases are missing: both layers add one."""
    return gelu(x @ weights["expand.weight"].T) @ weights["contract.weight"].T


def feed_adds_its_input(x, weights):
    """You add x to the result. That is right for the whole block, which will do it; this part only returns its own."""
    return x + linear(gelu(linear(x, weights, "expand")), weights, "contract")


def feed_arguments(draw, B, T, C, F):
    shapes = {"expand.weight": (F, C), "expand.bias": (F,), "contract.weight": (C, F), "contract.bias": (C,)}
    return draw.numbers(B, T, C), {name: draw.numbers(*shape) for name, shape in shapes.items()}


# A block


def block(x, weights, n_heads):
    """Attention and feed-forward, each reading a normalised copy of x and adding to it: (B, T, C) -> (B, T, C)."""
    sizes = GPTConfig(
        vocab_size=1,
        context_length=x.shape[1],
        d_model=x.shape[-1],
        n_heads=n_heads,
        n_layers=1,
        d_ff=len(weights["feed_forward.expand.bias"]),
    )
    return loaded(lambda: Block(sizes), weights)(x)


def norm_of(x, weights, name):
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def parts_of(weights, n_heads):
    """The four parts of a block, each a function of x."""
    return (
        lambda x: norm_of(x, weights, "norm1"),
        lambda x: attention(x, part(weights, "attention."), n_heads),
        lambda x: norm_of(x, weights, "norm2"),
        lambda x: feed_forward(x, part(weights, "feed_forward.")),
    )


def block_norms_afterwards(x, weights, n_heads):
    """You normalise after adding, as the first transformer did. GPT-2 normalises before each part: the part reads
    norm(x), and what it finds is added to x itself."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    x = norm1(x + attend(x))
    return norm2(x + feed(x))


def block_adds_nothing(x, weights, n_heads):
    """Nothing is added to x: what comes out of one part only goes into the next. Both parts add to x."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    return feed(norm2(attend(norm1(x))))


def block_forgets_first_sum(x, weights, n_heads):
    """What attention finds is not added to x; it replaces x. Only the second part adds."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    x = attend(norm1(x))
    return x + feed(norm2(x))


def block_forgets_second_sum(x, weights, n_heads):
    """What feed-forward finds is not added to x; it replaces x. Only the first part adds."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    x = x + attend(norm1(x))
    return feed(norm2(x))


def block_uses_one_norm_twice(x, weights, n_heads):
    """Both parts read through norm1. The second has a LayerNorm of its own: norm2."""
    norm1, attend, _, feed = parts_of(weights, n_heads)
    x = x + attend(norm1(x))
    return x + feed(norm1(x))


def block_in_parallel(x, weights, n_heads):
    """Both parts read the x that came in. Feed-forward reads the sum that already holds what attention found."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    return x + attend(norm1(x)) + feed(norm2(x))


def block_adds_the_norm(x, weights, n_heads):
    """You add to norm(x). The normalised copy is only for reading; what is found is added to x itself."""
    norm1, attend, norm2, feed = parts_of(weights, n_heads)
    x = norm1(x) + attend(norm1(x))
    return norm2(x) + feed(norm2(x))


def block_without_norms(x, weights, n_heads):
    """The LayerNorms are missing: each part reads a normalised copy of x."""
    _, attend, _, feed = parts_of(weights, n_heads)
    x = x + attend(x)
    return x + feed(x)


def block_arguments(draw, B, T, H, D, F):
    C = H * D
    return draw.numbers(B, T, C), weights_for(draw, config(H=H, D=D, F=F), "blocks.0."), H


# Embeddings


def embed(tokens, token_embedding, position_embedding):
    """What a token means plus where it stands: token ids (B, T) -> (B, T, C)."""
    return token_embedding[tokens] + position_embedding[: tokens.shape[1]]


def embed_without_positions(tokens, token_embedding, position_embedding):
    """Only the tokens are looked up. Without positions the model cannot tell "dog bites man" from "man bites dog"."""
    return token_embedding[tokens]


def embed_positions_by_token(tokens, token_embedding, position_embedding):
    """You look up the positions by token ids. Row t of position_embedding is for the position t: 0, 1, 2 ..."""
    return token_embedding[tokens] + position_embedding[tokens]


def embed_positions_from_1(tokens, token_embedding, position_embedding):
    """Your positions begin with 1. They are counted from 0."""
    return token_embedding[tokens] + position_embedding[1 : tokens.shape[1] + 1]


def embed_last_positions(tokens, token_embedding, position_embedding):
    """You take the last T positions. A text of T tokens has the first T of them."""
    return token_embedding[tokens] + position_embedding[-tokens.shape[1] :]


def embed_one_position(tokens, token_embedding, position_embedding):
    """Every token gets the same row of position_embedding. Token t gets row t."""
    return token_embedding[tokens] + position_embedding[0]


def embed_multiplied(tokens, token_embedding, position_embedding):
    """You multiply the two. They are added."""
    return token_embedding[tokens] * position_embedding[: tokens.shape[1]]


def embed_side_by_side(tokens, token_embedding, position_embedding):
    """You put the two side by side, which makes 2·C numbers. They are added, and stay C."""
    place = position_embedding[: tokens.shape[1]].expand(len(tokens), -1, -1)
    return torch.cat([token_embedding[tokens], place], -1)


def ids(draw, B, T, V):
    return [[draw.whole(0, V - 1) for _ in range(T)] for _ in range(B)]


def embed_arguments(draw, B, T, V, T_max, C):
    return ids(draw, B, T, V), draw.numbers(V, C), draw.numbers(T_max, C)


# The whole


def gpt(tokens, weights, n_heads):
    """The scores of every possible next token at every position: token ids (B, T) -> logits (B, T, V)."""
    V, C = weights["token_embedding.weight"].shape
    sizes = GPTConfig(
        vocab_size=V,
        context_length=len(weights["position_embedding.weight"]),
        d_model=C,
        n_heads=n_heads,
        n_layers=n_layers(weights),
        d_ff=len(weights["blocks.0.feed_forward.expand.bias"]),
    )
    return loaded_gpt(sizes, weights)(tokens)


def n_layers(weights):
    return len({name.split(".")[1] for name in weights if name.startswith("blocks.")})


def run(tokens, weights, n_heads, order=lambda layers: layers, embed=embed, norm=norm_of):
    """`gpt`, with a part of it replaced."""
    x = embed(tokens, weights["token_embedding.weight"], weights["position_embedding.weight"])
    for i in order(list(range(n_layers(weights)))):
        x = block(x, part(weights, f"blocks.{i}."), n_heads)
    return norm(x, weights, "norm") @ weights["token_embedding.weight"].T


def gpt_without_last_norm(tokens, weights, n_heads):
    """The last LayerNorm is missing: the head reads norm(x)."""
    return run(tokens, weights, n_heads, norm=lambda x, weights, name: x)


def gpt_of_one_block(tokens, weights, n_heads):
    """Only one block is run. There are as many as the names say: blocks.0, blocks.1 ..."""
    return run(tokens, weights, n_heads, order=lambda layers: layers[:1])


def gpt_in_reverse(tokens, weights, n_heads):
    """Your blocks run in the wrong order: blocks.0 is the first."""
    return run(tokens, weights, n_heads, order=lambda layers: layers[::-1])


def gpt_repeats_one_block(tokens, weights, n_heads):
    """You run the first block again and again. Each has weights of its own: f"blocks.{i}."."""
    return run(tokens, weights, n_heads, order=lambda layers: [0] * len(layers))


def gpt_without_positions(tokens, weights, n_heads):
    """The position embedding is missing."""
    return run(tokens, weights, n_heads, embed=embed_without_positions)


def gpt_gives_probabilities(tokens, weights, n_heads):
    """You return probabilities. A GPT hands over its scores, the logits; the softmax comes later, when a token is
    chosen."""
    return run(tokens, weights, n_heads).softmax(-1)


def gpt_of_the_last_position(tokens, weights, n_heads):
    """You return the scores of the last position only. In training every position is asked: (B, T, V)."""
    return run(tokens, weights, n_heads)[:, -1]


def gpt_without_head(tokens, weights, n_heads):
    """You return the vectors that the head reads, (B, T, C). The head compares each with every row of the token
    embedding: x @ token_embedding.T."""
    x = embed(tokens, weights["token_embedding.weight"], weights["position_embedding.weight"])
    for i in range(n_layers(weights)):
        x = block(x, part(weights, f"blocks.{i}."), n_heads)
    return norm_of(x, weights, "norm")


def gpt_arguments(draw, B, T, **sizes):
    shape = config(**sizes)
    return ids(draw, B, T, shape.vocab_size), weights_for(draw, shape), shape.n_heads


EXERCISES = [
    Exercise(
        layer_norm,
        [
            Case("scale 1, shift 0", lambda draw: ([[[1.0, 2.0, 3.0, 6.0]]], [1.0] * 4, [0.0] * 4)),
            Case("B = 2, T = 3, C = 4", lambda draw: norm_arguments(draw, 2, 3, 4)),
            Case("B = 3, T = 2, C = 5", lambda draw: norm_arguments(draw, 3, 2, 5)),
            Case("all numbers of a position equal", lambda draw: ([[[0.5, 0.5, 0.5]]], *draw.numbers(2, 3))),
        ],
        [
            norm_over_positions,
            norm_over_everything,
            norm_divides_by_n_minus_1,
            norm_without_mean,
            norm_without_root,
            norm_without_eps,
            norm_not_scaled,
            norm_shifted_first,
        ],
        prepare=tensors,
    ),
    Exercise(
        feed_forward,
        [
            Case("one position, C = 2, F = 3", lambda draw: feed_arguments(draw, 1, 1, 2, 3)),
            Case("B = 2, T = 3, C = 4, F = 9", lambda draw: feed_arguments(draw, 2, 3, 4, 9)),
            Case("B = 3, T = 2, C = 5, F = 7", lambda draw: feed_arguments(draw, 3, 2, 5, 7)),
        ],
        [
            feed_with_relu,
            feed_with_exact_gelu,
            feed_without_activation,
            feed_activates_twice,
            feed_without_biases,
            feed_adds_its_input,
        ],
        prepare=tensors,
    ),
    Exercise(
        block,
        [
            Case("one position, one head", lambda draw: block_arguments(draw, 1, 1, 1, 2, 3)),
            Case("B = 2, T = 5, C = 6, F = 9", lambda draw: block_arguments(draw, 2, 5, 2, 3, 9)),
            Case("B = 3, T = 4, C = 6, F = 8", lambda draw: block_arguments(draw, 3, 4, 3, 2, 8)),
        ],
        [
            block_norms_afterwards,
            block_adds_nothing,
            block_forgets_first_sum,
            block_forgets_second_sum,
            block_uses_one_norm_twice,
            block_in_parallel,
            block_adds_the_norm,
            block_without_norms,
        ],
        prepare=tensors,
    ),
    Exercise(
        embed,
        [
            Case("one text of two tokens", lambda draw: embed_arguments(draw, 1, 2, 4, 6, 3)),
            Case("B = 2, T = 4, V = 5, C = 3", lambda draw: embed_arguments(draw, 2, 4, 5, 7, 3)),
            Case("B = 3, T = 5, V = 6, C = 2", lambda draw: embed_arguments(draw, 3, 5, 6, 8, 2)),
        ],
        [
            embed_without_positions,
            embed_positions_by_token,
            embed_positions_from_1,
            embed_last_positions,
            embed_one_position,
            embed_multiplied,
            embed_side_by_side,
        ],
        prepare=tensors,
    ),
    Exercise(
        gpt,
        [
            Case("one layer, one text", lambda draw: gpt_arguments(draw, 1, 3, L=1)),
            Case("two layers, B = 2, T = 4, V = 5, C = 6", lambda draw: gpt_arguments(draw, 2, 4, L=2)),
            Case("three layers, B = 3, T = 2, V = 9, C = 4", lambda draw: gpt_arguments(draw, 3, 2, V=9, D=2, L=3)),
        ],
        [
            gpt_without_last_norm,
            gpt_of_one_block,
            gpt_in_reverse,
            gpt_repeats_one_block,
            gpt_without_positions,
            gpt_gives_probabilities,
            gpt_of_the_last_position,
            gpt_without_head,
        ],
        prepare=tensors,
    ),
]
