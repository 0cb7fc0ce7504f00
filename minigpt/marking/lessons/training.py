"""Lesson 5: training from scratch."""

import math

import torch
import torch.nn.functional as F

from minigpt.config import CONFIGS
from minigpt.marking.lessons import tensors
from minigpt.marking.verdict import Case, Exercise, question
from minigpt.model import IGNORED
from minigpt.train import TrainConfig
from minigpt.train.settings import learning_rate as rate_of

VOCABULARY = CONFIGS["tiny"].vocab_size


# What is read, and what is asked


def windows(tokens, starts, length):
    """Windows of a text, and the token that follows each position: (N,), (B,) -> (B, T), (B, T)."""
    cut = tokens.unfold(0, length + 1, 1)[starts]
    return cut[:, :-1], cut[:, 1:]


def windows_not_moved(tokens, starts, length):
    """Your targets are the inputs themselves. At position t the model has read token t and has to say token t + 1: the
    targets are the same window, moved by one."""
    inputs = windows(tokens, starts, length)[0]
    return inputs, inputs


def windows_moved_back(tokens, starts, length):
    """Your targets are what came before, not what comes next. Swap the two."""
    return windows(tokens, starts, length)[::-1]


def windows_moved_by_two(tokens, starts, length):
    """Your targets are moved by two. The next token is one further."""
    inputs = windows(tokens, starts, length)[0]
    return inputs, torch.stack([torch.roll(tokens, -2)[s : s + length] for s in starts.tolist()])


def windows_side_by_side(tokens, starts, length):
    """Your windows lie side by side from the beginning. Each begins where `starts` says."""
    return windows(tokens, torch.arange(len(starts)) * length % (len(tokens) - length), length)


def windows_with_one_answer(tokens, starts, length):
    """You ask one question a window, at its end. Every position is a question: the targets are (B, T), too."""
    inputs, targets = windows(tokens, starts, length)
    return inputs, targets[:, -1]


def windows_too_short(tokens, starts, length):
    """Your windows have length - 1 positions. A window of T inputs and T targets needs T + 1 tokens."""
    return windows(tokens, starts, length - 1)


def any_windows(n, T, B):
    def make(draw):
        return [draw.whole(0, 30) for _ in range(n)], [draw.whole(0, n - T - 1) for _ in range(B)], T

    return make


# How wrong is it?


def loss(logits, targets):
    """The mean of -ln p of the right tokens, in nats: (B, T, V), (B, T) -> (). Targets of -100 do not count."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def log_probabilities(logits, targets, axis=-1):
    """ln p of each right token that counts, (N,)."""
    counts = targets != IGNORED
    picked = logits.log_softmax(axis).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return picked[counts]


def loss_summed(logits, targets):
    """You add up; take the mean over all questions. A sum grows with the batch, and no two could be compared."""
    return -log_probabilities(logits, targets).sum()


def loss_in_bits(logits, targets):
    """Your logarithm has the base 2, so this is the loss in bits. It is asked for in nats: ln."""
    return -log_probabilities(logits, targets).mean() / math.log(2)


def loss_with_its_sign(logits, targets):
    """The sign is missing. ln p is negative; the loss is -ln p, and 0 is the best there is."""
    return log_probabilities(logits, targets).mean()


def loss_wrong_axis(logits, targets):
    """Your softmax runs over the positions. A position's scores for the V tokens belong together: dim=-1."""
    return -log_probabilities(logits, targets, axis=1).mean()


def loss_of_probabilities(logits, targets):
    """You average the probabilities of the right tokens, without a logarithm: 1 - p. Take -ln p of each first."""
    return 1 - log_probabilities(logits, targets).exp().mean()


def loss_log_of_mean(logits, targets):
    """You take the logarithm of the mean probability. It is the mean of the logarithms: first -ln p, then the mean."""
    return -log_probabilities(logits, targets).exp().mean().log()


def loss_counts_the_ignored(logits, targets):
    """You divide by all positions. Those whose target is -100 are no questions: divide by the number that are."""
    return -log_probabilities(logits, targets).sum() / targets.numel()


def loss_overflows(logits, targets):
    """exp overflows from about 88 on in 32 bits, and inf / inf is nan. log_softmax subtracts the largest first."""
    shares = logits.exp() / logits.exp().sum(-1, keepdim=True)
    right = shares.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -right[targets != IGNORED].log().mean()


def loss_of_rounded_shares(logits, targets):
    """softmax rounds a very small probability to 0, and -ln 0 is ∞. log_softmax gives ln p without that step."""
    counts = targets != IGNORED
    shares = logits.softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -shares[counts].log().mean()


