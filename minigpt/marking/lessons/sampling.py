"""Lesson 6: from scores to a text."""

from functools import cached_property

import torch

from minigpt.config import GPTConfig
from minigpt.marking.lessons import loaded_gpt, numbers_for, tensors
from minigpt.marking.verdict import Case, Exercise, plain, question
from minigpt.parameters import parameter_shapes
from minigpt.sampling import RandomNumbers, next_token_probabilities, throw
from minigpt.sampling import generate as generate_with

# Temperature


def with_temperature(scores, temperature):
    """The probabilities at a temperature: (V,) -> (V,). 0 is the limit: the likeliest token, the first of equals."""
    return next_token_probabilities(scores, temperature)


def certain(scores):
    return torch.nn.functional.one_hot(scores.argmax(), len(scores)).float()


def warm_multiplied(scores, temperature):
    """You multiply by the temperature. Dividing makes a temperature below 1 sharper and one above 1 flatter."""
    return certain(scores) if temperature == 0 else (scores * temperature).softmax(-1)


def warm_ignored(scores, temperature):
    """The temperature is not used."""
    return scores.softmax(-1)


def warm_divides_probabilities(scores, temperature):
    """You divide the probabilities. Then they no longer sum to 1; divide the scores, before the softmax."""
    return certain(scores) if temperature == 0 else scores.softmax(-1) / temperature


def warm_overflows(scores, temperature):
    """exp overflows from about 88 on in 32 bits, and inf / inf is nan. Subtract the largest score first, as softmax
    does: the probabilities stay the same."""
    if temperature == 0:
        return certain(scores)
    powers = (scores / temperature).exp()
    return powers / powers.sum()


def warm_divides_by_zero(scores, temperature):
    """At temperature 0 you divide by 0. It is a limit: the likeliest token has the probability 1, all others 0."""
    return (scores / temperature).softmax(-1)


def warm_zero_is_even(scores, temperature):
    """At temperature 0 all your tokens are equally likely. That is the other end, where the temperature is very high;
    at 0 only the likeliest token is left."""
    return torch.full_like(scores, 1 / len(scores)) if temperature == 0 else (scores / temperature).softmax(-1)


def warm_zero_shares_ties(scores, temperature):
    """Of several likeliest tokens you let each have a share at temperature 0. Greedy decoding takes one, the first."""
    if temperature == 0:
        best = (scores == scores.max()).float()
        return best / best.sum()
    return (scores / temperature).softmax(-1)


# Cutting off the tail


def keep_top_k(probabilities, k):
    """The k likeliest tokens, and those exactly as likely as the k-th; rescaled: (V,) -> (V,)."""
    return next_token_probabilities(probabilities.double().log(), top_k=k)


def rescaled(p):
    return p / p.sum()


def kth(probabilities, k):
    return probabilities.sort(descending=True).values[min(k, len(probabilities)) - 1]


def top_k_not_rescaled(probabilities, k):
    """What is left does not sum to 1. Divide it by its sum."""
    return torch.where(probabilities >= kth(probabilities, k), probabilities, 0)


def top_k_of_the_least_likely(probabilities, k):
    """You keep the least likely tokens. Sort with descending=True."""
    return rescaled(torch.where(probabilities <= probabilities.sort().values[k - 1], probabilities, 0))


def top_k_one_too_few(probabilities, k):
    """You keep what is likelier than the k-th token, so the k-th itself is lost: >=, not >."""
    return rescaled(torch.where(probabilities > kth(probabilities, k), probabilities, 0))


def top_k_one_too_many(probabilities, k):
    """You keep one token too many. The k-th largest number of a sorted row is at the index k - 1."""
    return rescaled(torch.where(probabilities >= kth(probabilities, k + 1), probabilities, 0))


def top_k_sorted(probabilities, k):
    """You return the likeliest first. Each token must keep its place: the index is its id."""
    return rescaled(top_k_not_rescaled(probabilities, k).sort(descending=True).values)


def top_k_cuts_ties(probabilities, k):
    """Of two tokens that are equally likely you keep one and not the other. Nothing speaks for either, so both stay."""
    kept = probabilities.topk(min(k, len(probabilities))).indices
    return rescaled(torch.zeros_like(probabilities).scatter(0, kept, probabilities[kept]))


def top_k_only_short(probabilities, k):
    """Your list of the kept tokens is shorter than the vocabulary. Tokens that are cut off stay, with 0."""
    return rescaled(probabilities[probabilities >= kth(probabilities, k)])


