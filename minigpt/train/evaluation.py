"""The quality of a model on a text: loss, accuracy, perplexity, bits per byte."""

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.checks import check_size
from minigpt.model import GPT, IGNORED, evaluating
from minigpt.train.parallel import Processes


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        loss: mean cross-entropy, in nats per token.
        accuracy: share of tokens to which the model gave the highest score, from 0 to 1.
        bits_per_byte: bits the model needs for a byte of the text. Unlike the loss, it can be
            compared between tokenizers. nan if the predicted tokens stand for no bytes.
        tokens, bytes: how many of them were predicted.
    """

    loss: float
    accuracy: float
    bits_per_byte: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """e^loss: on average, the model is as unsure as if it chose among this many equally likely tokens."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def evaluate(
    model: GPT,
    tokens: np.ndarray | Tensor,
    token_bytes: Tensor,
    max_tokens: int | None = None,
    batch_size: int = 16,
    autocast=None,
    processes: Processes | None = None,
) -> Evaluation:
    """Predict every token of a text once, except the first.

    A window slides over the text by half a context at a time, and only its second half is scored. So every
    token is predicted from at least half a context, except those at the beginning of the text.

    Args:
        model: the model to evaluate; its dropout is off during the evaluation.
        tokens: token ids, (number of tokens,).
        token_bytes: the number of bytes each token stands for, (V,): see `tokenizer.token_bytes`.
        max_tokens: predict at most this many tokens, from the beginning.
        batch_size: the number of windows at a time.
        autocast: the context to run the model in; none, if not given.
        processes: the processes that share the work, if there are several.

    Raises:
        ValueError: there are fewer than two tokens, or token_bytes belongs to another vocabulary.
    """
    processes = processes or Processes(device=str(model.head.weight.device))
    if max_tokens is not None:
        check_size("max_tokens", max_tokens)
        tokens = tokens[: max_tokens + 1]
    if len(tokens) < 2:
        raise ValueError(f"tokens must be at least 2, one to read and one to predict; got {len(tokens)}")
    if len(token_bytes) != model.config.vocab_size:
        raise ValueError(
            f"token_bytes must have one for each of {model.config.vocab_size} tokens; got {len(token_bytes)}"
        )
    T = model.config.context_length
    sums = torch.zeros(4, dtype=torch.float64)
    token_bytes = token_bytes.to(processes.device)
    with torch.no_grad(), evaluating(model.modules()), autocast or nullcontext():
        for inputs, targets in processes.share(batched(windows(tokens, T), batch_size, T)):
            inputs, targets = inputs.to(processes.device), targets.to(processes.device)
            logits = model(inputs)  # (B, T, V)
            scored = targets != IGNORED  # (B, T)
            at_least_fp32 = torch.promote_types(logits.dtype, torch.float32)
            flat = logits.flatten(0, 1).to(at_least_fp32)
            nats = F.cross_entropy(flat, targets.flatten(), reduction="sum")  # ()
            right = (logits.argmax(-1) == targets).sum()  # ()
            bytes_read = token_bytes[targets[scored]].sum()  # ()
            counts = [nats.item(), right.item(), scored.sum().item(), bytes_read.item()]
            sums += torch.tensor(counts, dtype=torch.float64)
    nats, right, predicted, read = processes.sum(sums).tolist()
    bits_per_byte = nats / math.log(2) / read if read else math.nan
    return Evaluation(nats / predicted, right / predicted, bits_per_byte, int(predicted), int(read))


def windows(tokens: np.ndarray | Tensor, T: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a text into inputs and targets, (T,) each. Every token except the first is scored in exactly one window."""
    fresh = max(1, T // 2)
    for first in range(0, len(tokens) - 1, fresh):
        begin = max(0, first - (T - fresh))
        cut = np.asarray(tokens[begin : first + fresh + 1]).astype(np.int64)
        inputs, targets = np.zeros(T, np.int64), np.full(T, IGNORED, np.int64)
        inputs[: len(cut) - 1] = cut[:-1]
        targets[first - begin : len(cut) - 1] = cut[first - begin + 1 :]
        yield inputs, targets


def batched(pairs: Iterator[tuple[np.ndarray, np.ndarray]], batch_size: int, T: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Put windows into batches, (batch_size, T) each; the last batch is filled up with windows that are not scored."""
    check_size("batch_size", batch_size)
    while True:
        rows = [pair for _, pair in zip(range(batch_size), pairs, strict=False)]
        if not rows:
            return
        rows += [(np.zeros(T, np.int64), np.full(T, IGNORED, np.int64))] * (batch_size - len(rows))
        yield tuple(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
