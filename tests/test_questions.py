"""minigpt/questions.py, on models whose answers are known."""

import pytest
import torch

from minigpt import CONFIGS, GPT, pretrained
from minigpt.questions import (
    BETWEEN,
    FILLERS,
    NOUNS,
    Reader,
    agreement,
    agreement_by_distance,
    losses,
    passages_of,
    prefers,
    repeated,
    swapped_lines,
    two_nouns,
)

WORDS: dict[str, int] = {"\n": 0}
PLURALS = {plural for _, plural in NOUNS}


def encode(text: str) -> list[int]:
    """A token for each word, and for each line's end."""
    words = text.replace("\n", " \n ").split(" ")
    return [WORDS.setdefault(word, len(WORDS)) for word in words if word]


def verb_reader(follows) -> Reader:
    """A model that knows of verbs only: `follows(nouns)` says whether *are* follows, after the nouns so far.

    It gives the verb that it expects e times the weight of the other.
    """
    nouns = {noun for pair in NOUNS for noun in pair}
    encode("is are")

    def logits(tokens):
        names = {i: word for word, i in WORDS.items()}
        scores = torch.zeros(*tokens.shape, 2_000, dtype=torch.double)
        for row, ids in enumerate(tokens.tolist()):
            seen = []
            for t, token in enumerate(ids):
                if names.get(token) in nouns:
                    seen.append(names[token])
                expected = "are" if seen and follows(seen) else "is"
                scores[row, t, WORDS[expected]] = 1.0
        return scores

    return Reader(logits, encode)


def test_a_verb_that_goes_by_the_first_noun_is_always_right():
    reader = verb_reader(lambda nouns: nouns[0] in PLURALS)
    assert agreement(reader, " that came here") == pytest.approx((1, 1, torch.e**2))
    for middle in BETWEEN:
        found = two_nouns(reader, middle)
        assert found.alike == found.misleading == (1, 1)
        assert (found.by_subject, found.by_other) == pytest.approx((torch.e**2, 1))


def test_a_verb_that_goes_by_the_last_noun_is_led_astray():
    found = two_nouns(verb_reader(lambda nouns: nouns[-1] in PLURALS), " of the {}")
    assert found.alike == (1, 1) and found.misleading == (0, 0)
    assert (found.by_subject, found.by_other) == pytest.approx((1, torch.e**2))


def test_a_model_that_likes_one_verb_has_all_singulars_right_and_no_plural():
    assert agreement(verb_reader(lambda nouns: False), "") == pytest.approx((1, 0, 1))


def test_every_filler_stands_at_its_distance():
    found = agreement_by_distance(verb_reader(lambda nouns: nouns[0] in PLURALS))
    assert {n: len(each) for n, each in found.items()} == {0: 1, 1: 9, 3: 6, 5: 4, 7: 4}
    assert sum(map(len, found.values())) == len(FILLERS)


def test_the_probability_of_texts_is_that_of_their_tokens():
    torch.manual_seed(0)
    model, tokenizer = GPT(CONFIGS["tiny"]).double().eval(), pretrained.load_tokenizer("shakespeare")
    texts = ["To be, or not to be", "no"]
    found = Reader.of(model, tokenizer).log_probability(texts)
    for text, log_p in zip(texts, found, strict=True):
        start, ids = tokenizer.encode("\n").ids, tokenizer.encode(text).ids
        with torch.no_grad():
            each = model(torch.tensor([start + ids]))[0].log_softmax(-1)
        wanted = sum(each[len(start) - 1 + i, token] for i, token in enumerate(ids))
        assert log_p.item() == pytest.approx(wanted.item())


def test_two_plain_words_inside_a_line_are_exchanged():
    text = "One two three four five six seven Eight\nToo short a line\n" + " ".join("abcdefghi")
    lines, swapped = swapped_lines(text)
    assert lines == [text.split("\n")[0], text.split("\n")[2]]
    for line, other in zip(lines, swapped, strict=True):
        a, b = line.split(), other.split()
        (i, j) = [k for k in range(len(a)) if a[k] != b[k]]
        assert j == i + 1 and (a[i], a[j]) == (b[j], b[i]) and i > 0 and j < len(a) - 1
    assert swapped_lines(text) == (lines, swapped) and len(swapped_lines(text, n=1)[0]) == 1


def test_a_model_that_knows_nothing_prefers_no_order():
    reader = Reader(lambda tokens: torch.zeros(*tokens.shape, 2_000), encode)
    assert prefers(reader, ["a b c"], ["a c b"]) == 0  # equally likely is not likelier


def test_losses_are_those_of_the_last_tokens():
    rows = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])
    certain = torch.nn.functional.one_hot(rows[:, 1:], 5) * 100.0
    reader = Reader(lambda tokens: certain.clone().index_fill(1, torch.tensor([0]), 0.0), encode)
    assert losses(reader, rows, 2).tolist() == pytest.approx([0, 0])
    assert losses(reader, rows, 3).tolist() == pytest.approx([torch.tensor(5.0).log().item() / 3] * 2)


def test_passages_are_evenly_spaced():
    assert passages_of(torch.arange(11), 3, 3).tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]


def test_what_was_there_before_is_repeated():
    assert repeated(["a", "b", "c", "d", "a", "b", "c", "d"]) == pytest.approx(1 / 5)
    assert repeated(["a", "b", "c", "d", "e"]) == repeated(["a"]) == 0
