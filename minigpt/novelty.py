"""Did a model write it, or remember it? What a text shares, word for word, with the text it learned from.

After McCoy et al. (2023), "How much do language models copy from their training data?"
"""

import re
from collections.abc import Iterator, Sequence

from minigpt.checks import check_size


def words(text: str) -> list[str]:
    """Words in lower case, and marks of punctuation as words of their own; layout is left out.

    >>> words("JULIET:\\nGood night, sweet prince's friend!")
    ['juliet', ':', 'good', 'night', ',', 'sweet', "prince's", 'friend', '!']
    """
    return re.findall(r"\w+(?:['’-]\w+)*|[^\w\s]", text.lower())


def n_grams(sequence: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """All runs of n neighbours."""
    return zip(*(sequence[i:] for i in range(n)), strict=False)


def novelty(texts: Sequence[list[str]], source: list[str], n: int) -> float:
    """The share of the texts' n-grams, repetitions counted, that the source does not have.

    Args:
        texts, source: see `words`.
        n: how many words in a row.

    Returns:
        0 if every one of them stands in the source, 1 if none does.

    Raises:
        ValueError: no text has n words.

    >>> novelty([["to", "be", "or", "not"]], ["not", "to", "be"], 2)
    0.6666666666666666
    """
    check_size("n", n)
    grams = [gram for text in texts for gram in n_grams(text, n)]
    if not grams:
        longest = max(map(len, texts), default=0)
        raise ValueError(f"texts must have one of at least n={n} words; the longest of {len(texts)} has {longest}")
    known = set(grams).intersection(n_grams(source, n))
    return sum(gram not in known for gram in grams) / len(grams)


def longest_overlap(texts: Sequence[list[str]], source: list[str]) -> list[str]:
    """The longest run of words of a text that stands in the source, too; the first, if several are.

    If n words in a row are in the source, so are any fewer of them: the length is found by halving.
    """
    shared, too_long = 0, max(map(len, texts), default=0) + 1
    best: list[str] = []
    while too_long - shared > 1:
        n = min(2 * shared or 1, (shared + too_long) // 2)
        grams = [gram for text in texts for gram in n_grams(text, n)]
        known = set(grams).intersection(n_grams(source, n))
        if known:
            shared, best = n, list(next(gram for gram in grams if gram in known))
        else:
            too_long = n
    return best
