"""AttentionExplorer: who looks at whom, head by head."""

from collections.abc import Sequence

import torch
import traitlets
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.model import GPT, evaluating
from minigpt.widgets.explorer import Explorer, Refused, bundle, float32_bytes, token_text


class AttentionExplorer(Explorer):
    """A map of every head to choose from, and the line of tokens, coloured by what one of them looks at.

    Args:
        weights: for each layer the weights of its heads, (H, T, T), rows summing to 1.
        tokens: the T tokens.
        settings: the traits below, to begin with.

    Attributes:
        layer, head: which head, both counted from 1 as in the chapters.
        position: which token does the looking, from 0.

    Raises:
        ValueError: weights and tokens don't fit together, or weights are none.
        TraitError: a setting is out of range; it stays what it was.
        TypeError: there is no such setting.
    """

    _esm = bundle("attention.js")

    tokens = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    n_layers = traitlets.Int(read_only=True).tag(sync=True)
    n_heads = traitlets.Int(read_only=True).tag(sync=True)
    weights = traitlets.Bytes(read_only=True).tag(sync=True)

    layer = traitlets.Int(1).tag(sync=True)
    head = traitlets.Int(1).tag(sync=True)
    position = traitlets.Int().tag(sync=True)

    def __init__(self, weights: Sequence[Tensor], tokens: Sequence[str], **settings):
        layers = [torch.as_tensor(layer).detach().cpu() for layer in weights]
        T, H = len(tokens), len(layers[0]) if layers else 0
        if not H or not T or any(layer.shape != (H, T, T) for layer in layers):
            shapes = [tuple(layer.shape) for layer in layers]
            raise ValueError(f"weights must be (H, {T}, {T}) in every layer for {T} tokens; got {shapes}")
        self._weights = torch.stack(layers)
        off = (self._weights.double().sum(-1) - 1).abs().max().item()
        if not off < 1e-3 or self._weights.min() < 0:
            raise ValueError(f"weights must be at least 0 and sum to 1 in each row; got a sum that is {off:g} off")
        self.set_trait("tokens", list(tokens))
        self.set_trait("n_layers", len(layers))
        self.set_trait("n_heads", H)
        self.set_trait("weights", float32_bytes(self._weights))
        super().__init__(**{"position": T - 1, **settings})
        weight, place = self._weights[self.layer - 1, self.head - 1, self.position].max(0)
        self.set_trait(
            "description",
            f"who looks at whom among {T} tokens, in {len(layers)} layers of {H} heads. In layer {self.layer}, head "
            f"{self.head}, token {self.position + 1}, {tokens[self.position]!r}, looks most at token {place + 1}, "
            f"{tokens[place]!r}, with {100 * weight:.1f} % of its weight.",
        )

    @classmethod
    def of(cls, model: GPT, tokenizer: Tokenizer, text: str, **settings) -> "AttentionExplorer":
        """The heads of a model over a text."""
        ids = tokenizer.encode(text).ids
        with evaluating(model):
            tokens = torch.tensor([ids], device=model.head.weight.device)
            weights = [layer[0] for layer in model.attention_weights(tokens)]
        return cls(weights, [token_text(tokenizer, i) for i in ids], **settings)

    @traitlets.validate("layer", "head", "position")
    def _in_range(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        ranges = {"layer": (1, self.n_layers), "head": (1, self.n_heads), "position": (0, len(self.tokens) - 1)}
        first, last = ranges[name]
        if not first <= value <= last:
            raise Refused(f"{name} must be from {first} to {last}; got {value}")
        return value
