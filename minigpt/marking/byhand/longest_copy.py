"""The longest run of words that a text shares with another."""

from minigpt.marking.verdict import Case, Exercise

TASK = """Does a model recite? Look for the longest run of neighbouring words of a text that stands in the source in
the same order, without a gap. Both are lists of words. Of several runs of that length give the first of the text; if
no word is shared, give an empty list."""

HINTS = [
    "text[i : i + n] is the run of n words that begins at word i. How can you tell whether it stands in the source?",
    "It does if source[j : j + n] == text[i : i + n] for some j.",
    "Try every i and every n, and keep the longest run that you find. Replace it only by a longer one.",
]


def longest_copy(text, source):
    """Give the longest shared run, a list of words."""
    best = []
    for i in range(len(text)):
        for j in range(len(source)):
            n = 0
            while i + n < len(text) and j + n < len(source) and text[i + n] == source[j + n]:
                n += 1
            if n > len(best):
                best = text[i : i + n]
    return best


def common_words(text, source):
    """You collect all words that both have. They must stand side by side, in the same order, in both."""
    return [word for word in text if word in source]


def shared_in_text_only(text, source):
    """Your run stands side by side in the text, but not in the source: its words are there one by one. The whole run
    must be in the source without a gap."""
    best, run = [], []
    for word in [*text, None]:
        run = [*run, word] if word in source else []
        best = list(run) if len(run) > len(best) else best
    return best


def with_gaps(text, source):
    """Your run leaves words out: its words are in the same order, but not side by side."""
    table = [[[] for _ in range(len(source) + 1)] for _ in range(len(text) + 1)]
    for i, word in enumerate(text):
        for j, other in enumerate(source):
            either = table[i][j + 1] if len(table[i][j + 1]) >= len(table[i + 1][j]) else table[i + 1][j]
            table[i + 1][j + 1] = [*table[i][j], word] if word == other else either
    return table[-1][-1]


def same_beginning(text, source):
    """You compare the beginnings only. The run may begin at any word of the text and at any word of the source."""
    n = 0
    while n < min(len(text), len(source)) and text[n] == source[n]:
        n += 1
    return text[:n]


def same_places(text, source):
    """You compare words at the same places. The run may stand anywhere in the source, at another place than in the
    text."""
    best, run = [], []
    for i in range(min(len(text), len(source)) + 1):
        run = [*run, text[i]] if i < min(len(text), len(source)) and text[i] == source[i] else []
        best = list(run) if len(run) > len(best) else best
    return best


def nothing(text, source):
    """Your list is always empty, even where words are shared."""
    return []


def only_the_length(text, source):
    """You give the length of the run; the run itself is asked for, a list of words."""
    return len(longest_copy(text, source))


def one_string(text, source):
    """You give one string; a list of words is asked for."""
    return " ".join(longest_copy(text, source))


def last_of_equals(text, source):
    """Of several longest runs you give the last; give the first. Replace the best run only by one that is longer."""
    best = []
    for i in range(len(text)):
        for n in range(1, len(text) - i + 1):
            run = text[i : i + n]
            if len(run) >= len(best) and any(source[j : j + n] == run for j in range(len(source))):
                best = run
    return best


def order_of_the_source(text, source):
    """Of several longest runs you give the one that comes first in the source; give the one that comes first in the
    text."""
    return longest_copy(source, text)


def stops_before_the_end(text, source):
    """Your run never reaches the last word of the text. A slice text[i:j] ends before j, so j must go up to
    len(text)."""
    return longest_copy(text[:-1], source)


def first_run(text, source):
    """You stop at the first run that is shared. A later one may be longer: keep looking, and keep the longest."""
    for i in range(len(text)):
        runs = [longest_copy(text[i : i + n], source) for n in range(1, len(text) - i + 1)]
        shared = [run for n, run in enumerate(runs, 1) if len(run) == n]
        if shared:
            return shared[-1]
    return []


def _words(draw, n):
    """A text of n words, of few different ones."""
    return [["my", "lord", "good", "night", "sweet"][draw.whole(0, 4)] for _ in range(n)]


def _like(first, second):
    return first.split(), second.split()


EXERCISE = Exercise(
    longest_copy,
    [
        Case("a run in the middle", lambda draw: _like("o good night sweet prince", "say good night sweet lady good")),
        Case("a gap in the source", lambda draw: _like("to be or not to be", "not that or this to be sure")),
        Case("nothing in common", lambda draw: _like("the king", "a queen")),
        Case("three equal runs", lambda draw: _like("my lord o good night so be it", "good night or be it my lord")),
        Case("few words, many runs", lambda draw: (_words(draw, 8), _words(draw, 10))),
        Case("a text longer than the source", lambda draw: (_words(draw, 12), _words(draw, 7))),
        Case("an empty text", lambda draw: ([], ["a", "word"])),
        Case("a longer run at the end", lambda draw: _like("a king good night my lord", "king a good night my lord")),
        Case("the same beginning", lambda draw: _like("good night lady", "good night my sweet lord")),
    ],
    [
        common_words,
        shared_in_text_only,
        with_gaps,
        nothing,
        same_beginning,
        same_places,
        only_the_length,
        one_string,
        last_of_equals,
        order_of_the_source,
        stops_before_the_end,
        first_run,
    ],
)
