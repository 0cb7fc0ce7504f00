"""How many numbers one attention layer learns."""

from minigpt.marking.verdict import Case, Exercise

TASK = """How many parameters has one attention layer of width C = d_model? It has four matrices of C rows and C
columns, for queries, keys, values and the output, each with a bias of C numbers. All of its heads together are as
wide as the model."""

HINTS = [
    "One matrix: C · C numbers. Its bias: C numbers.",
    "There are four of them. Is there anything else to learn in the layer? A softmax has no parameters.",
    "GPT-2's smallest model has a width of 768 and 12 heads: layer_params(768, 12) is 2,362,368.",
]


def layer_params(d_model, n_heads):
    """Give the number of parameters, biases included."""
    return 4 * (d_model * d_model + d_model)


def no_biases(d_model, n_heads):
    """You leave the biases out: each of the four matrices has one, of d_model numbers."""
    return 4 * d_model * d_model


def three_matrices(d_model, n_heads):
    """You count queries, keys and values. There is a fourth matrix, for the output, which mixes what the heads
    found."""
    return 3 * (d_model * d_model + d_model)


def output_without_bias(d_model, n_heads):
    """You leave out the output's bias: it has one of d_model numbers, like the other three."""
    return 4 * d_model * d_model + 3 * d_model


def for_each_head(d_model, n_heads):
    """You multiply by the number of heads. The heads share the width, they do not add to it: each takes d_model /
    n_heads columns of the same matrices."""
    return n_heads * 4 * (d_model * d_model + d_model)


def one_head_only(d_model, n_heads):
    """You count the queries, keys and values of a single head. All heads together have d_model columns, whatever
    their number."""
    d_head = d_model // n_heads
    return 3 * (d_model * d_head + d_head) + d_model * d_model + d_model


def one_number_as_bias(d_model, n_heads):
    """You count one number as the bias of a matrix. A bias has a number for each of the d_model columns."""
    return 4 * (d_model * d_model + 1)


def with_feed_forward(d_model, n_heads):
    """You count the feed-forward layer, too. The question is about the attention layer alone."""
    return 12 * d_model * d_model + 9 * d_model


EXERCISE = Exercise(
    layer_params,
    [
        Case("a tiny width", lambda draw: (2, 1)),
        Case("two heads", lambda draw: (6, 2)),
        Case("GPT-2's smallest model", lambda draw: (768, 12)),
        Case("the homework's model", lambda draw: (1280, 20)),
        Case("any width", lambda draw: (4 * draw.whole(2, 50), 4)),
        Case("as many heads as numbers", lambda draw: (8, 8)),
        Case("a large model with 96 heads", lambda draw: (96 * draw.whole(100, 128), 96)),
    ],
    [
        no_biases,
        three_matrices,
        output_without_bias,
        for_each_head,
        one_head_only,
        one_number_as_bias,
        with_feed_forward,
    ],
)