def accuracy(logits, targets):
    """The share of the questions to which the likeliest token was right: (B, T, V), (B, T) -> ()."""
    counts = targets != IGNORED
    return (logits.argmax(-1) == targets)[counts].float().mean()


def hits(logits, targets, axis=-1):
    return (logits.argmax(axis) == targets).float()


def accuracy_in_percent(logits, targets):
    """This is in percent. The share is from 0 to 1."""
    return 100 * accuracy(logits, targets)


def accuracy_counted(logits, targets):
    """You count the right answers. The share is their number divided by that of the questions."""
    return hits(logits, targets).sum()


def accuracy_of_all(logits, targets):
    """You divide by all positions. Those whose target is -100 are no questions."""
    return hits(logits, targets).mean()


def accuracy_of_the_least_likely(logits, targets):
    """You take the smallest score. The likeliest token has the largest."""
    return accuracy(-logits, targets)


def accuracy_of_probability(logits, targets):
    """You average the probability of the right tokens. Accuracy does not ask how sure the model was: right or wrong."""
    return log_probabilities(logits, targets).exp().mean()


def accuracy_of_errors(logits, targets):
    """This is the share of wrong answers."""
    return 1 - accuracy(logits, targets)


def questions(B, T, V, size=2, ignored=0):
    """Logits and targets; so many targets of each row are -100."""

    def make(draw):
        targets = [[IGNORED] * ignored + [draw.whole(0, V - 1) for _ in range(T - ignored)] for _ in range(B)]
        return draw.numbers(B, T, V, low=-size, high=size), targets

    return make


# How far to go


def learning_rate(step, steps, warmup_steps, highest, final_share):
    """The rate of step 0, 1, ...: up in a straight line, then down half a cosine to a share of the highest."""
    settings = TrainConfig(steps=steps, warmup_steps=warmup_steps, learning_rate=highest, final_share=final_share)
    return rate_of(step, settings)


def rate_at(step, steps, warmup_steps, highest, final_share, shape=lambda done: (1 + math.cos(math.pi * done)) / 2):
    """`learning_rate`, with the way down replaced."""
    if step < warmup_steps:
        return highest * (step + 1) / warmup_steps
    done = (step - warmup_steps + 1) / (steps - warmup_steps)
    return highest * (final_share + (1 - final_share) * shape(done))


def rate_from_zero(step, steps, warmup_steps, highest, final_share):
    """Your first step has the rate 0 and changes nothing. In step 0 it is highest · 1 / warmup_steps."""
    if step < warmup_steps:
        return highest * step / warmup_steps
    return rate_at(step, steps, warmup_steps, highest, final_share)


def rate_without_warmup(step, steps, warmup_steps, highest, final_share):
    """There is no warm-up: in the first warmup_steps steps the rate grows in a straight line."""
    return rate_at(step, steps, 0, highest, final_share)


def rate_down_a_line(step, steps, warmup_steps, highest, final_share):
    """Your rate falls in a straight line. It falls like half a cosine: (1 + cos(π · done)) / 2."""
    return rate_at(step, steps, warmup_steps, highest, final_share, lambda done: 1 - done)


def rate_to_zero(step, steps, warmup_steps, highest, final_share):
    """Your rate falls to 0. The last step still has final_share of the highest rate."""
    return rate_at(step, steps, warmup_steps, highest, 0)


def rate_of_a_whole_cosine(step, steps, warmup_steps, highest, final_share):
    """Your cosine goes down and up again. Half a wave is enough: cos from 0 to π, not to 2π."""
    return rate_at(step, steps, warmup_steps, highest, final_share, lambda done: (1 + math.cos(2 * math.pi * done)) / 2)


def rate_constant(step, steps, warmup_steps, highest, final_share):
    """After the warm-up your rate stays where it is. It falls, so that the last steps settle."""
    return highest * min(1, (step + 1) / warmup_steps)


def rate_counts_from_the_start(step, steps, warmup_steps, highest, final_share):
    """Your cosine begins with step 0. It begins after the warm-up: done is the share of the steps after it."""
    if step < warmup_steps:
        return highest * (step + 1) / warmup_steps
    return rate_at(step, steps, 0, highest, final_share)


def any_step(part):
    """A step of one part of a training: "up" or "down"."""

    def make(draw):
        warmup_steps, steps = draw.whole(5, 20), draw.whole(60, 90)
        step = draw.whole(1, warmup_steps - 2) if part == "up" else draw.whole(warmup_steps + 4, steps - 8)
        return step, steps, warmup_steps, draw.whole(1, 9) / 100, 0.1

    return make


