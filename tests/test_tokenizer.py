import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from minigpt.data import plays
from minigpt.tokenizer import END_OF_TEXT, end_of_text_id, token_bytes, train_tokenizer

TEXTS = ["Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\n" * 20]


TOKENIZER = train_tokenizer(TEXTS, 307)


def test_the_vocabulary_has_the_size_asked_for_and_an_end():
    assert TOKENIZER.get_vocab_size() == 307
    assert TOKENIZER.decode([end_of_text_id(TOKENIZER)], skip_special_tokens=False) == END_OF_TEXT


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_every_text_is_read_back(text):
    ids = TOKENIZER.encode(text).ids
    if END_OF_TEXT not in text:
        assert TOKENIZER.decode(ids) == text
        assert token_bytes(TOKENIZER)[ids].sum() == len(text.encode())


def test_the_same_texts_give_the_same_tokenizer():
    texts = [play.text for play in plays()[:3]]
    assert train_tokenizer(texts, 700).to_str() == train_tokenizer(texts, 700).to_str()


def test_frequent_words_become_tokens():
    assert TOKENIZER.encode(" more lovely").tokens == ["Ġmore", "Ġlovely"]


@pytest.mark.parametrize(
    ("vocab_size", "error", "message"),
    [
        (256, ValueError, "vocab_size must be at least 257, the bytes and <|endoftext|>; got 256"),
        (100_000, ValueError, "vocab_size must be at most [0-9]+, all that these texts have; got 100000"),
        ("many", TypeError, "vocab_size must be an int"),
    ],
)
def test_an_impossible_vocabulary_is_refused(vocab_size, error, message):
    with pytest.raises(error, match=message.replace("|", r"\|")):
        train_tokenizer(TEXTS, vocab_size)


def test_a_tokenizer_without_an_end_is_named():
    with pytest.raises(ValueError, match="must have the token"):
        end_of_text_id(Tokenizer(models.BPE()))
