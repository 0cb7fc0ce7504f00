"""Text to token ids and back: byte-level byte-pair encoding, trained here, or GPT-2's own."""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from minigpt.config import check_size

#: The token that ends a document. It stands for no bytes, and is learned like any other.
END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn a byte-level byte-pair encoding: every text can be written in it, and read back.

    It begins with the 256 bytes and joins the most frequent neighbours, again and again, until
    there are vocab_size tokens. The same texts give the same tokenizer.

    Args:
        texts: what to learn from; read once.
        vocab_size: V, the number of tokens, of which 256 are the bytes and one is `END_OF_TEXT`.

    Raises:
        ValueError: V is less than 257, or the texts are too short to have that many tokens.

    Source: Sennrich et al. (2016); on bytes, Radford et al. (2019), section 2.2.
    """
    check_size("vocab_size", vocab_size)
    if vocab_size < 257:
        raise ValueError(f"vocab_size must be at least 257, the bytes and {END_OF_TEXT}; got {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learned = tokenizer.get_vocab_size()
    if learned < vocab_size:
        raise ValueError(f"vocab_size must be at most {learned}, all that these texts have; got {vocab_size}")
    return tokenizer


def gpt2_tokenizer() -> Tokenizer:
    """GPT-2's tokenizer, 50,257 tokens, from Hugging Face's hub or what was fetched from it before.

    Raises:
        ConnectionError: it was never fetched, and the hub can't be reached.
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
    found = tokenizer.token_to_id(END_OF_TEXT)
    if found is None:
        raise ValueError(f"tokenizer must have the token {END_OF_TEXT}; it has not")
    return found


def token_bytes(tokenizer: Tokenizer) -> torch.Tensor:
    """How many bytes of text each token stands for, (V,); none for `END_OF_TEXT`.

    In a byte-level vocabulary every character of a token's name is one byte.
    """
    V = tokenizer.get_vocab_size()
    lengths = [len(tokenizer.id_to_token(i)) for i in range(V)]
    lengths[end_of_text_id(tokenizer)] = 0
    return torch.tensor(lengths)