def keep_top_p(probabilities, p):
    """The smallest set of likeliest tokens whose sum reaches p; rescaled: (V,) -> (V,)."""
    return next_token_probabilities(probabilities.double().log(), top_p=p)


def nucleus(probabilities, keep):
    """The tokens for which keep(sum before, own probability) holds, in the order of their probability."""
    sorted_, order = probabilities.sort(descending=True, stable=True)
    before = sorted_.cumsum(0) - sorted_
    kept = torch.where(keep(before, sorted_), sorted_, 0)
    return torch.zeros_like(probabilities).scatter(0, order, kept)


def top_p_without_the_crossing(probabilities, p):
    """The token that crosses the line belongs to the set: without it the sum stays below p. Ask whether the sum
    *before* a token is below p."""
    return rescaled(nucleus(probabilities, lambda before, own: before + own <= p))


def top_p_not_rescaled(probabilities, p):
    """What is left does not sum to 1. Divide it by its sum."""
    return nucleus(probabilities, lambda before, own: before < p)


def top_p_as_a_threshold(probabilities, p):
    """You keep tokens that are at least p likely each. It is their sum that has to reach p."""
    return rescaled(torch.where(probabilities >= p, probabilities, 0))


def top_p_as_a_share(probabilities, p):
    """You keep the share p of the tokens by their number. Top-p looks at their probability: of a sure model it keeps
    one token, of an unsure one many."""
    n = max(1, round(p * len(probabilities)))
    kept = probabilities.topk(n).indices
    return rescaled(torch.zeros_like(probabilities).scatter(0, kept, probabilities[kept]))


def top_p_one_too_many(probabilities, p):
    """You keep one token too many. The set ends with the token that makes the sum reach p."""
    sorted_ = probabilities.sort(descending=True).values
    n = int((sorted_.cumsum(0) < p).sum()) + 2
    return rescaled(torch.where(probabilities >= kth(probabilities, n), probabilities, 0))


def top_p_unsorted(probabilities, p):
    """You add up in the order of the vocabulary. Sort first, the likeliest before the others."""
    before = probabilities.cumsum(0) - probabilities
    return rescaled(torch.where(before < p, probabilities, 0))


def top_p_from_below(probabilities, p):
    """You begin with the least likely token. The smallest set begins with the likeliest."""
    sorted_, order = probabilities.sort()
    kept = torch.where(sorted_.cumsum(0) - sorted_ < p, sorted_, 0)
    return rescaled(torch.zeros_like(probabilities).scatter(0, order, kept))


def top_p_sorted(probabilities, p):
    """You return the likeliest first. Each token must go back to its place: the index is its id."""
    return rescaled(nucleus(probabilities, lambda before, own: before < p).sort(descending=True).values)


def shares(draw, V):
    """V probabilities that sum to 1, none of them 0."""
    numbers = [draw.whole(1, 99) ** 2 for _ in range(V)]
    return [number / sum(numbers) for number in numbers]


# Drawing


class Points(RandomNumbers):
    """Random numbers that were drawn beforehand."""

    def __init__(self, points):
        self.points = iter(points)

    def __call__(self):
        return next(self.points)


def draw(probabilities, point):
    """The token on whose piece of the line the point lies: (V,), a number in [0, 1) -> an id."""
    return int(throw(probabilities.double(), Points([point])))


def draw_the_likeliest(probabilities, point):
    """You always take the likeliest token. Then nothing is drawn, and the point does not matter."""
    return int(probabilities.argmax())


def draw_one_late(probabilities, point):
    """You return the token after the one that was hit. Ids are counted from 0."""
    return draw(probabilities, point) + 1


def draw_one_early(probabilities, point):
    """You return the last token whose piece ends before the point. The point lies in the piece after it."""
    return max(0, draw(probabilities, point) - 1)


def draw_evenly(probabilities, point):
    """Your tokens have pieces of equal length. The piece of a token is as long as its probability."""
    return int(point * len(probabilities))


def draw_the_impossible(probabilities, point):
    """You can hit a token of probability 0, whose piece has no length: at its end begins the next piece. The token is
    the first whose piece ends *behind* the point: >, not >=."""
    return int(torch.searchsorted(probabilities.double().cumsum(0), point))


def draw_sorted(probabilities, point):
    """You sort the pieces, and return a rank. Lay them in the order of the ids, or look the id up."""
    return draw(probabilities.sort(descending=True).values, point)


def draw_from_the_end(probabilities, point):
    """You measure from the right end of the line. The point is measured from the left."""
    return len(probabilities) - 1 - draw(probabilities.flip(0), point)


