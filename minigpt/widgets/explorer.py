"""The common part of the widgets: it puts their front ends together, and describes them where they can't be drawn."""

import json
import re
import sys
import tomllib
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.checks import check_text
from minigpt.tokenizer import END_OF_TEXT

FOLDER = Path(__file__).parent
#: The most bytes of numbers that an explorer puts into a page; a notebook, which stores text, needs a third more.
MAX_STATE_BYTES = 10_000_000


def bundle(name: str, folder: Path = FOLDER) -> str:
    """Make a front end a single JavaScript module: the files it imports come first, the import lines are removed.

    A widget carries its front end as a text in its state, and such a text can't import files. A file of data (.toml)
    becomes an object of the name that it is imported by, and a module imported as "NAME.js?raw" a text, its source.
    """
    parts: dict[Path, str] = {}

    def collect(file: Path, data_name: str = ""):
        if file in parts:
            return
        if file.name.endswith("?raw"):
            source = bundle(file.name.removesuffix("?raw"), file.parent)
            parts[file] = f"const {data_name} = {json.dumps(source, ensure_ascii=False)};\n"
            return
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            parts[file] = f"const {data_name} = {json.dumps(tomllib.loads(text), ensure_ascii=False)};\n"
            return
        for names, imported in IMPORT.findall(text):
            collect((file.parent / imported).resolve(), names)
        parts[file] = IMPORT.sub("", text)

    collect((folder / name).resolve())
    return re.sub(r"^export (?!default)", "", "".join(parts.values()), flags=re.MULTILINE)


IMPORT = re.compile(r'^import ([^;]*?) from "(\.\.?/[\w./?]+)";\n', re.MULTILINE)


def styles(*more: str) -> str:
    """The style sheet of a widget: widgets.css, which all have, and more files of this folder."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in ("widgets.css", *more))


class Explorer(anywidget.AnyWidget):
    """The base of the widgets.

    Attributes:
        description: a text to show where the widget can't be drawn: what the widget would show, with the
            numbers of its first state. A notebook stores it as the widget's text, too.
    """

    _css = styles()
    description = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, **settings):
        known = [name for name, trait in type(self).class_own_traits().items() if not trait.read_only]
        for name in settings:
            if name not in known:
                raise TypeError(f"settings must be among {', '.join(known)}; got {name!r}")
        super().__init__(**settings)

    def __setattr__(self, name, value):
        super().__setattr__(name, plain(getattr(type(self), name, None), value))

    def set_trait(self, name, value):
        super().set_trait(name, plain(getattr(type(self), name, None), value))

    def __repr__(self):
        return f"{type(self).__name__}: {self.description}"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self)}, metadata  # anywidget would cut the text off


class Refused(traitlets.TraitError, ValueError):
    """A trait was given an impossible value. (Because it is a TraitError, traitlets puts the old value back.)"""


def plain(trait, value):
    """Turn NumPy's numbers into Python's. True and False are refused, which traitlets would accept as numbers."""
    if not isinstance(trait, traitlets.Int | traitlets.Float) or value is None:
        return value
    if isinstance(value, bool | np.bool_):
        kind = "an int" if isinstance(trait, traitlets.Int) else "a number"
        raise Refused(f"{trait.name} must be {kind}; got {value} ({type(value).__name__})")
    try:
        if isinstance(value, Integral) and isinstance(trait, traitlets.Int):
            return int(value)
        return float(value) if isinstance(value, Real) and isinstance(trait, traitlets.Float) else value
    except OverflowError:
        raise Refused(f"{trait.name} must be below {sys.float_info.max:.2g}; got a number above it") from None


def check_state_bytes(n_bytes: int, what: str, instead: str) -> None:
    """Raise if a page would have to carry too much."""
    if n_bytes > MAX_STATE_BYTES:
        raise ValueError(
            f"{what} must take at most {MAX_STATE_BYTES / 1e6:.0f} MB, which the page has to carry; "
            f"got {n_bytes / 1e6:,.1f} MB ({instead})"
        )


def check_names(tokens) -> None:
    """Raise unless `tokens` are texts."""
    is_sequence = isinstance(tokens, Sequence)
    wrong = [token for token in tokens if not isinstance(token, str)] if is_sequence else [tokens]
    if wrong:
        raise TypeError(f"tokens must be a sequence of texts; got {wrong[0]!r} ({type(wrong[0]).__name__})")


def checked(name: str, check):
    """A trait's validator that refuses a value with the message of the error that `check(value)` raises."""

    @traitlets.validate(name)
    def validate(self, proposal):
        try:
            check(proposal["value"])
        except (TypeError, ValueError) as error:
            raise Refused(str(error)) from error
        return proposal["value"]

    return validate


def float32_bytes(numbers: Tensor) -> bytes:
    """A tensor as the bytes that a front end reads as a Float32Array."""
    return numbers.detach().to("cpu", torch.float32).contiguous().numpy().astype("<f4").tobytes()


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """The token ids of a text; raise if there is none."""
    ids = tokenizer.encode(check_text("text", text)).ids
    if not ids:
        raise ValueError(f"text must hold at least one token, if only {END_OF_TEXT} to begin with; got {text!r}")
    return ids


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """The text that a token stands for; its name in the vocabulary, if it is only a part of a character.

    A model may have more tokens than its tokenizer. The other tokens are never read; each is shown as its number.
    """
    name = tokenizer.id_to_token(token)
    if name is None:
        return f"<token {token}>"
    text = tokenizer.decode([token])
    return name if not text or "\N{REPLACEMENT CHARACTER}" in text else text
