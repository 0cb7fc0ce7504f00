"""Our weights in Hugging Face's GPT-2, for comparison."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt import GPT

ACTIVATIONS = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu"}
NAMES = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "norm": "transformer.ln_f",
    "head": "lm_head",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attention.output": "attn.c_proj",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
}


def twin(model: GPT) -> GPT2LMHeadModel:
    """A GPT2LMHeadModel with the weights of `model`."""
    ours = model.config
    config = GPT2Config(
        vocab_size=ours.vocab_size,
        n_positions=ours.context_length,
        n_embd=ours.d_model,
        n_head=ours.n_heads,
        n_layer=ours.n_layers,
        n_inner=ours.d_ff,
        activation_function=ACTIVATIONS[ours.activation],
        tie_word_embeddings=ours.tie_weights,
        attn_implementation="eager",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    dtype = model.head.weight.dtype
    theirs = GPT2LMHeadModel(config).to(dtype).eval()
    weights = {}
    state = model.state_dict()
    for name, weight in state.items():
        module, _, kind = name.rpartition(".")
        if module.startswith("blocks."):
            _, layer, part = module.split(".", 2)
            if part in ("attention.query", "attention.key", "attention.value"):
                continue
            their_module = f"transformer.h.{layer}.{NAMES[part]}"
            transposed = kind == "weight" and not part.startswith("norm")
        else:
            their_module, transposed = NAMES[module], False
        weights[f"{their_module}.{kind}"] = weight.T if transposed else weight
    for layer in range(ours.n_layers):
        for kind in ("weight", "bias"):
            parts = [state[f"blocks.{layer}.attention.{p}.{kind}"] for p in ("query", "key", "value")]
            joined = torch.cat(parts)
            weights[f"transformer.h.{layer}.attn.c_attn.{kind}"] = joined.T if kind == "weight" else joined
    theirs.load_state_dict(weights, strict=True)
    return theirs
