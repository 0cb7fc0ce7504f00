import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.data import plays
from minigpt.novelty import longest_overlap, novelty, words

few_words = st.lists(st.sampled_from("abc"), max_size=12)


def runs(sequence, n):
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


def runs_of_all(texts, n):
    return [run for text in texts for run in runs(text, n)]


@given(st.lists(few_words, max_size=3), few_words, st.integers(1, 4))
def test_novelty_is_the_share_of_runs_that_are_nowhere_in_the_source(texts, source, n):
    if not runs_of_all(texts, n):
        with pytest.raises(ValueError, match=f"texts must have one of at least n={n} words; the longest of"):
            novelty(texts, source, n)
        return
    new = [run for run in runs_of_all(texts, n) if run not in runs(source, n)]
    assert novelty(texts, source, n) == len(new) / len(runs_of_all(texts, n))


@given(st.lists(few_words, max_size=3), few_words)
def test_the_longest_overlap_is_the_first_of_the_longest(texts, source):
    shared = [run for n in range(1, 13) for run in runs_of_all(texts, n) if run in runs(source, n)]
    longest = max(map(len, shared), default=0)
    assert longest_overlap(texts, source) == list(next((run for run in shared if len(run) == longest), ()))


def test_a_line_of_a_play_is_found_in_it_whatever_its_layout():
    macbeth = words(next(play.text for play in plays() if play.name == "macbeth"))
    said = words("And so he said: is this a DAGGER which I\nsee before me, the spoon")
    assert " ".join(longest_overlap([said], macbeth)) == "is this a dagger which i see before me , the"


def test_n_is_a_size():
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        novelty([["a"]], ["a"], 0)
