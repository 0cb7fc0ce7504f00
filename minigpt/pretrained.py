"""Trained models on disk, ours and GPT-2's: safetensors for the weights, JSON for the rest.

Nothing is unpickled.
"""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from minigpt.config import GPTConfig
from minigpt.files import write_files
from minigpt.model import GPT
from minigpt.tokenizer import END_OF_TEXT

#: Where the models that come with the package lie, a folder each.
WEIGHTS = Path(__file__).parent / "weights"


def save(
    model: GPT, folder: str | Path, dtype: torch.dtype = torch.float32, more: dict[str, str] | None = None
) -> None:
    """Write a model's configuration and weights.

    Args:
        model: what to save.
        folder: where: `config.json` and `model.safetensors` are written there.
        dtype: what to store the weights as; float16 halves the file.
        more: text files to write beside them, by name.
    """
    weights = model.state_dict()
    if model.config.tie_weights:
        del weights["head.weight"]  # the token embedding, which is stored once
    save_weights(model.config, weights, folder, dtype, more)


def save_weights(
    config: GPTConfig,
    weights: dict[str, Tensor],
    folder: str | Path,
    dtype: torch.dtype = torch.float32,
    more: dict[str, str] | None = None,
) -> None:
    """`save` for weights that are not in a model, with more text files beside them, by name.

    A tied head must not be among the weights.
    """
    stored = {name: weight.detach().to(dtype).contiguous() for name, weight in weights.items()}
    write(Path(folder), stored, {"config.json": as_json(asdict(config)), **(more or {})})


def as_json(value: dict) -> str:
    """A JSON file's text."""
    return json.dumps(value, indent=2) + "\n"


