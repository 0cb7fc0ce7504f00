"""SamplingExplorer: the distribution of the next token, and the settings that change it."""

from collections.abc import Mapping, Sequence

import torch
import traitlets
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.checks import check_size
from minigpt.model import GPT
from minigpt.sampling import check_logits, check_settings, next_logits, next_token_probabilities
from minigpt.widgets.engine import Engine
from minigpt.widgets.explorer import (
    MAX_STATE_BYTES,
    Refused,
    bundle,
    check_names,
    check_state_bytes,
    checked,
    encoded,
    float32_bytes,
    token_text,
)


class SamplingExplorer(Engine):
    """Bars of the next-token distribution, with sliders for temperature, top-k, top-p and min-p.

    All probabilities are computed over the whole vocabulary. The likeliest tokens have a bar each; all others
    share one bar, which shows the exact sum of their probabilities. Draws come from `sampling.RandomNumbers`: the
    same seed gives the same draws in every browser, and in Python.

    Args:
        logits: for each of the texts to choose from, the scores of the whole vocabulary, (V,).
        tokens: how each of the V tokens is shown.
        shown: how many tokens get a bar of their own, at most V.
        settings: the first values of the traits below.

    Attributes:
        text: the chosen text, counted from 0.
        temperature: at least 0; the slider ends at 2.
        top_k: at least 1, or None for no cut.
        top_p: in (0, 1]; 1 and None are no cut.
        min_p: in [0, 1]; 0 and None are no cut.
        seed: the seed of the draws in the browser, from 0 to 2³¹ - 1.

    Raises:
        TraitError: a setting is impossible or of the wrong type; it stays what it was.
        TypeError: there is no such setting.
        ValueError: logits and tokens don't fit together, a row holds no scores to choose from, or all
            scores take more than the 10 MB of `MAX_STATE_BYTES`, four bytes each.

    >>> explorer = SamplingExplorer({"2 + 2 =": torch.tensor([3.0, 1.0])}, [" 4", " 5"], top_k=1)
    >>> explorer.probabilities.tolist()
    [1.0, 0.0]
    """

    _esm = bundle("sampling.js")

    texts = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    vocab_size = traitlets.Int(read_only=True).tag(sync=True)
    logits = traitlets.Bytes(read_only=True).tag(sync=True)
    shown_ids = traitlets.List(read_only=True).tag(sync=True)
    shown_tokens = traitlets.List(read_only=True).tag(sync=True)

    text = traitlets.Int(0).tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    top_k = traitlets.Int(None, allow_none=True).tag(sync=True)
    top_p = traitlets.Float(1.0, allow_none=True).tag(sync=True)
    min_p = traitlets.Float(0.0, allow_none=True).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)

    _temperature = checked("temperature", lambda value: check_settings(value, None, None, None))
    _top_k = checked("top_k", lambda value: check_settings(1, value, None, None))
    _top_p = checked("top_p", lambda value: check_settings(1, None, value, None))
    _min_p = checked("min_p", lambda value: check_settings(1, None, None, value))

    def __init__(self, logits: Mapping[str, Tensor], tokens: Sequence[str], shown: int = 14, **settings):
        check_size("shown", shown)
        check_names(tokens)
        V = len(tokens)
        if not isinstance(logits, Mapping):
            raise TypeError(f"logits must be a mapping from texts to scores; got {type(logits).__name__}")
        rows = {text: scores(row) for text, row in logits.items()}
        if not rows or any(row.shape != (V,) for row in rows.values()):
            shapes = {text: tuple(row.shape) for text, row in rows.items()}
            raise ValueError(f"logits must hold a text and scores ({V},) for {V} tokens; got {shapes}")
        check_state_bytes(4 * V * len(rows), "logits", f"{MAX_STATE_BYTES // (4 * V)} texts would do")
        self._rows = torch.stack(list(rows.values()))
        check_logits(self._rows)
        order = [row.argsort(descending=True, stable=True)[: min(shown, V)].tolist() for row in self._rows]
        self.set_trait("texts", list(logits))
        self.set_trait("vocab_size", V)
        self.set_trait("logits", float32_bytes(self._rows))
        self.set_trait("shown_ids", order)
        self.set_trait("shown_tokens", [[tokens[i] for i in ids] for ids in order])
        super().__init__(**settings)
        self.set_trait("description", self._describe())

    @classmethod
    def of(cls, model: GPT, tokenizer: Tokenizer, texts: Sequence[str], **settings) -> "SamplingExplorer":
        """An explorer of the tokens that a model expects after each of several texts, which must differ.

        The reader can type a text of their own, too, for the page runs the model.
        The model may have more tokens than the tokenizer; a token without a name is shown as `<token 1024>`.
        """
        if isinstance(texts, str) or len(set(texts)) != len(texts):
            raise ValueError(f"texts must be several texts, all different; got {texts!r}")
        V = model.config.vocab_size
        check_state_bytes(4 * V * len(texts), "logits", f"{MAX_STATE_BYTES // (4 * V)} texts would do")
        prompts = [torch.tensor([encoded(tokenizer, text)]) for text in texts]
        rows = {text: next_logits(model, prompt)[0] for text, prompt in zip(texts, prompts, strict=True)}
        explorer = cls(rows, [token_text(tokenizer, i) for i in range(V)], **settings)
        explorer.run_with(model, tokenizer)
        return explorer

    @traitlets.validate("text")
    def _text(self, proposal):
        if not 0 <= proposal["value"] < len(self.texts):
            raise Refused(f"text must be from 0 to {len(self.texts) - 1}; got {proposal['value']}")
        return proposal["value"]

    @property
    def probabilities(self) -> Tensor:
        """The distribution for the sliders' present values, computed by PyTorch: (V,)."""
        row = self._rows[self.text].double()  # the browser computes in double precision, too
        return next_token_probabilities(row, self.temperature, self.top_k, self.top_p, self.min_p)

    def _describe(self) -> str:
        p = self.probabilities[self.shown_ids[self.text][0]].item()
        best = self.shown_tokens[self.text][0]
        return (
            f"what comes after {self.texts[self.text]!r}, with sliders for temperature, top-k, top-p and min-p. "
            f"At temperature {self.temperature:g} the likeliest of {self.vocab_size:,} tokens is {best!r}, "
            f"with {100 * p:.1f} %."
        )


def scores(row) -> Tensor:
    """Return scores in the precision in which the browser gets them, 32 bits; raise unless they are numbers."""
    try:
        row = torch.as_tensor(row)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"logits must be tensors of numbers; got {row!r} ({error})") from error
    if row.is_complex() or row.is_meta:
        raise TypeError(f"logits must be tensors of numbers; got {'a meta tensor' if row.is_meta else row.dtype}")
    return row.detach().cpu().float()
