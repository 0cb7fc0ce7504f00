"""Compare the real peak of a training step on a CPU with the prediction: python benchmarks/training_memory.py

The model is the homework's (301,771,520 parameters), at 1 x 1,024 tokens in float32, on random tokens. Each case does
two steps in a process of its own; the second runs under PyTorch's profiler, which sees every allocation. A case needs
some 10 GB of memory and a minute or two. Results go to minigpt/results/training_memory.json. --case NAME measures only
that case, and keeps the others in the file if they were measured on such a machine.
"""

import argparse

from store import apart, measured_on, store

from minigpt import CONFIGS
from minigpt.memory import training_memory
from minigpt.memory.measured import MeasuredStep, trace
from minigpt.results import stored

#: For each case its name, the dropout, and further arguments of the step.
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


def kept(where: dict) -> dict[str, dict]:
    """The stored rows, by case, if they were measured on such a machine with the same versions; else {}."""
    before = stored("training_memory")
    return {row["case"]: row for row in before["results"]} if before["measured_on"] == where else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="measure only this one")
    case = parser.parse_args().case
    where = measured_on(allocator="CPU, torch.profiler with profile_memory=True")
    rows = kept(where)
    for name in [case] if case else CASES:
        rows[name] = apart(measure, name)
        print(rows[name], flush=True)
    store("training_memory", where, [rows[name] for name in CASES if name in rows])


if __name__ == "__main__":
    main()
