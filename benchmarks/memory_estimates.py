"""The estimates of other programs for the homework's model: python benchmarks/memory_estimates.py --cookbook FOLDER

The case is one sequence of 1,024 tokens in 32 bits with AdamW; each program is used as its documentation says. The
programs are not among the course's packages: pip install accelerate transformers torchinfo gpu-estimator deepspeed,
in a separate environment. FOLDER is a copy of github.com/EleutherAI/cookbook. Results go to
minigpt/results/memory_estimates.json. Chapter 4 computes the same figures from each program's formula, and a
test compares the two.
"""

import argparse
import contextlib
import io
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from store import measured_on, store

from minigpt import CONFIGS, GPT
from minigpt.parameters import count_params

HOMEWORK = CONFIGS["homework"]
TOKENS = (1, HOMEWORK.context_length)


def accelerate_bytes() -> int:
    """accelerate's total for "training with Adam", for a model on the meta device."""
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes

    with torch.device("meta"):
        size, _ = calculate_maximum_sizes(GPT(HOMEWORK))
    return estimate_training_usage(size, "float32")["step"]


def torchinfo_bytes() -> int:
    """torchinfo's sum: the parameters, and what it calls the size of the forward and backward pass."""
    from torchinfo import summary

    report = summary(GPT(HOMEWORK), input_data=torch.zeros(TOKENS, dtype=torch.int64), verbose=0)
    return report.total_param_bytes + report.total_output_bytes


def gpu_estimator_bytes() -> int:
    """gpu-estimator's total, with overhead."""
    from gpu_estimator import GPUEstimator

    estimate = GPUEstimator().estimate(count_params(HOMEWORK), *TOKENS, precision="fp32", optimizer="adamw")
    return round(estimate.total_memory_gb * 2**30)


def deepspeed_bytes() -> int:
    """DeepSpeed's estimate for the states of ZeRO-2 on a single GPU, nothing moved to the CPU; it assumes 16 bits."""
    from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

    return estimate_zero2_model_states_mem_needs(count_params(HOMEWORK), 1, 1, cpu_offload=False)[1]


def cookbook_gib(folder: Path, *more: str) -> float:
    """The result of EleutherAI's calculator in GiB; it prints two decimals."""
    shape = {
        "--num-layers": HOMEWORK.n_layers,
        "--hidden-size": HOMEWORK.d_model,
        "--num-attention-heads": HOMEWORK.n_heads,
        "--vocab-size": HOMEWORK.vocab_size,
        "--sequence-length": TOKENS[1],
        "--batch-size-per-gpu": TOKENS[0],
    }
    command = [sys.executable, folder / "calc" / "calc_transformer_mem.py", *more]
    command += [str(word) for option in shape.items() for word in option]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"Per-GPU Memory Required for Training: ([\d.]+) GiB", printed)[1])


#: For each program its name on PyPI, and the function that asks it.
PACKAGES = {
    "accelerate": accelerate_bytes,
    "torchinfo": torchinfo_bytes,
    "gpu-estimator": gpu_estimator_bytes,
    "deepspeed": deepspeed_bytes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cookbook", type=Path, required=True, metavar="FOLDER")
    cookbook = parser.parse_args().cookbook
    rows = []
    for package, ask in PACKAGES.items():
        with contextlib.redirect_stdout(io.StringIO()):  # what they log
            rows.append({"program": package, "version": version(package), "bytes": ask()})
    commit = subprocess.run(["git", "-C", cookbook, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    for precision, more in (("mixed", ()), ("32 bits", ("--disable-mixed-precision",))):
        program = f"EleutherAI's calculator, {precision}"
        rows.append({"program": program, "version": commit.stdout.strip(), "gib": cookbook_gib(cookbook, *more)})
    for row in rows:
        print(row)
    store("memory_estimates", measured_on(config="homework", tokens=list(TOKENS)), rows)


if __name__ == "__main__":
    main()
