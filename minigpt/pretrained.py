"""Trained models on disk, ours and GPT-2's: safetensors for the weights, JSON for the rest.

A folder may come from a stranger. Nothing in it is unpickled or executed, and only regular files are read. If a
file does not fit the model that the configuration describes, an error names the file.
"""

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, fields
from functools import partial
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from minigpt.checks import is_size, shown, type_name
from minigpt.config import GPTConfig
from minigpt.files import check_files, read_json, write_files
from minigpt.model import GPT
from minigpt.parameters import parameter_shapes
from minigpt.tokenizer import END_OF_TEXT

#: The models that come with the package are in this folder, each in a folder of its own.
WEIGHTS = Path(__file__).parent / "weights"

#: The types that weights can be stored in. (Types of 8 bits are left out: they would cut off large numbers silently.)
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

#: The largest files that are accepted as a configuration and as a tokenizer.
MAX_JSON_BYTES, MAX_TOKENIZER_BYTES = 10**6, 10**8

#: The names under which torch.compile, DDP and activation checkpointing keep the module that they wrap. These
#: names also become parts of the names of its parameters.
WRAPPERS = ("_orig_mod", "module", "_checkpoint_wrapped_module")

#: The file that says which of several files holds which weight.
INDEX = "model.safetensors.index.json"


def save(
    model: nn.Module, folder: str | Path, dtype: torch.dtype = torch.float32, more: Mapping[str, str] | None = None
) -> None:
    """Write a model's configuration and weights.

    Args:
        model: the `GPT` to save, also one that is wrapped by torch.compile or DDP.
        folder: the folder that `config.json` and `model.safetensors` are written into.
        dtype: the type to store the weights in, one of `DTYPES`; float16 halves the file.
        more: further text files to write beside them: names and texts.

    Raises:
        TypeError: an argument has the wrong type, or the weights are not floating-point numbers.
        ValueError: the weights don't fit the model's configuration, a weight is infinite or nan or becomes
            so in `dtype`, or a name in `more` can't be the name of another file in the folder.
        OSError: the files can't be written.
    """
    model = unwrapped(model)
    save_weights(model.config, weights_of(model), folder, dtype, more)


def save_weights(
    config: GPTConfig,
    weights: Mapping[str, Tensor],
    folder: str | Path,
    dtype: torch.dtype = torch.float32,
    more: Mapping[str, str] | None = None,
) -> None:
    """`save` for weights that are not in a model. A tied head must not be among them."""
    if not isinstance(config, GPTConfig):
        raise TypeError(f"config must be a GPTConfig; got {shown(config)}")
    check_shapes(f"a model with {shown(config)}", {name: tuple(w.shape) for name, w in weights.items()}, config)
    write(folder, as_stored(weights, dtype), {"config.json": as_json(asdict(config))}, more)


def unwrapped(model: nn.Module) -> GPT:
    """The GPT itself, without the wrappers around it."""
    inner = model
    while not isinstance(inner, GPT):
        wrapped = [inner._modules[name] for name in WRAPPERS if isinstance(inner, nn.Module) and name in inner._modules]
        if not wrapped:
            raise TypeError(
                f"model must be a GPT, or a GPT in a wrapper like torch.compile's; got a {type_name(model)}"
            )
        inner = wrapped[0]
    return inner


def weights_of(model: GPT) -> dict[str, Tensor]:
    """A model's weights, by names without those of wrappers; a tied head is left out.

    Raises:
        ValueError: the weights don't fit the model's configuration.
    """
    weights = {
        ".".join(part for part in name.split(".") if part not in WRAPPERS): weight
        for name, weight in model.state_dict().items()
    }
    for name, weight in weights.items():
        check_plain(name, weight)
    check_head("model", weights, model.config)
    if "head.weight" in weights and model.head.weight is model.token_embedding.weight:
        raise ValueError("model: head must have a weight of its own, for tie_weights is False; it is the embedding's")
    check_shapes("model", {name: tuple(weight.shape) for name, weight in weights.items()}, model.config)
    return weights


