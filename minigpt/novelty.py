"""Did a model write a text, or remember it? How much it shares, word for word, with the text it learned from.

After McCoy et al. (2023), "How much do language models copy from their training data?"
"""

import re
from collections.abc import Iterator, Sequence

from minigpt.checks import check_size


def words(text: str) -> list[str]:
    """The words of a text in lower case. Punctuation marks are words of their own; spaces and line breaks are left out.

    >>> words("JULIET:\\nGood night, sweet prince's friend!")
    ['juliet', ':', 'good', 'night', ',', 'sweet', "prince's", 'friend', '!']
    """
    return re.findall(r"\w+(?:['’-]\w+)*|[^\w\s]", text.lower())


def n_grams(sequence: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """All runs of n neighbouring words."""
    return zip(*(sequence[i:] for i in range(n)), strict=False)


def novelty(texts: Sequence[list[str]], source: list[str], n: int) -> float:
    """The share of the texts' n-grams that the source does not have; repeated n-grams count each time.

    Args:
        texts, source: as `words` returns them.
        n: the number of words in an n-gram.

    Returns:
        0 if every n-gram is in the source, 1 if none is.

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
    """The longest run of words of a text that is in the source, too; the first, if there are several.

    If a run of n words is in the source, so are all shorter runs inside it. So the length can be found by halving.
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
