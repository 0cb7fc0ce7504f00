"""Tokens a second while training, against nanoGPT and Hugging Face: python benchmarks/training_speed.py

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/training_speed.py --nanogpt nanoGPT

All have the same configuration and the same batches, in one process. They take turns, one step each, so that other
work of the machine slows all of them. A step is what each project's own loop does: forward, backward, clipping,
AdamW, clearing the gradients; ours is `Trainer.step`. nanoGPT's model.py is used as it is, with the optimizer that
its configure_optimizers makes for a CPU. Hugging Face's GPT2LMHeadModel is used with scaled_dot_product_attention,
its own loss from labels, and plain torch.optim.AdamW, as in its example run_clm_no_trainer.py. Both run once more
with our fused AdamW. Each case runs in float32 and, under autocast, in bfloat16. The ratios are medians over rounds
of the ratio within a round. Results go to minigpt/results/training_speed.json.
"""

import argparse
import importlib.util
import statistics
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
import transformers
from store import measured_on, store
from torch import nn

from minigpt import GPT, GPTConfig
from minigpt.data import Batches
from minigpt.precision import PRECISIONS
from minigpt.pretrained import to_gpt2_config
from minigpt.train import TrainConfig, Trainer, adamw

#: Name, configuration, sequences a step, rounds.
CASES = [
    ("6 layers of 256", GPTConfig(vocab_size=1_024, context_length=256, d_model=256, n_heads=4, n_layers=6), 8, 30),
    ("12 layers of 768", GPTConfig(vocab_size=50_257, context_length=256, d_model=768, n_heads=12, n_layers=12), 2, 9),
]
WARM_UP = 3


def stepper(call, optimizer, parameters, batches, settings):
    """The body of a training loop, as a function; `call` turns inputs and targets into the model's loss."""
    parameters, step = list(parameters), 0

    def one():
        nonlocal step
        inputs, targets = batches(step)
        with PRECISIONS[settings.precision].autocast("cpu"):
            loss = call(inputs, targets.contiguous())  # nanoGPT needs them in one piece
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        return loss.item()

    return one


def nanogpt_steppers(folder: Path, config: GPTConfig, batches: Batches, settings: TrainConfig) -> dict:
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    sizes = {
        "block_size": config.context_length,
        "vocab_size": config.vocab_size,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_embd": config.d_model,
        "dropout": 0.0,
        "bias": True,
    }
    made = {}
    for name in ("nanoGPT", "nanoGPT, fused AdamW"):
        model = module.GPT(module.GPTConfig(**sizes))
        if name == "nanoGPT":
            betas = (settings.beta1, settings.beta2)
            optimizer = model.configure_optimizers(settings.weight_decay, settings.learning_rate, betas, "cpu")
        else:
            optimizer = adamw(model, settings)
        made[name] = stepper(lambda x, y, m=model: m(x, y)[1], optimizer, model.parameters(), batches, settings)
    return made


def huggingface_steppers(config: GPTConfig, batches: Batches, settings: TrainConfig) -> dict:
    special = {"bos_token_id": None, "eos_token_id": None, "use_cache": False}
    theirs = transformers.GPT2Config(**to_gpt2_config(config), **special, attn_implementation="sdpa")
    made = {}
    for name in ("Hugging Face", "Hugging Face, fused AdamW"):
        model = transformers.GPT2LMHeadModel(theirs).train()
        fused = adamw(model, settings) if name != "Hugging Face" else None
        optimizer = fused or torch.optim.AdamW(model.parameters(), settings.learning_rate)
        # Given labels, the model itself moves them by one; the last position then has nothing to predict.
        made[name] = stepper(
            lambda x, y, m=model: m(x, labels=x).loss, optimizer, model.parameters(), batches, settings
        )
    return made


def measure(config: GPTConfig, batch_size: int, rounds: int, precision: str, nanogpt: Path | None) -> dict:
    torch.manual_seed(0)
    # nanoGPT's GELU is the exact one.
    config = config.but(activation="gelu")
    settings = TrainConfig(steps=10**6, batch_size=batch_size, precision=precision)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, 200_000).astype(np.uint16)
    batches = Batches(tokens, config.context_length, batch_size)
    trainer = Trainer(GPT(config), batches, settings)
    steps = {"minigpt": lambda: trainer.step(score=False).loss.item()}
    if nanogpt:
        steps |= nanogpt_steppers(nanogpt, config, batches, settings)
    steps |= huggingface_steppers(config, batches, settings)
    seconds = {name: [] for name in steps}
    for turn in range(WARM_UP + rounds):
        order = list(steps)
        order = order[turn % len(order) :] + order[: turn % len(order)]
        for name in order:
            began = time.perf_counter()
            steps[name]()
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - began)
    timings = {}
    for name, times in seconds.items():
        ratios = [theirs / ours for ours, theirs in zip(seconds["minigpt"], times, strict=True)]
        timings[name] = {
            "tokens_per_second": round(batches.tokens_per_step / statistics.median(times)),
            "minigpt_is_faster_by": round(statistics.median(ratios), 3),
        }
        print(f"  {name}: {timings[name]}", flush=True)
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="a clone of nanoGPT; without one it is left out")
    nanogpt = parser.parse_args().nanogpt
    results = []
    for (name, config, batch_size, rounds), precision in product(CASES, ("fp32", "amp-bf16")):
        print(f"{name}, {precision}, {batch_size} x {config.context_length} tokens, {rounds} rounds", flush=True)
        timings = measure(config, batch_size, rounds, precision, nanogpt)
        tokens = batch_size * config.context_length
        case = {"case": name, "precision": precision, "vocab_size": config.vocab_size}
        results.append(case | {"tokens_per_step": tokens, "rounds": rounds} | timings)
    where = measured_on(
        threads=torch.get_num_threads(),
        transformers=transformers.__version__,
        nanogpt="its model.py" if nanogpt else "not measured: no clone given",
    )
    store("training_speed", where, results)


if __name__ == "__main__":
    main()