def write(folder: Path, weights: dict[str, Tensor], texts: dict[str, str]) -> None:
    """Write `model.safetensors` and some text files; a full disk leaves all that was there as it was.

    Raises:
        OSError: they can't be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writers = {folder / name: partial(Path.write_text, data=text, encoding="utf-8") for name, text in texts.items()}
    write_files({folder / "model.safetensors": lambda path: save_file(weights, path, {"format": "pt"}), **writers})


def load(folder: str | Path) -> GPT:
    """Read what `save` wrote: a model in float32, ready to evaluate.

    Args:
        folder: what `save` was given, or the name of the model that comes with the package, "shakespeare".

    Raises:
        FileNotFoundError: there is no such folder; the message says which names there are.
        RuntimeError: the weights are not those of the configuration beside them.
    """
    folder = model_folder(folder)
    config = GPTConfig(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    return build(config, load_file(folder / "model.safetensors"))


def build(config: GPTConfig, weights: dict[str, Tensor]) -> GPT:
    """A model in float32 with these weights, ready to evaluate; a tied head is not among them."""
    with torch.device("meta"):
        model = GPT(config)  # shapes only: nothing is drawn that is replaced at once
    # In one piece, each by itself: the fused AdamW goes through them number by number.
    weights = {name: weight.float().contiguous() for name, weight in weights.items()}
    if config.tie_weights:
        weights["head.weight"] = weights["token_embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tie_weights:
        model.head.weight = model.token_embedding.weight
    return model.requires_grad_().eval()


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


#: What Hugging Face's GPT-2 calls our activations; the first of each is what we write.
ACTIVATIONS = {"gelu_tanh": ("gelu_new", "gelu_pytorch_tanh"), "gelu": ("gelu",), "relu": ("relu",)}
#: What it calls our modules, and those of a block.
NAMES = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "norm": "transformer.ln_f",
    "head": "lm_head",
}
BLOCK_NAMES = {
    "norm1": "ln_1",
    "attention.output": "attn.c_proj",
    "norm2": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
}
#: GPT-2 has them in one matrix, side by side.
JOINED = ("query", "key", "value")


def load_gpt2(name: str | Path) -> GPT:
    """GPT-2 as our GPT, ready to evaluate: the same logits, from the same weights.

    Args:
        name: a folder with `config.json` and safetensors, as `save_pretrained` writes it, or a name
            on Hugging Face's hub: "openai-community/gpt2", "...gpt2-medium", "...gpt2-large",
            "...gpt2-xl", or another with that architecture. What was fetched once is kept.

    Raises:
        ConnectionError: it was never fetched, and the hub can't be reached.
        FileNotFoundError: the folder has no configuration or no safetensors.
        ValueError: it is no GPT-2, or one whose attention or LayerNorm our GPT doesn't compute.
        RuntimeError: the weights are not those of the configuration beside them.
    """
    folder = Path(name)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(name), allow_patterns=["config.json", "*.safetensors"]))
        except Exception as error:  # what is raised differs from one version of the library to the next
            raise ConnectionError(
                f"{str(name)!r} is no folder, and must be fetched from huggingface.co, which has no such "
                f"model or can't be reached"
            ) from error
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} must hold config.json and .safetensors; it does not")
    config = from_gpt2_config(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    weights = {}
    for file in files:
        weights.update(load_file(file))
    return build(config, from_gpt2_weights(weights, config))


def save_gpt2(model: GPT, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
    """Write a model so that Hugging Face's `GPT2LMHeadModel.from_pretrained` reads it.

    Args:
        model: what to save.
        folder: where.
        tokenizer: saved beside it for `AutoTokenizer.from_pretrained`, if given.

    Raises:
        ValueError: the model has no biases, which GPT-2 can't do without.
    """
    config = to_gpt2_config(model.config)
    end = tokenizer.token_to_id(END_OF_TEXT) if tokenizer else None
    texts = {"config.json": as_json(config | {"bos_token_id": end, "eos_token_id": end})}
    if tokenizer:
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.context_length}
        special = {} if end is None else {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
        texts["tokenizer.json"] = tokenizer.to_str(pretty=True)
        texts["tokenizer_config.json"] = as_json(settings | special)
    weights = {name: weight.detach().float().contiguous() for name, weight in to_gpt2_weights(model).items()}
    write(Path(folder), weights, texts)


def from_gpt2_config(theirs: dict) -> GPTConfig:
    """Hugging Face's configuration of a GPT-2 as ours; what a field is without being there is its default."""
    must = {
        "model_type": "gpt2",
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    }
    for field, value in must.items():
        if theirs.get(field, value if field != "model_type" else None) != value:
            raise ValueError(f"{field} must be {value!r}; got {theirs.get(field)!r}")
    activation = theirs.get("activation_function", "gelu_new")
    ours = [name for name, names in ACTIVATIONS.items() if activation in names]
    if not ours:
        known = ", ".join(name for names in ACTIVATIONS.values() for name in names)
        raise ValueError(f"activation_function must be one of {known}; got {activation!r}")
    return GPTConfig(
        vocab_size=theirs.get("vocab_size", 50_257),
        context_length=theirs.get("n_positions", 1_024),
        d_model=theirs.get("n_embd", 768),
        n_heads=theirs.get("n_head", 12),
        n_layers=theirs.get("n_layer", 12),
        d_ff=theirs.get("n_inner"),
        dropout=theirs.get("resid_pdrop", 0.1),
        attention_dropout=theirs.get("attn_pdrop", 0.1),
        tie_weights=theirs.get("tie_word_embeddings", True),
        activation=ours[0],
    )


def to_gpt2_config(ours: GPTConfig) -> dict:
    """Our configuration as Hugging Face's GPT-2 has it."""
    if not ours.bias:
        raise ValueError("bias must be True: GPT-2 has biases everywhere; got False")
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": ours.vocab_size,
        "n_positions": ours.context_length,
        "n_embd": ours.d_model,
        "n_head": ours.n_heads,
        "n_layer": ours.n_layers,
        "n_inner": ours.d_ff,
        "resid_pdrop": ours.dropout,
        "embd_pdrop": ours.dropout,
        "attn_pdrop": ours.attention_dropout,
        "tie_word_embeddings": ours.tie_weights,
        "activation_function": ACTIVATIONS[ours.activation][0],
        "layer_norm_epsilon": 1e-5,
    }


