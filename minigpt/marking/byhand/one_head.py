"""One head of attention: who looks at whom, and what comes of it."""

import math

from minigpt.marking.verdict import Case, Exercise

TASK = """One head of attention. Each position has a query, a key and a value, all lists of numbers. A position
compares its query with the keys of the positions up to and including itself: the score is their dot product, divided
by the square root of D, the length of a query. A softmax makes weights of the scores, and the output is the weighted
sum of the values."""

HINTS = [
    "Position t sees keys[: t + 1] and values[: t + 1]. Position 0 sees only itself: what is its output?",
    "The score of a key: sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)).",
    "The weights of a position: math.exp of each score, divided by their sum. Subtract the largest score before.",
    "Number i of the output: the sum of weight · value[i] over all positions that are seen.",
]


def one_head(queries, keys, values):
    """Give the outputs, a list for each position, each as long as a value."""
    outputs = []
    for t, query in enumerate(queries):
        scores = [sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)) for key in keys[: t + 1]]
        powers = [math.exp(score - max(scores)) for score in scores]
        weights = [power / sum(powers) for power in powers]
        output = [0.0] * len(values[0])
        for weight, value in zip(weights, values):
            output = [number + weight * v for number, v in zip(output, value)]
        outputs.append(output)
    return outputs


def _weights(queries, keys, divisor=math.sqrt, sees=lambda t, s: s <= t):
    """The weights, row by row; 0 where nothing is seen."""
    scores = [[sum(q * k for q, k in zip(query, key)) / divisor(len(query)) for key in keys] for query in queries]
    rows = []
    for t, row in enumerate(scores):
        largest = max([score for s, score in enumerate(row) if sees(t, s)])
        powers = [math.exp(score - largest) if sees(t, s) else 0.0 for s, score in enumerate(row)]
        rows.append([power / sum(powers) for power in powers])
    return rows


def _mixed(weights, values):
    """The weighted sums of the values."""
    return [[sum(w * value[i] for w, value in zip(row, values)) for i in range(len(values[0]))] for row in weights]


def no_root(queries, keys, values):
    """You do not divide the scores by √D. Divide each dot product by math.sqrt(len(query)) before the softmax."""
    return _mixed(_weights(queries, keys, divisor=lambda width: 1), values)


def by_the_width(queries, keys, values):
    """You divide the scores by D; divide them by its square root."""
    return _mixed(_weights(queries, keys, divisor=lambda width: width), values)


def by_the_root_of_positions(queries, keys, values):
    """You divide the scores by the square root of the number of positions; divide them by √D, where D is the length
    of a query: a dot product adds up D terms, however many positions there are."""
    return _mixed(_weights(queries, keys, divisor=lambda width: math.sqrt(len(keys))), values)


def no_mask(queries, keys, values):
    """Your positions look ahead. Position t sees the positions 0 to t only: what comes after is what it has to
    predict."""
    return _mixed(_weights(queries, keys, sees=lambda t, s: True), values)


def hides_the_past(queries, keys, values):
    """Your positions see themselves and what comes after: your mask hides the past, not the future."""
    return _mixed(_weights(queries, keys, sees=lambda t, s: s >= t), values)


def wrong_axis(queries, keys, values):
    """Your softmax runs over the wrong axis: the weights that one position hands out must add up to 1, not the
    weights that one position gets."""
    columns = range(len(keys))
    scores = [[sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)) for key in keys] for query in queries]
    powers = [[math.exp(row[s]) if s <= t else 0.0 for s in columns] for t, row in enumerate(scores)]
    sums = [sum(row[s] for row in powers) for s in columns]
    return _mixed([[row[s] / sums[s] for s in columns] for row in powers], values)


def no_softmax(queries, keys, values):
    """You mix the values by the scores themselves. Make weights of the scores first, by a softmax."""
    scores = [[sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)) for key in keys] for query in queries]
    return _mixed([[score if s <= t else 0.0 for s, score in enumerate(row)] for t, row in enumerate(scores)], values)


def mixes_the_keys(queries, keys, values):
    """You mix the keys. Keys are there to be compared with; what is handed over are the values."""
    return _mixed(_weights(queries, keys), keys)


def swapped(queries, keys, values):
    """You have exchanged queries and keys: the query of the position that looks meets the keys of those it looks
    at."""
    return _mixed(_weights(keys, queries), values)


def after_the_softmax(queries, keys, values):
    """Your mask comes after the softmax, so the weights of a row no longer add up to 1. Leave the future out
    before."""
    rows = _weights(queries, keys, sees=lambda t, s: True)
    return _mixed([[weight if s <= t else 0.0 for s, weight in enumerate(row)] for t, row in enumerate(rows)], values)


def no_largest(queries, keys, values):
    """math.exp overflows from about 710 on. Subtract the largest score of the row from all of its scores first: the
    weights stay the same."""
    for query in queries:
        for key in keys:
            math.exp(sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)))
    return one_head(queries, keys, values)


EXERCISE = Exercise(
    one_head,
    [
        Case("a single position", lambda draw: ([[1.0, 0.0]], [[2.0, 1.0]], [[5.0, 7.0]])),
        Case("queries of zeros", lambda draw: ([[0.0, 0.0]] * 2, [[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]])),
        Case("three tokens, D = 2", lambda draw: (draw.numbers(3, 2), draw.numbers(3, 2), draw.numbers(3, 2))),
        Case("four tokens, D = 3", lambda draw: (draw.numbers(4, 3), draw.numbers(4, 3), draw.numbers(4, 3))),
        Case("two tokens, D = 4", lambda draw: (draw.numbers(2, 4), draw.numbers(2, 4), draw.numbers(2, 4))),
        Case("values longer than keys", lambda draw: (draw.numbers(3, 2), draw.numbers(3, 2), draw.numbers(3, 4))),
        Case("very large scores", lambda draw: ([[40.0, 0.0]] * 2, [[40.0, 0.0], [39.9, 0.0]], [[1.0], [2.0]])),
    ],
    [
        no_root,
        by_the_width,
        by_the_root_of_positions,
        no_mask,
        hides_the_past,
        wrong_axis,
        no_softmax,
        mixes_the_keys,
        swapped,
        after_the_softmax,
        no_largest,
    ],
)
