"""Train a GPT: from a text to a model that continues texts.

    python -m minigpt.train --config mini --out runs/mini
    python -m minigpt.train --config mini --data my.txt --vocab-size 512 --out runs/mine
    torchrun --nproc-per-node 2 -m minigpt.train --parallel fsdp --config gpt2 --data hf:NAME --out runs/gpt2

If a run was stopped or killed, the same command continues it. The losses are the same as without a stop, on the
same kind of machine and with as many processes. `train` does the same as a function; `Trainer` is the body of
its loop, one step at a time.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

from minigpt.checks import check_choice
from minigpt.config import CONFIGS, GPTConfig
from minigpt.data import Data, open_data, prepare
from minigpt.tokenizer import gpt2_tokenizer
from minigpt.train.checkpoint import (
    only_run_in,
)
from minigpt.train.metrics import TRACKERS
from minigpt.train.parallel import PARALLEL, Processes, start, under_torchrun
from minigpt.train.run import do_nothing, ready, run
from minigpt.train.settings import RECIPES, TrainConfig


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python -m minigpt.train --help`."""
    asked = vars(command_line().parse_args(arguments))
    try:
        train_as_asked(asked)
    except (ValueError, TypeError, OSError, ImportError, ArithmeticError, RuntimeError, MemoryError) as error:
        sys.exit(f"error: {str(error) or type(error).__name__}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last checkpoint")


def train_as_asked(asked: dict) -> None:
    """Do what the options of the command line ask: prepare the text, train, and print how good the model is."""
    given = {name: value for name, value in asked.items() if value is not None}
    check_choice("--config", asked["config"], CONFIGS)
    config = CONFIGS[asked["config"]].but(**{name: given[name] for name in MODEL_OPTIONS if name in given})
    settings = RECIPES.get(asked["config"], TrainConfig())
    settings = replace(
        settings, **{field.name: given[field.name] for field in fields(TrainConfig) if field.name in given}
    )

    if not asked["out"]:
        raise ValueError("--out must name a folder; got ''")
    parallel = asked["parallel"] or ("ddp" if under_torchrun() else None)
    start(parallel, asked["device"])  # wrong options are reported before texts are read
    out, first = Path(asked["out"]), int(os.environ.get("RANK", 0)) == 0
    with only_run_in(out) if first else nullcontext(do_nothing) as stay_alone:
        data = prepared(asked, config, out / "data") if first else open_data(waited_for(out / "data"))
        processes = Processes(parallel, asked["device"])
        trainer, _ = ready(config, data, settings, out, processes, asked["track"])
        trained = run(trainer, data, out, asked["track"], False if asked["quiet"] else None, stay_alone)
    if processes.first:
        held_out = trained.held_out
        bits = f"{held_out.bits_per_byte:.3f} bits per byte, " if held_out.bytes else ""
        print(
            f"{out}: after {settings.steps:,} steps {bits}loss {held_out.loss:.3f}, "
            f"accuracy {held_out.accuracy:.1%} on {held_out.tokens:,} held-out tokens"
        )
    processes.close()


def prepared(asked: dict, config: GPTConfig, folder: Path) -> Data:
    """Turn the text that is asked for into tokens in a folder."""
    tokenizer = gpt2_tokenizer() if asked["tokenizer"] == "gpt2" else config.vocab_size
    if asked["tokenizer"] == "gpt2" and config.vocab_size != tokenizer.get_vocab_size():
        raise ValueError(f"vocab_size must be {tokenizer.get_vocab_size()}, GPT-2's; got {config.vocab_size}")
    return prepare(asked["data"], folder, tokenizer, asked["max_bytes"])


def waited_for(folder: Path, hours: float = 24) -> Path:
    """Wait until the first process has prepared a folder. (PyTorch's own waiting may be too short for that.)"""
    began, said = time.monotonic(), 0.0
    while not folder.is_dir():
        waited = time.monotonic() - began
        if waited > hours * 3_600:
            raise TimeoutError(f"{folder} must be prepared by the process of rank 0; it isn't after {hours} hours")
        if waited > said + (60 if said else 3):
            print(f"waiting for the process of rank 0 to prepare {folder}, for {waited:.0f} s now", file=sys.stderr)
            said = waited
        time.sleep(0.2)
    return folder


#: The fields of `GPTConfig` that the command line can change.
MODEL_OPTIONS = {
    "vocab_size": int,
    "context_length": int,
    "d_model": int,
    "n_heads": int,
    "n_layers": int,
    "dropout": float,
    "attention_dropout": float,
    "activation": str,
}


def command_line() -> argparse.ArgumentParser:
    """The options: model, folder and text, then the fields of `GPTConfig` and of `TrainConfig`."""
    parser = argparse.ArgumentParser(
        "python -m minigpt.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help=f"the model: {', '.join(CONFIGS)}")
    parser.add_argument("--out", required=True, help="the folder of the run")
    parser.add_argument("--data", default="shakespeare", help='"shakespeare", a file, a folder, or hf:NAME')
    parser.add_argument("--max-bytes", type=int, help="read only so much of the text")
    parser.add_argument("--tokenizer", choices=("own", "gpt2"), default="own", help="learn one, or fetch GPT-2's")
    parser.add_argument("--device", help="cpu, cuda, mps; the fastest there is, if not given")
    parser.add_argument("--parallel", choices=PARALLEL, help="under torchrun: copies (ddp) or shards (fsdp)")
    parser.add_argument("--track", nargs="*", choices=TRACKERS, default=(), help="send metrics elsewhere, too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    model = parser.add_argument_group("the model, where it differs from the configuration")
    for name, kind in MODEL_OPTIONS.items():
        model.add_argument(f"--{name.replace('_', '-')}", type=kind)
    training = parser.add_argument_group("the training, where it differs from the recipe")
    for field in fields(TrainConfig):
        training.add_argument(
            f"--{field.name.replace('_', '-')}", type=field.type, help=f"{field.default}, or the recipe's"
        )
    return parser
