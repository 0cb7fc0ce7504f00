"""Only the likeliest tokens stay, as many as it takes to reach p."""

from minigpt.marking.verdict import Case, Exercise

TASK = """Top-p keeps the smallest set of likeliest tokens whose probabilities add up to p or more, and gives all
others the probability 0. The probabilities that are left are divided by their sum. Of equally likely tokens the
earlier one is taken first."""

HINTS = [
    "Go from the likeliest token to the least likely, and add up. When do you stop?",
    "sorted(range(len(probabilities)), key=lambda i: -probabilities[i]) gives the places, the likeliest first.",
    "The token that makes the sum reach p belongs to the set.",
]


def top_p(probabilities, p):
    """Give the probabilities after the cut, a list of the same length."""
    kept, total = [0.0] * len(probabilities), 0.0
    for i in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        kept[i] = probabilities[i]
        total += probabilities[i]
        if total >= p:
            break
    return [share / total for share in kept]


def _order(probabilities):
    """The places, the likeliest first."""
    return sorted(range(len(probabilities)), key=lambda i: -probabilities[i])


def _cut(probabilities, order, stays):
    """Keep the places of an order while stays(the sum before, the sum after) holds; at least the first. Then
    divide."""
    kept, total = [0.0] * len(probabilities), 0.0
    for i in order:
        after = total + probabilities[i]
        if total > 0 and not stays(total, after):
            break
        kept[i], total = probabilities[i], after
    return [share / sum(kept) for share in kept]


def without_the_crossing(probabilities, p):
    """You leave out the token that crosses the line. It belongs to the set: without it the sum would not reach p."""
    return _cut(probabilities, _order(probabilities), lambda before, after: after < p)


def without_the_crossing_but_equal(probabilities, p):
    """You stop before the sum would be more than p. Stop only when it has reached p: the token that crosses the line
    belongs to the set."""
    return _cut(probabilities, _order(probabilities), lambda before, after: after <= p)


def one_too_many(probabilities, p):
    """You go on although the sum has reached p exactly. Reached is enough: stop at a sum of p or more."""
    return _cut(probabilities, _order(probabilities), lambda before, after: before <= p)


def in_the_given_order(probabilities, p):
    """You add up in the order of the list; begin with the likeliest token and go down."""
    return _cut(probabilities, range(len(probabilities)), lambda before, after: before < p)


def the_least_likely(probabilities, p):
    """You begin with the least likely token; begin with the likeliest. sorted() puts the smallest first."""
    return _cut(probabilities, _order(probabilities)[::-1], lambda before, after: before < p)


def not_divided(probabilities, p):
    """Your probabilities do not add up to 1: divide what is left by its sum."""
    return [share if kept > 0 else 0.0 for share, kept in zip(probabilities, top_p(probabilities, p))]


def at_least_p(probabilities, p):
    """You keep the tokens that have a probability of p each. p is for the sum of all that are kept."""
    kept = [share if share >= p else 0.0 for share in probabilities]
    return [share / sum(kept) if sum(kept) else 0.0 for share in kept]


def share_of_the_largest(probabilities, p):
    """You compare each token with the largest. That is another cut, min-p. Top-p adds up until the sum reaches p."""
    kept = [share if share >= p * max(probabilities) else 0.0 for share in probabilities]
    return [share / sum(kept) for share in kept]


def share_of_the_tokens(probabilities, p):
    """You keep a fixed part of the tokens. Top-p is no percentile: the number of tokens follows from their
    probabilities, few where one leads and many where all are close."""
    n = max(1, round(p * len(probabilities)))
    kept = [share if i in _order(probabilities)[:n] else 0.0 for i, share in enumerate(probabilities)]
    return [share / sum(kept) for share in kept]


def shorter(probabilities, p):
    """You leave the others out, so the list gets shorter. Every token keeps its place, with a probability of 0.0."""
    return [share for share in top_p(probabilities, p) if share > 0]


def last_of_equals(probabilities, p):
    """Of equally likely tokens you take the later one first; take the earlier one."""
    order = sorted(range(len(probabilities)), key=lambda i: (-probabilities[i], -i))
    return _cut(probabilities, order, lambda before, after: before < p)


def _shares_and_p(draw, n):
    """Probabilities of n tokens, no two equal, and a p that no sum of them comes near."""
    numbers = []
    while len(numbers) < n:
        number = draw.whole(1, 60)
        if number not in numbers:
            numbers.append(number)
    total = sum(numbers)
    return [number / total for number in numbers], (draw.whole(total // 3, total - 1) + 0.5) / total


EXERCISE = Exercise(
    top_p,
    [
        Case("p = 0.6, reached by the second", lambda draw: ([0.125, 0.5, 0.0625, 0.3125], 0.6)),
        Case("one token leads", lambda draw: ([0.0625, 0.875, 0.0625], 0.5)),
        Case("six tokens", lambda draw: _shares_and_p(draw, 6)),
        Case("five tokens", lambda draw: _shares_and_p(draw, 5)),
        Case("a sum of exactly p", lambda draw: ([0.25, 0.5, 0.125, 0.125], 0.75)),
        Case("equally likely tokens", lambda draw: ([0.25, 0.25, 0.25, 0.25], 0.375)),
        Case("p = 1", lambda draw: ([0.25, 0.5, 0.125, 0.125], 1.0)),
        Case("a tiny p", lambda draw: (_shares_and_p(draw, 4)[0], 0.0001)),
    ],
    [
        without_the_crossing,
        without_the_crossing_but_equal,
        one_too_many,
        in_the_given_order,
        the_least_likely,
        not_divided,
        at_least_p,
        share_of_the_largest,
        share_of_the_tokens,
        shorter,
        last_of_equals,
    ],
)
