"""Only the k likeliest tokens stay."""

from minigpt.marking.verdict import Case, Exercise

TASK = """Top-k keeps the k likeliest tokens and gives all others the probability 0. A token that is exactly as likely
as the k-th stays, too. The probabilities that are left are divided by their sum, so that they add up to 1 again."""

HINTS = [
    "sorted(probabilities, reverse=True) puts the largest first. Which place has the k-th?",
    "Keep a probability if it is at least as large as the k-th; put 0.0 in the place of the others.",
    "k may be larger than the number of tokens. Then all stay.",
]


def top_k(probabilities, k):
    """Give the probabilities after the cut, a list of the same length."""
    smallest = sorted(probabilities, reverse=True)[min(k, len(probabilities)) - 1]
    kept = [p if p >= smallest else 0.0 for p in probabilities]
    return [p / sum(kept) for p in kept]


def _kept(probabilities, keeps):
    """The probabilities at the places in `keeps`, divided by their sum."""
    kept = [p if i in keeps else 0.0 for i, p in enumerate(probabilities)]
    return [p / sum(kept) for p in kept]


def _order(probabilities):
    """The places, the likeliest first."""
    return sorted(range(len(probabilities)), key=lambda i: -probabilities[i])


def not_divided(probabilities, k):
    """Your probabilities do not add up to 1: divide what is left by its sum."""
    smallest = sorted(probabilities, reverse=True)[min(k, len(probabilities)) - 1]
    return [p if p >= smallest else 0.0 for p in probabilities]


def the_first_ones(probabilities, k):
    """You keep the first k tokens; keep the k likeliest, wherever they stand."""
    return _kept(probabilities, range(k))


def the_least_likely(probabilities, k):
    """You keep the least likely tokens; keep the likeliest ones. sorted() puts the smallest first."""
    return _kept(probabilities, _order(probabilities)[::-1][:k])


def cuts_k(probabilities, k):
    """You cut k tokens off; k is the number of tokens that stay."""
    return _kept(probabilities, _order(probabilities)[: max(1, len(probabilities) - k)])


def one_too_few(probabilities, k):
    """You cut the k-th token off, too. It stays: a probability is kept if it is equal to the k-th or larger."""
    return _kept(probabilities, _order(probabilities)[: max(1, k - 1)])


def one_too_many(probabilities, k):
    """You keep one token too many. Places are counted from 0, so the k-th likeliest stands at place k - 1."""
    return _kept(probabilities, _order(probabilities)[: k + 1])


def shorter(probabilities, k):
    """You leave the others out, so the list gets shorter. Every token keeps its place, with a probability of 0.0."""
    return [p for p in top_k(probabilities, k) if p > 0]


def in_order(probabilities, k):
    """You give the probabilities back in the order of their size. Every token must keep its place in the list."""
    return sorted(top_k(probabilities, k), reverse=True)


def exactly_k(probabilities, k):
    """You cut off a token that is exactly as likely as the k-th. Equal tokens must be treated alike: it stays,
    too."""
    return _kept(probabilities, _order(probabilities)[:k])


def beyond_the_list(probabilities, k):
    """Your code fails if k is larger than the number of tokens. All tokens stay then: use min(k,
    len(probabilities))."""
    smallest = sorted(probabilities, reverse=True)[k - 1]
    return top_k(probabilities, k) if smallest >= 0 else []


def _shares(draw, n):
    """Probabilities of n tokens, no two equal."""
    numbers = []
    while len(numbers) < n:
        number = draw.whole(1, 60)
        if number not in numbers:
            numbers.append(number)
    return [number / sum(numbers) for number in numbers]


EXERCISE = Exercise(
    top_k,
    [
        Case("the two likeliest of four", lambda draw: ([0.125, 0.5, 0.0625, 0.3125], 2)),
        Case("k = 1", lambda draw: ([0.25, 0.5, 0.25], 1)),
        Case("three of six", lambda draw: (_shares(draw, 6), 3)),
        Case("four of five", lambda draw: (_shares(draw, 5), 4)),
        Case("all of them", lambda draw: (_shares(draw, 4), 4)),
        Case("two equally likely at the edge", lambda draw: ([0.2, 0.4, 0.2, 0.15, 0.05], 2)),
        Case("k larger than the list", lambda draw: (_shares(draw, 3), 50)),
    ],
    [
        not_divided,
        the_first_ones,
        the_least_likely,
        cuts_k,
        one_too_few,
        one_too_many,
        shorter,
        in_order,
        exactly_k,
        beyond_the_list,
    ],
)