# A whole training


def train(table, batches, rate):
    """The loss of each batch, before the step that it causes: (V, V), (N, 2, B, T) -> N numbers."""
    return losses_of(table, batches, rate)


def losses_of(table, batches, rate, objective=loss, clear=True, sign=-1, after=False, always_first=False, still=False):
    """`train`, with a part of it replaced."""
    weights, losses = table.clone().requires_grad_(), []
    for inputs, targets in batches:
        if always_first:
            inputs, targets = batches[0]
        value = objective(weights[inputs], targets)
        value.backward()
        with torch.no_grad():
            if not still:
                weights += sign * rate * weights.grad
            losses.append(objective(weights[inputs], targets).item() if after else value.item())
        if clear:
            weights.grad = None
    return losses


def train_adding_gradients(table, batches, rate):
    """Your gradients are never cleared, so each step also goes along those of all batches before it. Clear them after
    every step: weights.grad = None."""
    return losses_of(table, batches, rate, clear=False)


def train_uphill(table, batches, rate):
    """You go up. The gradient says where the loss grows; the step goes the other way: weights - rate · gradient."""
    return losses_of(table, batches, rate, sign=1)


def train_loss_afterwards(table, batches, rate):
    """You compute the loss after the step, with weights that have seen the batch. It is the loss before the step."""
    return losses_of(table, batches, rate, after=True)


def train_on_one_batch(table, batches, rate):
    """You read the first batch again and again. Each step has a batch of its own."""
    return losses_of(table, batches, rate, always_first=True)


def train_standing_still(table, batches, rate):
    """Nothing is learned: your losses are those of the table as it was given. Change the weights after each batch."""
    return losses_of(table, batches, rate, still=True)


def train_with_sums(table, batches, rate):
    """Your loss is a sum. With a mean, a step is as long for a large batch as for a small one."""
    return losses_of(table, batches, rate, objective=loss_summed)


def train_columns(table, batches, rate):
    """You look up columns. The scores after token i are row i of the table: table[inputs]."""
    return losses_of(table.T, batches, rate)


def a_training(n_batches, V, B, T, rate):
    def make(draw):
        ids = [
            [[[draw.whole(0, V - 1) for _ in range(T)] for _ in range(B)] for _ in range(2)] for _ in range(n_batches)
        ]
        return draw.numbers(V, V, low=-1, high=1), ids, rate

    return make


# Beside another model


def bits_per_byte(loss, n_tokens, n_bytes):
    """How many bits a model needs for a byte of text, from its mean loss in nats a token."""
    return loss * n_tokens / math.log(2) / n_bytes


def nats_per_byte(loss, n_tokens, n_bytes):
    """These are nats per byte. A bit is ln 2 = 0.693 nats: divide by it."""
    return loss * n_tokens / n_bytes


def bits_per_token(loss, n_tokens, n_bytes):
    """These are bits per token. How long a token is depends on the tokenizer, so two models could not be compared."""
    return loss / math.log(2)


def bits_the_wrong_way(loss, n_tokens, n_bytes):
    """You multiply by ln 2. A nat is more than a bit, so there are more bits than nats: divide."""
    return loss * n_tokens * math.log(2) / n_bytes


def bytes_per_bit(loss, n_tokens, n_bytes):
    """You have it upside down: these are bytes per bit."""
    return n_bytes * math.log(2) / (loss * n_tokens)


def bits_of_all(loss, n_tokens, n_bytes):
    """These are the bits of the whole text. Divide by its bytes."""
    return loss * n_tokens / math.log(2)


def tokens_for_bytes(loss, n_tokens, n_bytes):
    """You multiply by the bytes and divide by the tokens. The loss is per token: times the tokens it is the whole
    text's, and divided by the bytes it is a byte's."""
    return loss / math.log(2) * n_bytes / n_tokens