# A text


class Model:
    """A small GPT with the given weights, as a function from a list of token ids to the scores after the last, (V,).

    It reads no more than its context_length.
    """

    def __init__(self, config, weights):
        self.config, self.weights = config, weights

    @cached_property
    def gpt(self):
        return loaded_gpt(GPTConfig(**self.config), tensors(self.weights))

    def __call__(self, tokens):
        with torch.no_grad():
            return self.gpt(torch.tensor([list(tokens)]))[0, -1]

    def tolist(self):
        return plain(self.weights)


def generate(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """The new tokens, at most max_new_tokens of them; `stop` ends the text, None never does."""
    new = generate_with(
        scores_after.gpt, tokens, max_new_tokens, generator=Points(points), stop=() if stop is None else stop
    )
    return [int(token) for token in new]


def written(scores_after, tokens, max_new_tokens, context_length, points, stop, window=None, choose=None, ends=True):
    """`generate`, with a part of it replaced."""
    window = window or (lambda text: text[-context_length:])
    choose = choose or (lambda p, i: draw(p, points[i]))
    text = list(tokens)
    for i in range(max_new_tokens):
        text.append(choose(scores_after(window(text)).softmax(-1), i))
        if ends and text[-1] == stop:
            break
    return text[len(tokens) :]


def generate_with_the_prompt(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You return the prompt, too. Only the new tokens are asked for."""
    return tokens + written(scores_after, tokens, max_new_tokens, context_length, points, stop)


def generate_without_window(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """Your text grows longer than the model can read. Give it the last context_length tokens only."""
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, window=lambda text: text)


def generate_from_the_first(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You give the model the first context_length tokens, so it never sees what it has written. Give it the
    last ones."""
    first = lambda text: text[:context_length]  # noqa: E731
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, window=first)


def generate_from_the_prompt(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """Every token is drawn after the prompt alone. What was drawn must be read before the next one is drawn."""
    prompt = lambda text: tokens[-context_length:]  # noqa: E731
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, window=prompt)


def generate_from_one_token(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You give the model the last token alone. Without a cache it must read the whole window again."""
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, window=lambda text: text[-1:])


def generate_greedily(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You take the likeliest token each time. Here each token is drawn, by its own point."""
    best = lambda p, i: int(p.argmax())  # noqa: E731
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, choose=best)


def generate_with_one_point(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You use the first point for every token. The i-th new token is drawn with points[i]."""
    first = lambda p, i: draw(p, points[0])  # noqa: E731
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, choose=first)


def generate_past_the_end(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """Your text goes on after the stop token. When it is drawn, the text is over."""
    return written(scores_after, tokens, max_new_tokens, context_length, points, stop, ends=False)


def generate_without_stop(scores_after, tokens, max_new_tokens, context_length, points, stop):
    """You leave the stop token out. It was drawn, so it is the last of the new tokens."""
    new = written(scores_after, tokens, max_new_tokens, context_length, points, stop)
    return new[:-1] if new[-1] == stop else new


def a_text(n_prompt, max_new_tokens, context_length=6, V=9):
    """A model, a prompt, points, and no stop token."""

    def make(draw):
        config = {
            "vocab_size": V,
            "context_length": context_length,
            "d_model": 4,
            "n_heads": 2,
            "n_layers": 1,
            "d_ff": 5,
        }
        weights = numbers_for(draw, parameter_shapes(GPTConfig(**config)), low=-1, high=1)
        prompt = [draw.whole(0, V - 1) for _ in range(n_prompt)]
        points = [draw.whole(0, 9999) / 10000 for _ in range(max_new_tokens)]
        return {"config": config, "weights": weights}, prompt, max_new_tokens, context_length, points, None

    return make


def a_text_that_ends(n_prompt, max_new_tokens):
    """The same, with a stop token that is drawn in the middle."""

    def make(draw):
        *arguments, _ = a_text(n_prompt, max_new_tokens)(draw)
        return *arguments, written(*with_model((*arguments, None)))[max_new_tokens // 2]

    return make


def with_model(arguments):
    model, *rest = arguments
    return Model(**model), *plain(rest)


EXERCISES = [
    Exercise(
        with_temperature,
        [
            Case("temperature 1", lambda draw: ([2.0, 1.0, 0.0], 1)),
            Case("temperature 2", lambda draw: ([2.0, 1.0, 0.0], 2)),
            Case("temperature 0.5, any scores", lambda draw: (draw.numbers(5), 0.5)),
            Case("any temperature", lambda draw: (draw.numbers(6), draw.whole(11, 30) / 10)),
            Case("temperature 0", lambda draw: ([0.0, 3.0, 1.0, 2.0], 0)),
            Case("temperature 0, two equal scores", lambda draw: ([0.5, 2.0, 2.0, 1.0], 0)),
            Case("large scores", lambda draw: ([100.0, 101.0 + draw.number(0, 1), 99.0], 1)),
        ],
        [
            warm_multiplied,
            warm_ignored,
            warm_divides_probabilities,
            warm_overflows,
            warm_divides_by_zero,
            warm_zero_is_even,
            warm_zero_shares_ties,
        ],
        prepare=tensors,
    ),
    Exercise(
        keep_top_k,
        [
            Case("k = 2", lambda draw: ([0.1, 0.6, 0.3], 2)),
            Case("any probabilities, k = 3", lambda draw: (shares(draw, 7), 3)),
            Case("any probabilities, k = 1", lambda draw: (shares(draw, 5), 1)),
            Case("two tokens as likely as the k-th", lambda draw: ([0.2, 0.4, 0.2, 0.15, 0.05], 2)),
            Case("k is the size of the vocabulary", lambda draw: (shares(draw, 4), 4)),
        ],
        [
            top_k_not_rescaled,
            top_k_of_the_least_likely,
            top_k_one_too_few,
            top_k_one_too_many,
            top_k_sorted,
            top_k_cuts_ties,
            top_k_only_short,
        ],
        prepare=tensors,
    ),
    Exercise(
        keep_top_p,
        [
            Case("p = 0.7", lambda draw: ([0.1, 0.5, 0.05, 0.3, 0.05], 0.7)),
            Case("any probabilities, p = 0.9", lambda draw: (shares(draw, 8), 0.9)),
            Case("any probabilities, p = 0.5", lambda draw: (shares(draw, 7), 0.5)),
            Case("a small p", lambda draw: ([0.2, 0.15, 0.4, 0.25], 0.1)),
            Case("p = 1", lambda draw: ([0.25, 0.125, 0.5, 0.125], 1.0)),
        ],
        [
            top_p_without_the_crossing,
            top_p_not_rescaled,
            top_p_as_a_threshold,
            top_p_as_a_share,
            top_p_one_too_many,
            top_p_unsorted,
            top_p_from_below,
            top_p_sorted,
        ],
        prepare=tensors,
    ),
    Exercise(
        draw,
        [
            Case("the first piece", lambda draw: ([0.5, 0.25, 0.25], 0.4)),
            Case("the last piece", lambda draw: ([0.5, 0.25, 0.25], 0.9)),
            Case("the piece in the middle", lambda draw: ([0.125, 0.25, 0.625], 0.3)),
            Case("any point", lambda draw: (shares(draw, 9), draw.whole(0, 9999) / 10000)),
            Case("another point", lambda draw: (shares(draw, 9), draw.whole(0, 9999) / 10000)),
            Case("the point 0, where the first token is impossible", lambda draw: ([0.0, 0.5, 0.5], 0.0)),
        ],
        [
            draw_the_likeliest,
            draw_one_late,
            draw_one_early,
            draw_evenly,
            draw_the_impossible,
            draw_sorted,
            draw_from_the_end,
        ],
        prepare=tensors,
    ),
    Exercise(
        generate,
        [
            Case("one new token", a_text(3, 1)),
            Case("three new tokens that fit", a_text(2, 3)),
            Case("a text that outgrows the window", a_text(4, 14)),
            Case("a prompt longer than the window", a_text(9, 12)),
            Case("a text that ends", a_text_that_ends(3, 8)),
        ],
        [
            generate_with_the_prompt,
            generate_without_window,
            generate_from_the_first,
            generate_from_the_prompt,
            generate_from_one_token,
            generate_greedily,
            generate_with_one_point,
            generate_past_the_end,
            generate_without_stop,
        ],
        prepare=with_model,
    ),
    question(
        "tokens_a_word",
        lambda: 275 / 184,
        [
            (lambda: 184 / 275, "These are words a token: the wrong way round."),
            (4, "About four is the number of *characters* in a token of English. How many tokens has a word?"),
            (3, "Three to four is near the number of *characters* in a token. How many tokens has a word?"),
            (lambda: 275 * 184, "You multiplied. Share the tokens out among the words."),
            (lambda: 275 - 184, "That is how many more tokens there are than words. Divide."),
            (1, "One token a word would make 184 tokens. The reply has 275."),
        ],
        tolerance=0.01,
    ),
]