def from_gpt2_weights(theirs: dict[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """GPT-2's weights under our names; a tied head is left out.

    GPT-2's linear layers hold their matrices the other way round, (in, out), and the query, key
    and value as one, (C, 3C). Released files also hold the causal mask of each layer ("attn.bias"),
    which is no weight, and some leave "transformer." away.

    Raises:
        RuntimeError: one is missing, or there is one that is none of GPT-2's.
    """
    # Some files put "transformer." before every name, some don't. And a mask is no weight.
    theirs = {
        name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": w
        for name, w in theirs.items()
    }
    theirs = {name: w for name, w in theirs.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
    ours = {}

    # What was taken is gone, so that in the end nothing must be left.
    def take(name: str) -> Tensor:
        if name not in theirs:
            raise RuntimeError(f"weights must hold {name}; they do not")
        return theirs.pop(name)

    # A tied head is the token embedding, which is there anyway.
    head = theirs.pop("lm_head.weight", None)
    if not config.tie_weights:
        if head is None:
            raise RuntimeError("weights must hold lm_head.weight, for the head is not tied; they do not")
        ours["head.weight"] = head

    # Outside the blocks only names change.
    for name in ("token_embedding.weight", "position_embedding.weight", "norm.weight", "norm.bias"):
        module, _, kind = name.rpartition(".")
        ours[name] = take(f"{NAMES[module]}.{kind}")

    # Inside, matrices are turned: theirs are (in, out), ours (out, in). Vectors stay as they are.
    for layer in range(config.n_layers):
        their_block, our_block = f"transformer.h.{layer}", f"blocks.{layer}"
        for kind in ("weight", "bias"):
            for module, their_module in BLOCK_NAMES.items():
                weight = take(f"{their_block}.{their_module}.{kind}")
                ours[f"{our_block}.{module}.{kind}"] = weight.T if weight.dim() == 2 else weight

            # Queries, keys and values lie side by side in one matrix, and are cut apart.
            joined = take(f"{their_block}.attn.c_attn.{kind}")
            for module, weight in zip(JOINED, joined.chunk(3, dim=-1), strict=True):
                ours[f"{our_block}.attention.{module}.{kind}"] = weight.T if weight.dim() == 2 else weight

    # Something is left: these were not the weights of such a model.
    if theirs:
        raise RuntimeError(
            f"weights must be a GPT-2's of {config.n_layers} layers; got {', '.join(sorted(theirs)[:3])}, too"
        )
    return ours


def to_gpt2_weights(model: GPT) -> dict[str, Tensor]:
    """A model's weights under GPT-2's names, for `GPT2LMHeadModel`; a tied head is left out."""
    ours, theirs = model.state_dict(), {}
    for module, their_module in NAMES.items():
        for kind in ("weight", "bias"):
            if f"{module}.{kind}" in ours and not (module == "head" and model.config.tie_weights):
                theirs[f"{their_module}.{kind}"] = ours[f"{module}.{kind}"]
    for layer in range(model.config.n_layers):
        their_block, our_block = f"transformer.h.{layer}", f"blocks.{layer}"
        for kind in ("weight", "bias"):
            for module, their_module in BLOCK_NAMES.items():
                weight = ours[f"{our_block}.{module}.{kind}"]
                theirs[f"{their_block}.{their_module}.{kind}"] = weight.T if weight.dim() == 2 else weight
            joined = torch.cat([ours[f"{our_block}.attention.{module}.{kind}"] for module in JOINED])
            theirs[f"{their_block}.attn.c_attn.{kind}"] = joined.T if joined.dim() == 2 else joined
    return theirs