EXERCISES = [
    Exercise(
        windows,
        [
            Case("one window at the beginning", lambda draw: (list(range(10, 20)), [0], 4)),
            Case("two windows that overlap", lambda draw: (list(range(10, 22)), [3, 5], 5)),
            Case("any text", any_windows(40, 6, 3)),
            Case("windows of one token", any_windows(20, 1, 4)),
            Case("the last window that fits", lambda draw: (list(range(30, 39)), [4, 0, 4], 4)),
        ],
        [
            windows_not_moved,
            windows_moved_back,
            windows_moved_by_two,
            windows_side_by_side,
            windows_with_one_answer,
            windows_too_short,
        ],
        prepare=tensors,
    ),
    Exercise(
        loss,
        [
            Case("no idea: four equal scores", lambda draw: ([[[0.0] * 4]], [[2]])),
            Case("B = 2, T = 3, V = 5", questions(2, 3, 5)),
            Case("B = 3, T = 5, V = 4", questions(3, 5, 4)),
            Case("two targets of each row are -100", questions(2, 5, 6, ignored=2)),
            Case("large scores", lambda draw: ([[[100 + draw.number(0, 2), 101.0, 99.0]]], [[draw.whole(0, 2)]])),
            Case("a very unlikely token", lambda draw: ([[[draw.number(), -200.0, draw.number()]]], [[1]])),
        ],
        [
            loss_summed,
            loss_in_bits,
            loss_with_its_sign,
            loss_wrong_axis,
            loss_of_probabilities,
            loss_log_of_mean,
            loss_counts_the_ignored,
            loss_overflows,
            loss_of_rounded_shares,
        ],
        prepare=tensors,
    ),
    question(
        "first_loss",
        lambda: math.log(VOCABULARY),
        [
            (
                lambda: math.log2(VOCABULARY),
                "That is the loss in bits, log₂ V. PyTorch's cross-entropy is in nats: ln V.",
            ),
            (lambda: math.log10(VOCABULARY), "Your logarithm has the base 10. It is the natural one: math.log."),
            (lambda: 1 / VOCABULARY, "That is the probability of each token. The loss is -ln of it."),
            (0, "A loss of 0 means certain and right. A model that has read nothing has no idea."),
            (lambda: -math.log(VOCABULARY), "The sign: ln of a probability is negative, and the loss is -ln p."),
            (
                lambda: VOCABULARY,
                "That is the perplexity, among how many tokens it might as well choose: e to the loss.",
            ),
        ],
        tolerance=0.0005,
    ),
    Exercise(
        accuracy,
        [
            Case("one right, one wrong", lambda draw: ([[[0.0, 1.0, -1.0], [0.5, 2.0, 1.0]]], [[1, 2]])),
            Case("all wrong, by little", lambda draw: ([[[0.3, 0.2, 0.1]], [[0.1, 0.3, 0.2]]], [[1], [2]])),
            Case("B = 4, T = 9, V = 3", questions(4, 9, 3)),
            Case("two targets of each row are -100", questions(5, 7, 3, ignored=2)),
        ],
        [
            accuracy_in_percent,
            accuracy_counted,
            accuracy_of_all,
            accuracy_of_the_least_likely,
            accuracy_of_probability,
            accuracy_of_errors,
        ],
        prepare=tensors,
    ),
    Exercise(
        learning_rate,
        [
            Case("the first step", lambda draw: (0, 100, 10, 0.01, 0.1)),
            Case("the last step of the warm-up", lambda draw: (9, 100, 10, 0.01, 0.1)),
            Case("some step of the warm-up", any_step("up")),
            Case("some step after it", any_step("down")),
            Case("half-way down", lambda draw: (54, 100, 10, 0.01, 0.2)),
            Case("the last step", lambda draw: (99, 100, 10, 0.01, 0.1)),
        ],
        [
            rate_from_zero,
            rate_without_warmup,
            rate_down_a_line,
            rate_to_zero,
            rate_of_a_whole_cosine,
            rate_constant,
            rate_counts_from_the_start,
        ],
        tolerance=1e-6,
    ),
    Exercise(
        train,
        [
            Case("one batch", a_training(1, 4, 2, 3, 1.0)),
            Case("two batches", a_training(2, 4, 2, 3, 1.0)),
            Case("five batches", a_training(5, 5, 3, 4, 2.0)),
            Case("a small rate", a_training(4, 3, 2, 5, 0.25)),
        ],
        [
            train_adding_gradients,
            train_uphill,
            train_loss_afterwards,
            train_on_one_batch,
            train_standing_still,
            train_with_sums,
            train_columns,
        ],
        prepare=tensors,
    ),
    Exercise(
        bits_per_byte,
        [
            Case("one bit a byte", lambda draw: (math.log(2), 10, 10)),
            Case("four bytes a token", lambda draw: (4 * math.log(2), 25, 100)),
            Case("any text", lambda draw: (draw.number(1, 6), draw.whole(100, 999), draw.whole(1000, 3999))),
            Case("another text", lambda draw: (draw.number(1, 6), draw.whole(100, 999), draw.whole(1000, 3999))),
        ],
        [
            nats_per_byte,
            bits_per_token,
            bits_the_wrong_way,
            bytes_per_bit,
            bits_of_all,
            tokens_for_bytes,
        ],
    ),
]
