"""How the loss falls with size and with text, on models of the course's own: python benchmarks/scaling_law.py

Four sizes read equally many tokens; one size reads four numbers of tokens. Everything else is held: text, tokenizer,
context, batch, learning rate and its schedule, which always ends with the run. No dropout. Results, in bits per byte on
the three held-out plays and in nats a token, go to minigpt/results/scaling_law.json. What stands there already is kept.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from store import measured_on, store

from minigpt import CONFIGS
from minigpt.data import prepare
from minigpt.parameters import params_by_group
from minigpt.results import stored
from minigpt.train import TrainConfig, train

#: Layers, width and heads of each size, from small to large.
SIZES = ((2, 64, 2), (2, 128, 4), (4, 128, 4), (4, 224, 7))
STEPS, MIDDLE, MORE_STEPS = 1_000, (4, 128, 4), (250, 500, 1_000, 2_000)
CONTEXT, VOCABULARY = 128, 1_024
#: (size, steps), each once.
RUNS = dict.fromkeys([*((size, STEPS) for size in SIZES), *((MIDDLE, steps) for steps in MORE_STEPS)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    results = stored("scaling_law")["results"]
    done = {(row["n_layers"], row["d_model"], row["n_heads"], row["steps"]) for row in results}
    with tempfile.TemporaryDirectory() as folder:
        data = prepare("shakespeare", Path(folder) / "plays", VOCABULARY)
        for size, steps in RUNS:
            if (*size, steps) in done:
                continue
            n_layers, d_model, n_heads = size
            config = CONFIGS["shakespeare"].but(
                vocab_size=VOCABULARY,
                context_length=CONTEXT,
                d_model=d_model,
                n_heads=n_heads,
                n_layers=n_layers,
                dropout=0.0,
            )
            settings = TrainConfig(steps=steps, warmup_steps=50, evaluate_every=steps, checkpoint_every=steps)
            held_out = train(config, data, settings, progress=False).held_out
            groups = params_by_group(config)
            embeddings = groups["token embedding"] + groups["position embedding"]
            results.append(
                {
                    "n_layers": n_layers,
                    "d_model": d_model,
                    "n_heads": n_heads,
                    "parameters": sum(groups.values()),
                    "parameters_without_embeddings": sum(groups.values()) - embeddings,
                    "steps": steps,
                    "tokens": steps * settings.batch_size * CONTEXT,
                    "loss": round(held_out.loss, 4),
                    "bits_per_byte": round(held_out.bits_per_byte, 4),
                }
            )
            print(results[-1], flush=True)
            store("scaling_law", measured_on(threads=torch.get_num_threads()), results)


if __name__ == "__main__":
    main()
