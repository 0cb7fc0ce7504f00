"""AttentionExplorer: who looks at whom, head by head."""

from collections.abc import Iterable, Sequence

import torch
import traitlets
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.checks import check_size
from minigpt.model import GPT, evaluating
from minigpt.widgets.engine import Engine
from minigpt.widgets.explorer import (
    MAX_STATE_BYTES,
    Refused,
    bundle,
    check_names,
    check_state_bytes,
    encoded,
    float32_bytes,
    styles,
    token_text,
)


class AttentionExplorer(Engine):
    """A map of all heads, of which one is chosen, and the tokens, coloured by how much one of them looks at each.

    Args:
        weights: for each layer the weights of its heads, (H, T, T); each row sums to 1.
        tokens: the T tokens.
        layers: which layers these are, counted from 1; None: the first ones.
        settings: the first values of the traits below.

    Attributes:
        layer, head: the chosen head, both counted from 1 as in the chapters.
        position: the token that looks at the others, counted from 0.

    Raises:
        ValueError: weights, tokens and layers don't fit together, a weight is negative, a row doesn't sum to 1,
            or all weights take more than the 10 MB of `MAX_STATE_BYTES`, four bytes each: then choose fewer
            layers, or a shorter text.
        TraitError: a setting is out of range; it stays what it was.
        TypeError: there is no such setting.
    """

    _esm = bundle("attention.js")
    _css = styles("attention.css")

    tokens = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    layers = traitlets.List(traitlets.Int(), read_only=True).tag(sync=True)
    n_layers = traitlets.Int(read_only=True).tag(sync=True)
    n_heads = traitlets.Int(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)

    layer = traitlets.Int(1).tag(sync=True)
    head = traitlets.Int(1).tag(sync=True)
    position = traitlets.Int().tag(sync=True)

    def __init__(
        self, weights: Sequence[Tensor], tokens: Sequence[str], layers: Sequence[int] | None = None, **settings
    ):
        check_names(tokens)
        held = [torch.as_tensor(layer).detach().cpu() for layer in weights]
        T, H = len(tokens), len(held[0]) if held and held[0].dim() else 0
        if not H or not T or any(layer.shape != (H, T, T) for layer in held):
            shapes = [tuple(layer.shape) for layer in held]
            raise ValueError(f"weights must be (H, {T}, {T}) in every layer for {T} tokens; got {shapes}")
        layers = check_layers(range(1, len(held) + 1) if layers is None else layers)
        if len(layers) != len(held):
            raise ValueError(f"layers must be as many as there are in weights, {len(held)}; got {layers}")
        check_bytes(len(held), H, T)
        self._weights = torch.stack(held)
        off = (self._weights.double().sum(-1) - 1).abs().max().item()
        if not off < 1e-3 or self._weights.min() < 0:
            raise ValueError(f"weights must be at least 0 and sum to 1 in each row; got a sum that is {off:g} off")
        self.set_trait("tokens", list(tokens))
        self.set_trait("layers", layers)
        self.set_trait("n_layers", len(layers))
        self.set_trait("n_heads", H)
        self.set_trait("weights", float32_bytes(self._weights))
        super().__init__(**{"layer": layers[0], "position": T - 1, **settings})
        weight, place = self._weights[layers.index(self.layer), self.head - 1, self.position].max(0)
        self.set_trait(
            "description",
            f"who looks at whom among {T} tokens, in {len(layers)} layers of {H} heads. In layer {self.layer}, head "
            f"{self.head}, token {self.position + 1}, {tokens[self.position]!r}, looks most at token {place + 1}, "
            f"{tokens[place]!r}, with {100 * weight:.1f} % of its weight.",
        )

    @classmethod
    def of(
        cls, model: GPT, tokenizer: Tokenizer, text: str, layers: Sequence[int] | None = None, **settings
    ) -> "AttentionExplorer":
        """An explorer of a model's heads over a text: of all layers, or, counted from 1, of `layers=range(5, 9)`.

        The reader can type a text of their own, too, for the page runs the model: then all layers are shown.
        """
        ids = encoded(tokenizer, text)
        L = model.config.n_layers
        layers = check_layers(range(1, L + 1) if layers is None else layers)
        if max(layers) > L:
            raise ValueError(f"layers must be from 1 to {L}; got {layers}")
        check_bytes(len(layers), model.config.n_heads, len(ids))
        with evaluating(model.modules()):
            tokens = torch.tensor([ids], device=model.head.weight.device)
            weights = [layer[0] for layer in model.attention_weights(tokens)]
        chosen = [weights[layer - 1] for layer in layers]
        explorer = cls(chosen, [token_text(tokenizer, i) for i in ids], layers, **settings)
        explorer.run_with(model, tokenizer)
        return explorer

    @traitlets.validate("layer", "head", "position")
    def _in_range(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "layer" and value not in self.layers:
            raise Refused(f"layer must be one of {', '.join(map(str, self.layers))}; got {value}")
        first, last = {"head": (1, self.n_heads)}.get(name, (0, len(self.tokens) - 1))
        if name != "layer" and not first <= value <= last:
            raise Refused(f"{name} must be from {first} to {last}; got {value}")
        return value


def check_layers(layers: Sequence[int]) -> list[int]:
    """Return the numbers of layers as Python's; raise unless they are all different and at least 1."""
    numbers = list(layers) if isinstance(layers, Iterable) else [layers]
    for number in numbers:
        check_size("layers", number)
    if not numbers or len(set(numbers)) != len(numbers):
        raise ValueError(f"layers must be one or more, all different; got {numbers}")
    return [int(number) for number in numbers]


def check_bytes(L: int, H: int, T: int) -> None:
    """Raise if the weights of L layers, with H heads each, over T tokens take too many bytes for a page."""
    most = MAX_STATE_BYTES // (4 * H * T * T)
    instead = f"layers={list(range(1, most + 1))} would do" if most else "a shorter text would do"
    check_state_bytes(4 * L * H * T * T, "weights", f"{L} layers of {H} heads over {T} tokens; {instead}")
