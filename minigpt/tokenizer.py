"""Text to token ids and back: byte-level byte-pair encoding, trained here, or GPT-2's own."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from minigpt.checks import check_size

#: The token that ends a document. It stands for no bytes; a model learns it like any other token.
#: If a text contains these characters, they are encoded as this token. `Tokenizer.decode` leaves it
#: out, unless it is called with skip_special_tokens=False.
END_OF_TEXT = "<|endoftext|>"
#: The largest vocabulary allowed here; the largest in use have some 260,000 tokens.
MOST_TOKENS = 1_000_000
#: A longer word (a genome, a picture in base64) is cut into parts of this many characters before it is
#: learned from: the time to learn grows with the square of a word's length.
LONGEST_WORD = 1_000


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level byte-pair encoding, in which every text can be written without loss.

    It begins with the 256 bytes and joins the most frequent pair of neighbours, again and again, until
    there are vocab_size tokens, or no pair is left to join. The same texts give the same tokenizer.
    `END_OF_TEXT` in a text ends a document, and nothing is learned from it: encoding turns it into one
    token. `decode` leaves this token out, unless it is called with skip_special_tokens=False.

    Args:
        texts: the texts to learn from; they are read once.
        vocab_size: the largest number of tokens; 256 are the bytes and one is `END_OF_TEXT`. If the
            texts are short, there are fewer: the tokenizer's `get_vocab_size()` says how many.

    Raises:
        ValueError: vocab_size is less than 257 or more than `MOST_TOKENS`.

    Source: Sennrich et al. (2016); on bytes, Radford et al. (2019), section 2.2.
    """
    check_size("vocab_size", vocab_size)
    if vocab_size < 257:
        raise ValueError(f"vocab_size must be at least 257, the bytes and {END_OF_TEXT}; got {vocab_size}")
    if vocab_size > MOST_TOKENS:
        raise ValueError(f"vocab_size must be at most {MOST_TOKENS:,}; got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(learnable(texts), trainer)
    return tokenizer


def learnable(texts: Iterable[str]) -> Iterator[str]:
    """Cut texts at each `END_OF_TEXT`, and after `LONGEST_WORD` characters of a word or of a run of spaces."""
    long = re.compile(rf"\S{{{LONGEST_WORD}}}|\s{{{LONGEST_WORD}}}")
    for text in texts:
        for part in text.split(END_OF_TEXT):
            begin = 0
            for word in long.finditer(part):
                yield part[begin : word.end()]
                begin = word.end()
            yield part[begin:]


def read_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds no tokenizer; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file with a tokenizer; there is none")
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises a bare Exception whatever goes wrong
        raise ValueError(f"{path} must hold a tokenizer; it is damaged, or something else: {error}") from None


def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's tokenizer of 50,257 tokens, from Hugging Face's hub or, if it was fetched before, from disk.

    Raises:
        ConnectionError: the tokenizer was never fetched, and the hub can't be reached.
    """
    try:
        return Tokenizer.from_pretrained("openai-community/gpt2")
    except Exception as error:  # the library raises a bare Exception whatever goes wrong
        raise ConnectionError(
            "GPT-2's tokenizer must be fetched from huggingface.co, which can't be reached"
        ) from error


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """The id of `END_OF_TEXT`.

    Raises:
        ValueError: the tokenizer has no such token.
    """
    end_id = tokenizer.token_to_id(END_OF_TEXT)
    if end_id is None:
        raise ValueError(f"tokenizer must have the token {END_OF_TEXT}; it has not")
    return end_id


def token_bytes(tokenizer: Tokenizer) -> torch.Tensor:
    """The number of bytes of text that each token stands for, (V,); 0 for `END_OF_TEXT`.

    In a byte-level vocabulary every character of a token's name is one byte.
    """
    V = tokenizer.get_vocab_size()
    lengths = [len(tokenizer.id_to_token(i)) for i in range(V)]
    lengths[end_of_text_id(tokenizer)] = 0
    return torch.tensor(lengths)
