"""The bytes of the keys and values that a text leaves behind."""

from minigpt.marking.verdict import Case, Exercise

TASK = """While a GPT writes, it keeps the key and the value of every token that it has read, in every layer. How many
bytes does the cache take? A key has d_model numbers, all heads together; so has a value. A number takes number_bytes
bytes."""

HINTS = [
    "For one token and one layer: one key and one value. How many numbers is that?",
    "Every layer keeps its own keys and values, and every token has left some.",
    "The number of heads changes nothing: n_heads heads of d_model / n_heads numbers each are d_model numbers.",
]


def kv_cache_bytes(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """Give the bytes of all keys and values of n_tokens tokens."""
    return 2 * n_layers * n_tokens * d_model * number_bytes


def keys_only(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count one vector for each token. The cache keeps two: a key and a value."""
    return n_layers * n_tokens * d_model * number_bytes


def queries_too(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count the queries, too. A query is needed once, when its own position looks; later positions need only keys
    and values."""
    return 3 * n_layers * n_tokens * d_model * number_bytes


def for_each_head(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You multiply by the number of heads. The heads share the width: all of them together have d_model numbers."""
    return 2 * n_heads * n_layers * n_tokens * d_model * number_bytes


def one_head_only(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count a single head, d_model / n_heads numbers. Every head keeps keys and values of its own."""
    return 2 * n_layers * n_tokens * (d_model // n_heads) * number_bytes


def one_layer(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count a single layer. Every layer keeps keys and values of its own."""
    return 2 * n_tokens * d_model * number_bytes


def one_token(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count a single token: multiply by n_tokens."""
    return 2 * n_layers * d_model * number_bytes


def numbers(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count numbers, not bytes: multiply by number_bytes."""
    return 2 * n_layers * n_tokens * d_model


def bits(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """You count bits. The answer is asked for in bytes, and number_bytes are bytes already."""
    return 16 * n_layers * n_tokens * d_model * number_bytes


def square(d_model, n_heads, n_layers, n_tokens, number_bytes):
    """Your cache grows with the square of the number of tokens. The table of weights does; keys and values do not."""
    return 2 * n_layers * n_tokens * n_tokens * d_model * number_bytes


EXERCISE = Exercise(
    kv_cache_bytes,
    [
        Case("one token, one layer", lambda draw: (4, 2, 1, 1, 4)),
        Case("three tokens, two layers", lambda draw: (6, 2, 2, 3, 4)),
        Case("a single head", lambda draw: (8, 1, 3, draw.whole(2, 9), 4)),
        Case("numbers of 16 bits", lambda draw: (16, 4, 2, draw.whole(10, 99), 2)),
        Case("the homework's model, its context full", lambda draw: (1280, 20, 12, 1024, 4)),
        Case("no token yet", lambda draw: (768, 12, 12, 0, 4)),
        Case("GPT-3's shape", lambda draw: (12288, 96, 96, draw.whole(1000, 2048), 2)),
    ],
    [
        keys_only,
        queries_too,
        for_each_head,
        one_head_only,
        one_layer,
        one_token,
        numbers,
        bits,
        square,
    ],
)
