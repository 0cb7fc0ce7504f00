"""Playground: a line to type into, and a GPT that goes on, in the page."""

import traitlets
from tokenizers import Tokenizer

from minigpt import pretrained
from minigpt.checks import check_size
from minigpt.model import GPT
from minigpt.parameters import count
from minigpt.sampling import check_settings
from minigpt.widgets.engine import Engine
from minigpt.widgets.explorer import bundle, checked, styles

#: What bends the distribution or ends the text: each of the two panes has its own.
KNOBS = ("temperature", "top_k", "top_p", "min_p", "max_new_tokens")


class Playground(Engine):
    """A GPT that continues what the reader types, token by token; every token can be opened.

    An opened token shows the distribution that it was drawn from, what was cut and why, what each head looked at
    and what each layer would have said. The page computes all of it, with the model's weights in 8 bits
    (`quantization.dequantized`); the same seed gives the same text as `generate` does with these weights.

    Args:
        model: a `GPT`, or the name of a model that comes with the package, such as "shakespeare". Its weights are
            handed over when the reader first wants a text: as they are then.
        tokenizer: the tokenizer that the model was trained with; None: the one that comes with a named model.
        small: True leaves everything out but the prompt, the temperature and the text.
        settings: the first values of the traits below.

    Attributes:
        prompt: the text to continue.
        temperature, top_k, top_p, min_p: see `sampling.next_token_probabilities`.
        max_new_tokens: after how many tokens to stop, from 1 to 1,000.
        seed: where the random numbers start, from 0 to 2³¹ - 1.
        stop_at_line_end: whether a line's end ends the text.
        show_tokens: whether the text's tokens are coloured pieces.
        second: the knobs of a second pane beside the first, as a dict of temperature, top_k, top_p, min_p and
            max_new_tokens; None: one pane.

    Raises:
        TraitError: a setting is impossible or of the wrong type; it stays what it was.
        TypeError: there is no such setting, model is no GPT, or tokenizer no tokenizer.
        ValueError: the tokenizer has more tokens than the model.
    """

    _esm = bundle("playground.js")
    _css = styles("attention.css", "playground.css")

    small = traitlets.Bool(False, read_only=True).tag(sync=True)
    vocab_size = traitlets.Int(read_only=True).tag(sync=True)
    context_length = traitlets.Int(read_only=True).tag(sync=True)

    prompt = traitlets.Unicode("JULIET:\nI love").tag(sync=True)
    temperature = traitlets.Float(0.8).tag(sync=True)
    top_k = traitlets.Int(None, allow_none=True).tag(sync=True)
    top_p = traitlets.Float(1.0, allow_none=True).tag(sync=True)
    min_p = traitlets.Float(0.0, allow_none=True).tag(sync=True)
    max_new_tokens = traitlets.Int(100, min=1, max=1_000).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    stop_at_line_end = traitlets.Bool(False).tag(sync=True)
    show_tokens = traitlets.Bool(False).tag(sync=True)
    second = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    _temperature = checked("temperature", lambda value: check_settings(value, None, None, None))
    _top_k = checked("top_k", lambda value: check_settings(1, value, None, None))
    _top_p = checked("top_p", lambda value: check_settings(1, None, value, None))
    _min_p = checked("min_p", lambda value: check_settings(1, None, None, value))
    _second = checked("second", lambda value: check_knobs(value))

    def __init__(self, model: GPT | str, tokenizer: Tokenizer | None = None, small: bool = False, **settings):
        if isinstance(model, str):
            tokenizer = pretrained.load_tokenizer(model) if tokenizer is None else tokenizer
            model = pretrained.load(model)
        if not isinstance(model, GPT):
            raise TypeError(f"model must be a GPT or the name of one; got {type(model).__name__}")
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"tokenizer must be a tokenizers.Tokenizer; got {type(tokenizer).__name__}")
        config = model.config
        if tokenizer.get_vocab_size() > config.vocab_size:
            got = tokenizer.get_vocab_size()
            raise ValueError(f"tokenizer must have at most the model's {config.vocab_size} tokens; got {got}")
        self.set_trait("small", small)
        self.set_trait("vocab_size", config.vocab_size)
        self.set_trait("context_length", config.context_length)
        super().__init__(**settings)
        self.run_with(model, tokenizer)
        self.set_trait(
            "description",
            f"a GPT of {count(model):,} parameters that continues what you type, in the page itself: here after "
            f"{self.prompt!r}, at temperature {self.temperature:g}.",
        )


def check_knobs(knobs: dict | None) -> None:
    """Raise unless these are the knobs of a pane, all of them."""
    if knobs is None:
        return
    if set(knobs) != set(KNOBS):
        raise ValueError(f"second must hold {', '.join(KNOBS)}; got {', '.join(map(str, knobs)) or 'nothing'}")
    check_settings(*(knobs[name] for name in KNOBS[:-1]))
    check_size("max_new_tokens", knobs["max_new_tokens"], most=1_000)
