"""Weights in 8 bits, for the page: a quarter of the bytes, and nearly the same model.

A row of a matrix, a token's vector for one, becomes whole numbers q from -127 to 127 and one factor s:

    w ≈ s·q,  s = max |w| / 127,  q = w / s, rounded

Vectors (biases, LayerNorms) stay in 32 bits: they are few.

Source: symmetric quantisation with a factor a row as in Dettmers et al. (2022), section 2.
"""

import copy
import json
import zlib
from dataclasses import asdict

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.model import GPT

#: The version of the file's layout, which a reader compares.
VERSION = "1"


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers and factors of a matrix.

    Args:
        weight: finite numbers, (rows, columns).

    Returns:
        int8 from -127 to 127, (rows, columns), and float32, (rows,). A row of zeros has the factor 0.

    Raises:
        ValueError: weight is not a matrix, or has a number that is not finite.
    """
    if weight.dim() != 2 or not weight.isfinite().all():
        raise ValueError(f"weight must be a matrix of finite numbers; got {tuple(weight.shape)}, finite or not")
    weight = weight.detach().float()
    scales = weight.abs().amax(1) / 127
    numbers = (weight / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]).round()
    return numbers.to(torch.int8), scales


def dequantize(numbers: Tensor, scales: Tensor) -> Tensor:
    """The matrix that whole numbers (rows, columns) and factors (rows,) stand for, in float32."""
    return numbers.float() * scales[:, None]


def dequantized(model: GPT) -> GPT:
    """A copy of a model as it is in the page: its matrices through 8 bits and back, in float32."""
    copied = copy.deepcopy(model).float()
    with torch.no_grad():
        for parameter in copied.parameters():
            if parameter.dim() == 2:
                parameter.copy_(dequantize(*quantize(parameter)))
    return copied


def page_file(model: GPT, tokenizer: Tokenizer) -> bytes:
    """A model and its tokenizer as one file in the safetensors format, for minigpt/browser/quantization.js.

    Its tensors have the names of the parameters; a matrix has its factors beside it, `NAME.scale`. The header has what
    else the page needs: configuration, tokenizer, version, and a checksum (CRC-32) of the tensors' bytes.

    Raises:
        ValueError: the tokenizer has more tokens than the model, or a weight is not finite.
    """
    V = model.config.vocab_size
    if tokenizer.get_vocab_size() > V:
        raise ValueError(f"tokenizer must have at most the model's {V} tokens; got {tokenizer.get_vocab_size()}")
    tensors = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            tensors[name], tensors[f"{name}.scale"] = quantize(parameter)
        else:
            tensors[name] = parameter.detach().float()
    facts = {
        "version": VERSION,
        "config": json.dumps(asdict(model.config)),
        "tokenizer": json.dumps(json.loads(tokenizer.to_str()), separators=(",", ":"), ensure_ascii=False),
    }
    # The library would write the facts in any order; the same model shall always give the same bytes.
    saved = save(tensors)
    begin = 8 + int.from_bytes(saved[:8], "little")
    facts["crc32"] = str(zlib.crc32(saved[begin:]))
    header = json.dumps({"__metadata__": facts, **json.loads(saved[8:begin])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + saved[begin:]