def check_head(where: str, weights: dict[str, Tensor], config: GPTConfig) -> None:
    """Remove a tied head from the weights; raise if it is there and differs from the token embedding."""
    embedding = weights.get("token_embedding.weight")
    if config.tie_weights and "head.weight" in weights:
        head = weights.pop("head.weight")
        same = embedding is not None and head.shape == embedding.shape and head.dtype == embedding.dtype
        if not (same and (head.is_meta or torch.equal(head, embedding))):
            raise ValueError(f"{where}: head.weight must be the token embedding, for tie_weights is True; it differs")


def check_shapes(where: str | Path, shapes: Mapping[str, tuple[int, ...]], config: GPTConfig) -> None:
    """Raise unless `shapes` has the names and shapes of the weights of `GPT(config)`, without a tied head."""
    expected = parameter_shapes(config)
    for name, shape in expected.items():
        if name not in shapes:
            raise WrongWeights(f"{where} must hold {name}, {shape}, for the configuration says so; it does not")
        if shapes[name] != shape:
            raise WrongWeights(f"{where}: {name} must be {shape}, for the configuration says so; got {shapes[name]}")
    for name in sorted(shapes.keys() - expected.keys()):
        raise WrongWeights(f"{where} must hold the weights of its configuration alone; got {shown(name)}, too")


class WrongWeights(ValueError, RuntimeError):
    """The error for weights that don't fit their configuration."""


def as_stored(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights in a type, each in one piece of memory; raise unless all numbers are finite in that type."""
    if not isinstance(dtype, torch.dtype) or dtype not in DTYPES:
        raise TypeError(f"dtype must be one of {', '.join(map(str, DTYPES))}; got {shown(dtype)}")
    stored, taken = {}, set()
    for name, weight in weights.items():
        check_plain(name, weight)
        if weight.is_meta:
            raise ValueError(f"model: {name} must have numbers in it; it is on the device meta")
        numbers = weight.detach().to(dtype).contiguous()
        if not is_finite(numbers):
            raise ValueError(f"model: {name} must be finite numbers in {dtype}; some are infinite or nan")
        # A weight that shares its memory, or takes up only a part of it, is copied: safetensors refuses it.
        is_part = numbers.untyped_storage().nbytes() != numbers.nbytes or numbers.data_ptr() in taken
        stored[name] = numbers.clone() if is_part else numbers
        taken.add(numbers.data_ptr())
    return stored


def check_plain(name: str, weight: Tensor) -> None:
    """Raise unless a weight is a tensor of floating-point numbers, and whole: not only one process's shard of it."""
    if type(weight) not in (Tensor, nn.Parameter):
        raise TypeError(f"model: {name} must be a tensor that is whole; got a {type_name(weight)}")
    if not weight.dtype.is_floating_point:
        raise TypeError(f"model: {name} must be floating-point numbers; got {weight.dtype}")


def is_finite(weight: Tensor) -> bool:
    """Whether all numbers of a weight are finite. (PyTorch can't tell for types of 8 bits: they are converted.)"""
    return bool((weight.float() if weight.element_size() == 1 else weight).isfinite().all())


def as_json(value: dict) -> str:
    """The text of a JSON file with this value."""
    return json.dumps(value, indent=2) + "\n"


def write(
    folder: str | Path, weights: dict[str, Tensor], texts: Mapping[str, str], more: Mapping[str, str] | None = None
) -> None:
    """Write `model.safetensors` and some text files. If the disk is full, the files that were there don't change.

    Args:
        folder, weights: where to write, and which weights.
        texts: text files: names and texts.
        more: further text files; their names were chosen by a caller, and are checked.

    Raises:
        TypeError, ValueError: a name in `more` can't be the name of another file in the folder, or a text is
            not a str.
        OSError: the files can't be written.
    """
    folder, more = as_path(folder), more or {}
    for name, text in more.items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"more must be texts by names; got {shown(text)} under {shown(name)}")
        taken = ("model.safetensors", *texts)
        if not is_file_name(name) or name.lower() in taken or name.lower().endswith(".partial"):
            raise ValueError(
                f"more must name files of the folder, in letters, digits, '.', '-' and '_', "
                f"and none of {', '.join(taken)}; got {shown(name)}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    writers = {
        folder / name: partial(Path.write_text, data=text, encoding="utf-8") for name, text in {**texts, **more}.items()
    }
    write_files({folder / "model.safetensors": lambda path: save_file(weights, path, {"format": "pt"}), **writers})


