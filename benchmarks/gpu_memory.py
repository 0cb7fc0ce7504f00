"""Compare the memory of a training step on a GPU with the prediction: python benchmarks/gpu_memory.py

Each case runs in a process of its own. It does two steps, and the second is measured:

    predicted   what minigpt.memory says, from the configuration alone
    allocated   torch.cuda.max_memory_allocated: the most bytes of tensors, and of cuBLAS's workspace
    reserved    torch.cuda.max_memory_reserved: the most that PyTorch's allocator took from the driver
    driver      what the driver has given away after the step, less what it had given away before the process began

So reserved - allocated is the unused memory between tensors (fragmentation), and driver - reserved is the memory of
the CUDA context and of libraries that ask the driver themselves. The workspace is measured, too: it is what is still
allocated after the step, less the parameters, the optimizer's states and the batch. No other program may use the GPU
at the same time. If a case doesn't fit, the results say so. The benchmark needs nvidia-smi, uses the first GPU, and
writes minigpt/results/gpu_memory.json.

Without a GPU it says so and writes nothing; --list shows the cases and their predictions on any machine.
"""

import argparse
import subprocess
from collections.abc import Iterator
from itertools import product

import torch
from store import apart, measured_on, store

from minigpt import CONFIGS, GPTConfig
from minigpt.memory import TrainingMemory, in_gigabytes, training_memory
from minigpt.memory.measured import MeasuredStep

GPT2_SIZES = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")


def cases() -> Iterator[dict]:
    """All cases: for each the name of a configuration, and arguments of `training_memory`."""
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
    """The configuration of a case, and the other arguments of `training_memory`."""
    how = {name: value for name, value in case.items() if name not in ("config", "dropout")}
    return CONFIGS[case["config"]].but(dropout=case["dropout"]), how


def predict(case: dict) -> TrainingMemory:
    """The predicted memory of a case on a GPU."""
    config, how = arguments(case)
    return training_memory(config, **how, device="cuda")


def row(case: dict, measured: dict | None) -> dict:
    """A row of the results: a case, its prediction and, if it fitted, the measurements and what follows from them."""
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
    """The bytes of a second step on the GPU, in a fresh process; None if the step doesn't fit."""
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
    """The answer of nvidia-smi to a query about the first GPU; sizes are in MiB."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


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
    gpu = {"gpu": smi("name"), "gpu_memory_mib": int(smi("memory.total")), "driver": smi("driver_version")}
    store("gpu_memory", measured_on(**gpu, cuda=torch.version.cuda), results)


if __name__ == "__main__":
    main()
