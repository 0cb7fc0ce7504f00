"""What the widgets have in common: how their front ends are put together, and what stands in for them."""

import re
from pathlib import Path

import anywidget
import torch
import traitlets
from tokenizers import Tokenizer
from torch import Tensor

FOLDER = Path(__file__).parent
CSS = (FOLDER / "widgets.css").read_text(encoding="utf-8")


def bundle(name: str) -> str:
    """A front end as a single JavaScript module: what it imports comes first, the imports go.

    A widget carries its front end in its state, as a text, from which nothing beside it can be imported.
    """
    names: list[str] = []

    def collect(name):
        if name not in names:
            for imported in IMPORT.findall((FOLDER / name).read_text(encoding="utf-8")):
                collect(imported)
            names.append(name)

    collect(name)
    parts = [IMPORT.sub("", (FOLDER / part).read_text(encoding="utf-8")) for part in names]
    return re.sub(r"^export (?!default)", "", "".join(parts), flags=re.MULTILINE)


IMPORT = re.compile(r'^import [^;]*? from "\./([\w.]+)";\n', re.MULTILINE)


class Explorer(anywidget.AnyWidget):
    """The base of the widgets.

    Attributes:
        description: one sentence for where the widget cannot be drawn: what it would show, and the
            numbers of its first state. It is also what a notebook stores as the widget's text.
    """

    _css = CSS
    description = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, **settings):
        known = [name for name, trait in type(self).class_own_traits().items() if not trait.read_only]
        for name in settings:
            if name not in known:
                raise TypeError(f"settings must be among {', '.join(known)}; got {name!r}")
        super().__init__(**settings)

    def __repr__(self):
        return f"{type(self).__name__}: {self.description}"

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/plain": repr(self)}, metadata  # anywidget's own is cut off


class Refused(traitlets.TraitError, ValueError):
    """A trait was given an impossible value. (That it is a TraitError makes traitlets put the old one back.)"""


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


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """What a token stands for; its name in the vocabulary if it is only a part of a character."""
    text = tokenizer.decode([token])
    return tokenizer.id_to_token(token) if not text or "\N{REPLACEMENT CHARACTER}" in text else text