def is_file_name(name: str) -> bool:
    """Whether a name can be the name of a file in a folder, and does not lead out of the folder."""
    return re.fullmatch(r"\w[\w.-]*", name, re.ASCII) is not None


def as_path(folder: str | Path) -> Path:
    """The path of a folder; raise unless `folder` is a path that is not empty."""
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder must be a path; got {shown(folder)} ({type_name(folder)})")
    if not os.fspath(folder):
        raise ValueError("folder must be a path; got ''")
    return Path(folder)


def load(folder: str | Path) -> GPT:
    """Read a model that `save` wrote; it is in float32, and ready to evaluate.

    Args:
        folder: the folder that was given to `save`, or the name of the model that comes with the package,
            "shakespeare".

    Raises:
        FileNotFoundError: there is no such folder (the message lists the names of models), or a file is missing.
        ValueError: a file is damaged, not a regular file, or too large; or the weights don't fit the
            configuration beside them (this error is a RuntimeError, too), are not finite or not
            floating-point numbers. The message names the file.
    """
    folder = model_folder(folder)
    check_files(folder)
    config = config_in(folder)
    return build(config, read_weights(folder / "model.safetensors", config))


def config_in(folder: Path) -> GPTConfig:
    """The configuration that `save` wrote into a folder."""
    path = folder / "config.json"
    written = small_json(path)
    known = {field.name: field.default is MISSING for field in fields(GPTConfig)}
    missing = [name for name, is_needed in known.items() if is_needed and name not in written]
    foreign = [name for name in written if name not in known]
    if missing or foreign:
        wrong = [f"{', '.join(missing)} missing"] * bool(missing) + [f"{shown(foreign[:3])} unknown"] * bool(foreign)
        raise ValueError(f"{path} must hold the fields of a GPTConfig; {', '.join(wrong)}")
    return described_by(path, lambda: GPTConfig(**written))


def described_by(path: Path, make):
    """Call a function that uses what a file says; if it raises, the error names the file."""
    try:
        return make()
    except (TypeError, ValueError) as error:
        raised = WrongWeights if isinstance(error, WrongWeights) else ValueError
        raise raised(f"{path}: {error}") from error


def small_json(path: Path) -> dict:
    """The object in a JSON file of at most `MAX_JSON_BYTES`."""
    check_file(path, MAX_JSON_BYTES)
    return read_json(path)


