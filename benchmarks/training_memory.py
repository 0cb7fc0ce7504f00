"""A training step's real peak on a CPU beside the prediction: python benchmarks/training_memory.py

The homework's model (301,771,520 parameters) at 1 x 1,024 tokens in float32, on tokens drawn at random: two steps
each, the second under PyTorch's profiler, which sees every allocation. Needs some 10 GB of memory and a
minute or two for each case. Each case gets a process of its own. Writes results/training_memory.json;
--case NAME measures that one and keeps the others in the file, if they are from such a machine.
"""

import argparse
import json
import os
import platform

import torch
from store import RESULTS, apart, store

from minigpt import CONFIGS
from minigpt.memory import training_memory
from minigpt.memory.measured import MeasuredStep, trace

#: Name, dropout, how the step is done.
CASES = {
    "explicit attention": (0.0, {}),
    "explicit attention, dropout 0.1": (0.1, {}),
    "fused attention": (0.0, {"attention": "fused"}),
    "fused attention, foreach AdamW": (0.0, {"attention": "fused", "optimizer": "adamw-foreach"}),
    "explicit attention, checkpointing": (0.0, {"checkpointing": True}),
}


def measure(name: str) -> dict:
    """One row of the results."""
    dropout, how = CASES[name]
    config = CONFIGS["homework"].but(dropout=dropout)
    predicted, real = training_memory(config, 1, **how), trace(MeasuredStep(config, 1, **how))
    return {
        "case": name,
        "config": "homework",
        "dropout": dropout,
        "batch_size": 1,
        **how,
        "measured_peak_bytes": real.peak_bytes,
        "measured_phase": real.peak_phase,
        "predicted_peak_bytes": predicted.peak_bytes,
        "predicted_stage": predicted.peak.name,
    }


def stored(where: dict) -> dict[str, dict]:
    """The rows that there are already, by case, if they were measured in the same surroundings."""
    path = RESULTS / "training_memory.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"measured_on": None}
    return {row["case"]: row for row in found["results"]} if found["measured_on"] == where else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="measure only this one")
    case = parser.parse_args().case
    where = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "allocator": "CPU, torch.profiler with profile_memory=True",
    }
    rows = stored(where)
    for name in [case] if case else CASES:
        rows[name] = apart(measure, name)
        print(rows[name], flush=True)
    store("training_memory", where, [rows[name] for name in CASES if name in rows])


if __name__ == "__main__":
    main()
