"""A training step's memory on a GPU beside the prediction: python benchmarks/gpu_memory.py

Each case runs in a process of its own, two steps, the second measured:

    predicted   what minigpt.memory says, from the configuration alone
    allocated   torch.cuda.max_memory_allocated: the most bytes of tensors, and of cuBLAS's workspace
    reserved    torch.cuda.max_memory_reserved: the most that PyTorch's allocator took from the driver
    driver      what the driver has given away after the step, less what it had before the process came

so that reserved - allocated is what lies idle between tensors (fragmentation), and driver - reserved the CUDA context
and what libraries took by themselves. The workspace is measured, too: what is still allocated after the
step, less the parameters, the optimizer's states and the batch. Nobody else may use the GPU meanwhile. A case
that doesn't fit is in the results as such. Needs nvidia-smi; takes the first GPU. Writes results/gpu_memory.json.

Without a GPU it says so and writes nothing; --list shows the cases and their predictions anywhere.
"""

import argparse
import platform
import subprocess
from collections.abc import Iterator
from itertools import product

import torch
from store import apart, store

from minigpt import CONFIGS, GPTConfig
from minigpt.memory import TrainingMemory, in_gigabytes, training_memory
from minigpt.memory.measured import MeasuredStep

GPT2_SIZES = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")


def cases() -> Iterator[dict]:
    """The grid: names of configurations, and arguments of `training_memory`."""
    ways = product((1, 2, 4, 8), ("fp32", "amp-bf16", "amp-fp16", "bf16"), ("explicit", "fused"), (False, True))
    for batch_size, precision, attention, checkpointing in ways:
        how = {"precision": precision, "attention": attention, "checkpointing": checkpointing}
        yield {"config": "homework", "dropout": 0.0, "batch_size": batch_size, **how}
    for attention in ("explicit", "fused"):
        yield {"config": "homework", "dropout": 0.1, "batch_size": 1, "attention": attention}
    for optimizer in ("adamw-fused", "sgd", "sgd-momentum"):
        yield {"config": "homework", "dropout": 0.0, "batch_size": 1, "attention": "fused", "optimizer": optimizer}
    for name, attention in product(GPT2_SIZES, ("explicit", "fused")):
        yield {"config": name, "dropout": 0.0, "batch_size": 1, "attention": attention}


def arguments(case: dict) -> tuple[GPTConfig, dict]:
    """The configuration of a case, and the other arguments."""
    how = {name: value for name, value in case.items() if name not in ("config", "dropout")}
    return CONFIGS[case["config"]].but(dropout=case["dropout"]), how


def predict(case: dict) -> TrainingMemory:
    """What is expected of a GPU."""
    config, how = arguments(case)
    return training_memory(config, **how, device="cuda")


def row(case: dict, measured: dict | None) -> dict:
    """A case, its prediction and, unless it didn't fit, what was measured and what that means."""
    predicted = predict(case)
    found = case | {"predicted_bytes": predicted.peak_bytes, "predicted_stage": predicted.peak.name}
    if measured is None:
        return found | {"fits": False}
    allocated, reserved = measured["allocated_bytes"], measured["reserved_bytes"]
    return found | {
        "fits": True,
        **measured,
        "error": round((predicted.peak_bytes + measured["workspace_bytes"]) / allocated - 1, 5),
        "fragmentation_bytes": reserved - allocated,
        "context_bytes": measured["driver_bytes"] - reserved,
    }


def measure(case: dict) -> dict | None:
    """A second step's bytes on the GPU, in a fresh process; None if they don't fit."""
    before = int(smi("memory.used")) * 2**20
    config, how = arguments(case)
    try:
        step = MeasuredStep(config, **how, device="cuda")
        for phase in step.phases.values():
            phase()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        for phase in step.phases.values():
            phase()
        torch.cuda.synchronize()
    except torch.cuda.OutOfMemoryError:
        return None
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "driver_bytes": total - free - before,
        "workspace_bytes": torch.cuda.memory_allocated() - step.standing_bytes,
    }


def smi(query: str) -> str:
    """What nvidia-smi knows of the first GPU; sizes in MiB."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def surroundings() -> dict:
    """What the results depend on."""
    return {
        "gpu": smi("name"),
        "gpu_memory_mib": int(smi("memory.total")),
        "driver": smi("driver_version"),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="only show the cases and their predictions")
    if parser.parse_args().list:
        for case in cases():
            predicted = predict(case)
            print(*case.values(), "->", in_gigabytes(predicted.peak_bytes), predicted.peak.name)
        return
    if not torch.cuda.is_available():
        raise SystemExit("there must be a GPU that PyTorch can use; torch.cuda.is_available() is False")
    results = []
    for case in cases():
        results.append(row(case, apart(measure, case)))
        print(results[-1], flush=True)
    store("gpu_memory", surroundings(), results)


if __name__ == "__main__":
    main()
