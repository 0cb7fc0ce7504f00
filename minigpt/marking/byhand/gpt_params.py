"""How many numbers a whole GPT learns."""

from minigpt.marking.verdict import Case, Exercise

TASK = """How many parameters has a whole GPT? With C = d_model: a token embedding of vocab_size rows and a position
embedding of context_length rows, C numbers in each row; in each layer attention, 4C² + 4C, a feed-forward part, 8C² +
5C, and two LayerNorms of 2C numbers; at the end one more LayerNorm. The head is the token embedding again."""

HINTS = [
    "One layer: what do 4C² + 4C, 8C² + 5C and twice 2C add up to?",
    "Outside the layers: C numbers for each token, C for each position, and 2C for the last LayerNorm.",
    "The head shares its numbers with the token embedding, so it adds nothing. For GPT-2's smallest model it must be "
    "gpt_params(768, 12, 50257, 1024) = 124,439,808.",
]


def gpt_params(d_model, n_layers, vocab_size, context_length):
    """Give the number of parameters of the whole model."""
    embeddings = d_model * (vocab_size + context_length)
    layer = 12 * d_model * d_model + 13 * d_model
    return embeddings + n_layers * layer + 2 * d_model


def head_twice(d_model, n_layers, vocab_size, context_length):
    """You count the head by itself. It is the token embedding again: the same numbers, counted once."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) + vocab_size * d_model


def no_positions(d_model, n_layers, vocab_size, context_length):
    """You leave out the position embedding: it has d_model numbers for each of the context_length places."""
    return gpt_params(d_model, n_layers, vocab_size, 0)


def no_tokens(d_model, n_layers, vocab_size, context_length):
    """You leave out the token embedding: it has d_model numbers for each token of the vocabulary."""
    return gpt_params(d_model, n_layers, 0, context_length)


def no_last_norm(d_model, n_layers, vocab_size, context_length):
    """You leave out the last LayerNorm: 2 · d_model numbers, once, after all layers."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) - 2 * d_model


def last_norm_in_each_layer(d_model, n_layers, vocab_size, context_length):
    """You count the last LayerNorm in every layer. It stands once, after all of them."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) + 2 * d_model * (n_layers - 1)


def no_norms_in_layers(d_model, n_layers, vocab_size, context_length):
    """You leave out the LayerNorms inside the layers: each layer has two, of 2 · d_model numbers each."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) - 4 * d_model * n_layers


def one_norm_a_layer(d_model, n_layers, vocab_size, context_length):
    """You count one LayerNorm in a layer. There are two: one before the attention, one before the feed-forward
    part."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) - 2 * d_model * n_layers


def norms_without_shift(d_model, n_layers, vocab_size, context_length):
    """You count d_model numbers in a LayerNorm. It has a scale and a shift for each number: 2 · d_model."""
    return gpt_params(d_model, n_layers, vocab_size, context_length) - d_model * (2 * n_layers + 1)


def matrices_only(d_model, n_layers, vocab_size, context_length):
    """You count the matrices only. Biases and LayerNorms are parameters, too: 13 · d_model in each layer, 2 · d_model
    at the end."""
    return d_model * (vocab_size + context_length + 12 * d_model * n_layers)


def one_layer(d_model, n_layers, vocab_size, context_length):
    """You count a single layer: multiply its parameters by n_layers."""
    return gpt_params(d_model, 1, vocab_size, context_length)


EXERCISE = Exercise(
    gpt_params,
    [
        Case("a tiny model", lambda draw: (2, 1, 10, 4)),
        Case("two layers", lambda draw: (4, 2, 10, 8)),
        Case("no layer at all", lambda draw: (3, 0, 5, 2)),
        Case("any model", lambda draw: (8 * draw.whole(2, 9), draw.whole(2, 9), draw.whole(100, 999), 64)),
        Case("GPT-2's smallest model", lambda draw: (768, 12, 50257, 1024)),
        Case("the homework's model", lambda draw: (1280, 12, 50257, 1024)),
        Case("a larger model", lambda draw: (64 * draw.whole(100, 192), draw.whole(40, 96), 50257, 2048)),
    ],
    [
        head_twice,
        no_positions,
        no_tokens,
        no_last_norm,
        last_norm_in_each_layer,
        no_norms_in_layers,
        one_norm_a_layer,
        norms_without_shift,
        matrices_only,
        one_layer,
    ],
)
