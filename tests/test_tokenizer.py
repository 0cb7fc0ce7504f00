import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

import minigpt.tokenizer as tokenizer_module
from minigpt.data import plays
from minigpt.tokenizer import (
    END_OF_TEXT,
    LONGEST_WORD,
    end_of_text_id,
    learnable,
    read_tokenizer,
    token_bytes,
    train_tokenizer,
)

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


def test_the_marker_is_the_token_and_nothing_to_learn_from():
    text = END_OF_TEXT.join(["abc abd acd bcd " * 3] * 200)
    learned = train_tokenizer([text], 264)
    assert learned.to_str() == train_tokenizer(text.split(END_OF_TEXT), 264).to_str()
    assert not [token for token in learned.get_vocab() if len(token) > 1 and set(token) & set("<|>")][1:]
    marked = f"a{END_OF_TEXT}b"
    ids = learned.encode(marked).ids
    assert len(ids) == 3 and ids[1] == end_of_text_id(learned)
    assert learned.decode(ids) == "ab" and learned.decode(ids, skip_special_tokens=False) == marked


def test_a_long_word_is_learned_from_in_parts_and_nothing_of_it_is_lost():
    for text in ("ab" * 5_000, " " * 5_000 + "a", "a" * 1_001 + " \n" * 2_000 + "b" * 999):
        parts = list(tokenizer_module.learnable([text]))
        assert "".join(parts) == text and len(parts) > 1 and max(map(len, parts)) <= 3_000
    assert list(tokenizer_module.learnable(["short words\n" * 999])) == ["short words\n" * 999]


def test_a_long_word_is_learned_from_in_parts():
    """The time it takes grows with the square of a word's length."""
    letters = "".join(random.Random(0).choices("ACGT", k=160_000))
    for text in (letters, " " * 5_000, f"a {letters[:2_500]} b"):
        parts = list(learnable([text]))
        assert "".join(parts) == text and max(map(len, parts)) <= LONGEST_WORD + 2
    assert train_tokenizer([letters], 512).get_vocab_size() == 512


def test_a_short_text_has_fewer_tokens_to_learn():
    assert 257 < train_tokenizer(TEXTS, 100_000).get_vocab_size() < 100_000


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"version": "1.0"}', "\xff"])
def test_a_damaged_tokenizer_is_named(content, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match="tokenizer.json must hold a tokenizer; it is damaged"):
        read_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(FileNotFoundError, match="none.json must be a file with a tokenizer"):
        read_tokenizer(tmp_path / "none.json")


def test_the_same_texts_give_the_same_tokenizer():
    texts = [play.text for play in plays()[:3]]
    assert train_tokenizer(texts, 700).to_str() == train_tokenizer(texts, 700).to_str()


def test_frequent_words_become_tokens():
    assert TOKENIZER.encode(" more lovely").tokens == ["Ġmore", "Ġlovely"]


@pytest.mark.parametrize(
    ("vocab_size", "error", "message"),
    [
        (256, ValueError, "vocab_size must be at least 257, the bytes and <|endoftext|>; got 256"),
        (10**9, ValueError, "vocab_size must be at most 1,000,000; got 1000000000"),
        ("many", TypeError, "vocab_size must be an int"),
    ],
)
def test_an_impossible_vocabulary_is_refused(vocab_size, error, message):
    with pytest.raises(error, match=message.replace("|", r"\|")):
        train_tokenizer(TEXTS, vocab_size)


def test_a_tokenizer_without_an_end_is_named():
    with pytest.raises(ValueError, match="must have the token"):
        end_of_text_id(Tokenizer(models.BPE()))
