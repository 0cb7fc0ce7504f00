"""Our weights in Hugging Face's GPT-2, for comparison."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from minigpt import GPT
from minigpt.pretrained import to_gpt2_config, to_gpt2_weights


def twin(model: GPT) -> GPT2LMHeadModel:
    """A GPT2LMHeadModel with the weights of `model`: the same tensors where the layout allows it, not copies."""
    config = GPT2Config(**to_gpt2_config(model.config), attn_implementation="eager")
    with torch.device("meta"):
        theirs = GPT2LMHeadModel(config)
    missing, unexpected = theirs.load_state_dict(to_gpt2_weights(model), strict=False, assign=True)
    assert not unexpected and missing == (["lm_head.weight"] if model.config.tie_weights else [])
    if model.config.tie_weights:
        theirs.lm_head.weight = theirs.transformer.wte.weight
    return theirs.eval()
