"""A loss that models with different tokenizers can be compared by."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """A model predicts n_tokens tokens with an average loss in nats a token. The tokens stand for a text of
n_bytes bytes. How many bits does the model need for a byte of the text? A bit is math.log(2) ≈ 0.693 nats."""

HINTS = [
    "How many nats does the whole text take?",
    "One nat is 1 / math.log(2) ≈ 1.44 bits, so divide by math.log(2).",
    "Bits of the whole text, divided by the bytes of the whole text.",
]


def bits_per_byte(loss, n_tokens, n_bytes):
    """Give the bits for a byte; loss is in nats a token."""
    return loss * n_tokens / math.log(2) / n_bytes


def nats(loss, n_tokens, n_bytes):
    """Your number is in nats for a byte. Divide by math.log(2) to get bits."""
    return loss * n_tokens / n_bytes


def times_log_2(loss, n_tokens, n_bytes):
    """You multiply by math.log(2). A bit is less than a nat, so it takes more bits: divide by math.log(2)."""
    return loss * math.log(2) * n_tokens / n_bytes


def a_token(loss, n_tokens, n_bytes):
    """Your number is in bits for a token. Multiply by the tokens and divide by the bytes."""
    return loss / math.log(2)


def upside_down(loss, n_tokens, n_bytes):
    """You multiply by the bytes and divide by the tokens. Multiply the loss by the tokens, which gives the loss of the
    whole text, and divide by the bytes."""
    return loss * n_bytes / math.log(2) / n_tokens


def no_tokens(loss, n_tokens, n_bytes):
    """You divide the loss of one token by all the bytes. Multiply the loss by n_tokens first: it is an average."""
    return loss / math.log(2) / n_bytes


def whole_text(loss, n_tokens, n_bytes):
    """Your number is the bits of the whole text. Divide it by n_bytes."""
    return loss * n_tokens / math.log(2)


def bytes_as_bits(loss, n_tokens, n_bytes):
    """You divide by the number of bits of the text, 8 for each byte. The question is how many bits the model needs
    for a byte: divide by n_bytes."""
    return loss * n_tokens / math.log(2) / (8 * n_bytes)


def log_of_the_loss(loss, n_tokens, n_bytes):
    """You take the logarithm of the loss. The loss is a logarithm already: divide it by math.log(2)."""
    return math.log2(loss) * n_tokens / n_bytes


def perplexity(loss, n_tokens, n_bytes):
    """You use e to the power of the loss, the perplexity. Bits are the loss itself in another unit."""
    return math.exp(loss) * n_tokens / math.log(2) / n_bytes


EXERCISE = Exercise(
    bits_per_byte,
    [
        Case("one token of one byte, two bits", lambda draw: (2 * math.log(2), 1, 1)),
        Case("four bytes a token", lambda draw: (2.0, 100, 400)),
        Case("a token for each byte", lambda draw: (draw.number(1, 4), 50, 50)),
        Case("any text", lambda draw: (draw.number(1, 4), draw.whole(100, 999), draw.whole(2000, 4000))),
        Case("a model that is always right", lambda draw: (0.0, 10, 30)),
        Case("fewer bytes than tokens", lambda draw: (draw.number(1, 4), 30, 20)),
    ],
    [
        nats,
        times_log_2,
        a_token,
        upside_down,
        no_tokens,
        whole_text,
        bytes_as_bits,
        log_of_the_loss,
        perplexity,
    ],
)