def check_file(path: Path, most_bytes: int | None = None) -> None:
    """Raise unless a path is a regular file that is not empty and not too large; links are allowed in the hub's cache.

    Other links, pipes and devices have no place in a model's folder: they lead out of it, and reading from them may
    never end.
    """
    try:
        status = path.lstat()
        blobs = os.path.realpath(path.parent / ".." / ".." / "blobs")
        if stat.S_ISLNK(status.st_mode) and os.path.dirname(os.path.realpath(path)) == blobs:  # noqa: PTH120
            status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} must be there; there is no such file") from None
    if not stat.S_ISREG(status.st_mode):
        known = {stat.S_IFLNK: "link", stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe"}
        what = known.get(stat.S_IFMT(status.st_mode), "device or a socket")
        raise ValueError(f"{path} must be a regular file; it is a {what}")
    if most_bytes is not None and status.st_size > most_bytes:
        raise ValueError(f"{path} must have at most {most_bytes:,} bytes; it has {status.st_size:,}")
    if status.st_size == 0:
        raise ValueError(f"{path} must not be empty; it is")


def read_weights(path: Path, config: GPTConfig | None = None, names: Iterable[str] | None = None) -> dict[str, Tensor]:
    """The weights in a safetensors file, in 32 bits, each in one piece of memory.

    Args:
        path: the file.
        config: the configuration that the weights must fit, under our names; a tied head may be left out.
            Names and shapes are checked before any weight is read.
        names: the names of the weights to read; None reads all.

    Raises:
        ValueError: the file is damaged, or holds other weights.
    """
    check_file(path)
    with path.open("rb") as file:
        if file.read(40).startswith(b"version https://git-lfs"):
            raise ValueError(f"{path} must hold weights; it is a git-lfs pointer to them: `git lfs pull` fetches them")
    weights = {}
    try:
        with safe_open(path, "pt") as file:
            stored = [name for name in file.keys() if not name.endswith(MASKS)]  # noqa: SIM118
            if config:
                ours = [name for name in stored if not (config.tie_weights and name == "head.weight")]
                check_shapes(path, {name: tuple(file.get_slice(name).get_shape()) for name in ours}, config)
            for name in stored if names is None else names:
                if name not in stored:
                    raise ValueError(f"{path} must hold {shown(name)}, for {INDEX} says so; it does not")
                weights[name] = file.get_tensor(name)
    except (SafetensorError, KeyError, AttributeError) as error:  # AttributeError: a type that PyTorch lacks
        raise ValueError(f"{path} must be a safetensors file; it is damaged: {error}") from error
    for name, weight in weights.items():
        if not weight.dtype.is_floating_point:
            raise ValueError(f"{path}: {shown(name)} must be floating-point numbers; got {weight.dtype}")
        weights[name] = weight.float().contiguous()
        if not is_finite(weights[name]):
            raise ValueError(f"{path}: {shown(name)} must be finite numbers in 32 bits; some are infinite or nan")
    if config:
        check_head(str(path), weights, config)
    return weights


def build(config: GPTConfig, weights: dict[str, Tensor]) -> GPT:
    """A model in float32 with these weights, ready to evaluate. A tied head must not be among the weights."""
    with torch.device("meta"):
        model = GPT(config)  # shapes only: no random weights are drawn, which would be replaced at once
    # Each weight in one piece of memory: the fused AdamW goes through it number by number.
    weights = {name: weight.float().contiguous() for name, weight in weights.items()}
    if config.tie_weights:
        weights["head.weight"] = weights["token_embedding.weight"]
    model.load_state_dict(weights, assign=True)
    if config.tie_weights:
        model.head.weight = model.token_embedding.weight
    return model.requires_grad_().eval()


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a model that comes with the package, or of a folder with a `tokenizer.json`.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: the file is damaged or not a regular file, its tokens are not numbered from 0 without a gap,
            or there are more tokens than vocab_size in the configuration beside it.
    """
    folder = model_folder(folder)
    path = folder / "tokenizer.json"
    check_file(path, MAX_TOKENIZER_BYTES)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # the library raises a bare Exception for every fault, or a panic of Rust
        raise ValueError(f"{path} must be a tokenizer of the tokenizers library; it is damaged: {error}") from None
    ids = sorted(tokenizer.get_vocab().values())
    if not ids or ids != list(range(len(ids))):
        raise ValueError(f"{path} must number its tokens from 0 without a gap; it has {len(ids)}: {shown(ids[:3])} ...")
    if os.path.lexists(folder / "config.json"):
        V = small_json(folder / "config.json").get("vocab_size")
        if is_size(V) and len(ids) > V:
            raise ValueError(f"{path} must have at most {V} tokens, vocab_size in config.json; it has {len(ids)}")
    return tokenizer


def model_folder(name: str | Path) -> Path:
    """The folder at a path; if it holds no model, the folder of that name among the package's own models."""
    known = sorted(path.name for path in WEIGHTS.iterdir())
    path = as_path(name)
    for folder in (path, *(WEIGHTS / shipped for shipped in known if str(name) == shipped)):
        if any(os.path.lexists(folder / file) for file in ("config.json", "tokenizer.json")):
            return folder
    raise FileNotFoundError(f"folder must hold a saved model, or be one of: {', '.join(known)}; got {shown(str(name))}")


#: Hugging Face's names for our activations; we write the first of several names.
ACTIVATIONS = {"gelu_tanh": ("gelu_new", "gelu_pytorch_tanh"), "gelu": ("gelu",), "relu": ("relu",)}
#: Hugging Face's names for our modules, first those outside the blocks, then those of a block.
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
#: How the names of causal masks end. Released files hold a mask for each layer besides the weights.
MASKS = (".attn.bias", ".attn.masked_bias")
#: GPT-2 keeps these three side by side in one matrix.
JOINED = ("query", "key", "value")


def load_gpt2(name: str | Path) -> GPT:
    """GPT-2 as our GPT, ready to evaluate: the same logits, from the same weights.

    Args:
        name: a folder with `config.json` and safetensors, as `save_pretrained` writes it, or a name
            on Hugging Face's hub: "openai-community/gpt2", "...gpt2-medium", "...gpt2-large",
            "...gpt2-xl", or another with that architecture. A model that was fetched once is kept on disk.

    The weights are read from `model.safetensors`; if there is no such file, from those that
    `model.safetensors.index.json` names.

    Raises:
        ConnectionError: the model was never fetched, and the hub has no such model or can't be reached.
        FileNotFoundError: the folder has no configuration or no safetensors.
        ValueError: the model is not a GPT-2, or its attention or LayerNorm differs from what our GPT
            computes; or as in `load`.
    """
    folder = as_path(name)
    if not folder.is_dir():
        try:
            patterns = ["config.json", "model*.safetensors", INDEX]
            folder = Path(snapshot_download(str(name), allow_patterns=patterns))
        except Exception as error:  # versions of the library differ in the errors that they raise
            raise ConnectionError(
                f"{shown(str(name))} is no folder, and must be fetched from huggingface.co, which has no such "
                f"model or can't be reached"
            ) from error
    files = [file for file in ("config.json", "model.safetensors", INDEX) if os.path.lexists(folder / file)]
    if len(files) < 2 or files[0] != "config.json":
        raise FileNotFoundError(
            f"{folder} must hold config.json and .safetensors, those of {INDEX} if not one; it does not"
        )
    path = folder / "config.json"
    check_files(folder)
    theirs = small_json(path)
    config = described_by(path, lambda: from_gpt2_config(theirs))
    weights = {}
    for file, names in {files[1]: None}.items() if files[1] != INDEX else shards(folder / INDEX).items():
        weights |= read_weights(folder / file, names=names)
    ours = described_by(folder / files[1], lambda: from_gpt2_weights(weights, config))
    check_shapes(folder / files[1], {name: tuple(weight.shape) for name, weight in ours.items()}, config)
    return build(config, ours)


def shards(path: Path) -> dict[str, list[str]]:
    """The files that an index names, and the names of the weights in each."""
    places = small_json(path).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{path} must say in weight_map which file holds which weight; it does not")
    files: dict[str, list[str]] = {}
    for name, file in places.items():
        if not isinstance(file, str) or not is_file_name(file) or not file.endswith(".safetensors"):
            raise ValueError(f"{path} must name .safetensors files of its folder; got {shown(file)}")
        files.setdefault(file, []).extend([name] * (not name.endswith(MASKS)))
    return files


def save_gpt2(model: nn.Module, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
    """Write a model so that Hugging Face's `GPT2LMHeadModel.from_pretrained` reads it.

    Args:
        model: the model to save, wrapped or not.
        folder: the folder to write into.
        tokenizer: if given, it is saved beside the model for `AutoTokenizer.from_pretrained`.

    Raises:
        ValueError: the model has no biases, and every GPT-2 has them; or as in `save`.
    """
    model = unwrapped(model)
    config = to_gpt2_config(model.config)
    end = tokenizer.token_to_id(END_OF_TEXT) if tokenizer else None
    texts = {"config.json": as_json(config | {"bos_token_id": end, "eos_token_id": end})}
    if tokenizer:
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model.config.context_length}
        special = {} if end is None else {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
        texts["tokenizer.json"] = tokenizer.to_str(pretty=True)
        texts["tokenizer_config.json"] = as_json(settings | special)
    write(folder, as_stored(to_gpt2_weights(model), torch.float32), texts)


def from_gpt2_config(theirs: dict) -> GPTConfig:
    """Hugging Face's configuration of a GPT-2 as ours; a field that is missing has Hugging Face's default."""
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


def check_biases(config: GPTConfig) -> None:
    """Raise unless a model has biases, as every GPT-2 has."""
    if not config.bias:
        raise ValueError("bias must be True: GPT-2 has biases everywhere; got False")


def to_gpt2_config(ours: GPTConfig) -> dict:
    """Our configuration as Hugging Face's configuration of a GPT-2."""
    check_biases(ours)
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

    GPT-2's linear layers hold their matrices the other way round, (in, out). The matrices of query,
    key and value are joined into one, (C, 3C). Released files also hold the causal mask of each layer
    ("attn.bias"), which is not a weight.

    Raises:
        ValueError: a weight is missing, or there is one that a GPT-2 doesn't have (both errors are
            RuntimeErrors, too); or a tied head differs from the token embedding.
    """
    # Some files put "transformer." before every name, some don't: we add it where it is missing. The
    # masks are not weights, and are left out.
    theirs = {
        name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": w
        for name, w in theirs.items()
    }
    theirs = {name: w for name, w in theirs.items() if not name.endswith(MASKS)}
    ours = {}

    # Each weight that is taken is removed from `theirs`. In the end nothing must be left there.
    def take(name: str) -> Tensor:
        if name not in theirs:
            raise WrongWeights(f"weights must hold {name}; they do not")
        return theirs.pop(name)

    # A tied head may be missing: it is the token embedding, which is taken below.
    if "lm_head.weight" in theirs or not config.tie_weights:
        ours["head.weight"] = take("lm_head.weight")

    # Outside the blocks, only the names change.
    for name in ("token_embedding.weight", "position_embedding.weight", "norm.weight", "norm.bias"):
        module, _, kind = name.rpartition(".")
        ours[name] = take(f"{NAMES[module]}.{kind}")
    check_head("weights", ours, config)

    # Inside the blocks, matrices are transposed: theirs are (in, out), ours (out, in). Vectors stay
    # as they are.
    for layer in range(config.n_layers):
        their_block, our_block = f"transformer.h.{layer}", f"blocks.{layer}"
        for kind in ("weight", "bias"):
            for module, their_module in BLOCK_NAMES.items():
                weight = take(f"{their_block}.{their_module}.{kind}")
                ours[f"{our_block}.{module}.{kind}"] = weight.T if weight.dim() == 2 else weight

            # Query, key and value lie side by side in one matrix, which is cut into three.
            joined = take(f"{their_block}.attn.c_attn.{kind}")
            if joined.dim() == 0 or joined.size(-1) != 3 * config.d_model:
                shape = tuple(joined.shape)
                raise WrongWeights(f"weights: {their_block}.attn.c_attn.{kind} must be 3·C wide; got {shape}")
            for module, weight in zip(JOINED, joined.chunk(3, dim=-1), strict=True):
                ours[f"{our_block}.attention.{module}.{kind}"] = weight.T if weight.dim() == 2 else weight

    # If something is left, these were not the weights of such a model.
    if theirs:
        raise WrongWeights(
            f"weights must be a GPT-2's of {config.n_layers} layers; got {', '.join(sorted(theirs)[:3])}, too"
        )
    return ours


def to_gpt2_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights under GPT-2's names, for `GPT2LMHeadModel`; a tied head is left out.

    Raises:
        ValueError: the model has no biases, and every GPT-2 has them.
    """
    model = unwrapped(model)
    check_biases(model.config)
    ours, theirs = weights_of(model), {}
    for module, their_module in NAMES.items():
        for kind in ("weight", "bias"):
            if f"{module}.{kind}" in ours:
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
