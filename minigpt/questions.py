"""Questions to a language model, each with a measurement that could come out otherwise.

They need nothing of a model but what it says of a text, so models with different tokenizers can be asked the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.model import GPT
from minigpt.novelty import n_grams


@dataclass(frozen=True)
class Reader:
    """A language model as the questions see it.

    Attributes:
        logits: the scores for what follows each token: (B, T) -> (B, T, V).
        encode: a text's token ids.
    """

    logits: Callable[[Tensor], Tensor]
    encode: Callable[[str], list[int]]

    @classmethod
    def of(cls, model: GPT, tokenizer: Tokenizer) -> Reader:
        """A model of ours."""
        return cls(model, lambda text: tokenizer.encode(text).ids)

    @torch.no_grad()
    def log_probability(self, texts: Sequence[str], after: str = "\n") -> Tensor:
        """ln of the probability of whole texts, each following `after`: (texts,)."""
        start = self.encode(after)
        rows = [start + self.encode(text) for text in texts]
        longest = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        log_p = self.logits(tokens[:, :-1]).log_softmax(-1)
        each = log_p.gather(-1, tokens[:, 1:, None])[..., 0]
        place = torch.arange(1, longest)
        lengths = torch.tensor([len(row) for row in rows])[:, None]
        return each.masked_fill((place < len(start)) | (place >= lengths), 0).sum(1)


# Does it know what a sentence sounds like?


def swapped_lines(text: str, n: int = 300, seed: int = 0) -> tuple[list[str], list[str]]:
    """Lines of a text, and the same lines with two neighbouring words exchanged somewhere inside.

    Both words are plain ones in small letters, so that no mark and no capital moves with them. The lines have 8 to 12
    words; at most `n` are taken.
    """
    dice = torch.Generator().manual_seed(seed)
    lines, swapped = [], []
    for line in text.split("\n"):
        row = line.split(" ")
        places = [  # of the first of two words; neither begins or ends the line
            i for i in range(1, len(row) - 2) if _is_plain(row[i]) and _is_plain(row[i + 1]) and row[i] != row[i + 1]
        ]
        if 8 <= len(row) <= 12 and places and len(lines) < n:
            i = places[torch.randint(len(places), (), generator=dice)]
            row[i], row[i + 1] = row[i + 1], row[i]
            lines.append(line)
            swapped.append(" ".join(row))
    return lines, swapped


def _is_plain(word: str) -> bool:
    return word.isalpha() and word.islower()


def prefers(reader: Reader, lines: Sequence[str], others: Sequence[str]) -> float:
    """The share of pairs of which a model finds the first text likelier than the second."""
    return (reader.log_probability(lines) > reader.log_probability(others)).double().mean().item()


# How far does agreement reach?

#: Nouns in singular and plural, English of any century.
NOUNS = [
    tuple(pair.split("/"))
    for pair in [
        "king/kings",
        "lord/lords",
        "man/men",
        "son/sons",
        "brother/brothers",
        "soldier/soldiers",
        "friend/friends",
        "word/words",
        "heart/hearts",
        "hand/hands",
        "queen/queens",
        "father/fathers",
        "woman/women",
        "child/children",
        "eye/eyes",
        "tongue/tongues",
        "sword/swords",
        "knight/knights",
        "daughter/daughters",
        "servant/servants",
    ]
]

#: What may stand between a noun and its verb, without a noun.
FILLERS = [
    "",
    *[" here", " now", " then", " there", " again", " still", " alone", " indeed", " above"],
    " that came here",
    " that stood there",
    " that fell before",
    " so long away",
    " here before me",
    " that we saw",
    " that came here before me",
    " that once did stand there",
    " that we did never see",
    " as I said before now",
    " that I did once so gladly see",
    " that came here so long before us",
    " that you and I did never love",
    " that never yet did speak to me",
]

#: What may stand between a noun and its verb, with another noun in it.
BETWEEN = [
    " of the {}",
    " that loved the {}",
    " that stood here before me with the {}",
    " of the {} here",
    " that saw the {} here",
    " that loved the {} so well",
]


def log_odds(reader: Reader, sentences: Sequence[str]) -> Tensor:
    """ln of how many times as likely as *is* a model finds *are* after each sentence: (sentences,)."""
    are, is_ = (reader.log_probability([text + verb for text in sentences]) for verb in (" are", " is"))
    return are - is_


class Agreement(NamedTuple):
    """How a verb agrees with its noun.

    Attributes:
        singular, plural: the share of singulars and of plurals whose verb is the likelier one.
        times: how many times as large a plural makes the odds of *are*: the geometric mean over the nouns.
    """

    singular: float
    plural: float
    times: float


def agreement(reader: Reader, filler: str) -> Agreement:
    """How a verb agrees with its noun across the words of a filler."""
    singular, plural = (log_odds(reader, [f"The {noun[i]}{filler}" for noun in NOUNS]) for i in (0, 1))
    return Agreement(
        (singular < 0).double().mean().item(),
        (plural > 0).double().mean().item(),
        (plural - singular).mean().exp().item(),
    )


def agreement_by_distance(reader: Reader) -> dict[int, dict[str, Agreement]]:
    """For each number of words between noun and verb, the agreement across each filler of so many words."""
    found: dict[int, dict[str, Agreement]] = {}
    for filler in FILLERS:
        found.setdefault(len(filler.split()), {})[filler.strip()] = agreement(reader, filler)
    return found


class Astray(NamedTuple):
    """How a verb agrees with its noun where another noun stands between them.

    Attributes:
        alike: the share of singular and of plural subjects whose verb is right, the other noun being of their number.
        misleading: the same, the other noun being of the other number.
        by_subject, by_other: how many times as large the plural of the subject, and of the other noun, makes the odds
            of *are*.
    """

    alike: tuple[float, float]
    misleading: tuple[float, float]
    by_subject: float
    by_other: float


def two_nouns(reader: Reader, middle: str) -> Astray:
    """How a verb agrees with its noun across `middle`, in which {} stands for another noun."""
    pairs = [(noun, NOUNS[(i + j) % len(NOUNS)]) for i, noun in enumerate(NOUNS) for j in (1, 2, 3)]
    numbers = (0, 1)
    odds = torch.stack(
        [
            log_odds(reader, [f"The {noun[subject]}{middle.format(another[other])}" for noun, another in pairs])
            for subject in numbers
            for other in numbers
        ]
    ).unflatten(0, (2, 2))  # by the subject's number, the other's, and the pair
    right = torch.stack((odds[0] < 0, odds[1] > 0)).double().mean(-1)
    return Astray(
        tuple(right[[0, 1], [0, 1]].tolist()),
        tuple(right[[0, 1], [1, 0]].tolist()),
        (odds[1] - odds[0]).mean().exp().item(),
        (odds[:, 1] - odds[:, 0]).mean().exp().item(),
    )


# How far back does it look?


def passages_of(tokens: Tensor, length: int, n: int) -> Tensor:
    """Passages of a text, evenly spaced: (n, length)."""
    starts = torch.linspace(0, len(tokens) - length, n).long().tolist()
    return torch.stack([tokens[start : start + length] for start in starts])


@torch.no_grad()
def losses(reader: Reader, rows: Tensor, scored: int) -> Tensor:
    """The loss on the last `scored` tokens of each row, in nats a token: (rows,)."""
    logits = reader.logits(rows[:, :-1])[:, -scored:]
    return F.cross_entropy(logits.transpose(1, 2), rows[:, -scored:], reduction="none").mean(1)


# Does it repeat itself?


def repeated(text: Sequence[str], n: int = 4) -> float:
    """The share of a text's n-word sequences that stood in it before; 0 if it has none."""
    grams = list(n_grams(list(text), n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
