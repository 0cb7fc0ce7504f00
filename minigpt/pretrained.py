"""Trained models on disk: safetensors for the weights, JSON for the rest. Nothing is unpickled."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from minigpt.config import GPTConfig
from minigpt.model import GPT

#: Where the models that come with the package lie, a folder each.
WEIGHTS = Path(__file__).parent / "weights"


def save(model: GPT, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model's configuration and weights.

    Args:
        model: what to save.
        folder: where: `config.json` and `model.safetensors` are written there.
        dtype: what to store the weights as; float16 halves the file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    if model.config.tie_weights:
        del weights["head.weight"]  # the token embedding, which is stored once
    stored = {name: weight.detach().to(dtype).contiguous() for name, weight in weights.items()}
    # Under other names first: a full disk leaves the model that was there as it was.
    save_file(stored, folder / "model.partial")
    (folder / "config.partial").write_text(json.dumps(asdict(model.config), indent=2) + "\n")
    (folder / "model.partial").replace(folder / "model.safetensors")
    (folder / "config.partial").replace(folder / "config.json")


def load(folder: str | Path) -> GPT:
    """Read what `save` wrote: a model in float32, ready to evaluate.

    Args:
        folder: what `save` was given, or the name of a model that comes with the package, "mini".

    Raises:
        FileNotFoundError: there is no such folder; the message says which names there are.
        RuntimeError: the weights are not those of the configuration beside them.
    """
    folder = model_folder(folder)
    model = GPT(GPTConfig(**json.loads((folder / "config.json").read_text())))
    weights = {name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()}
    if model.config.tie_weights:
        weights["head.weight"] = weights["token_embedding.weight"]
    model.load_state_dict(weights)
    return model.eval()


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a model that comes with the package, or of a folder with a `tokenizer.json`."""
    return Tokenizer.from_file(str(model_folder(folder) / "tokenizer.json"))


def model_folder(name: str | Path) -> Path:
    """The folder of that path, or else of that name among the models that come with the package."""
    for folder in (Path(name), WEIGHTS / name):
        if (folder / "config.json").is_file() or (folder / "tokenizer.json").is_file():
            return folder
    known = ", ".join(sorted(path.name for path in WEIGHTS.iterdir()))
    raise FileNotFoundError(f"folder must hold a saved model, or be one of: {known}; got {str(name)!r}")
