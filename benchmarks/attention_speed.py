"""Which way to compute attention is faster? python benchmarks/attention_speed.py

A layer of attention runs forward and backward, by PyTorch's fused kernel and by the formula in turns, in 32 and
in 16 bits, at several shapes. Results go to minigpt/results/attention_speed.json: the medians of the milliseconds, and
of the ratio within a turn. `minigpt.attention` chooses the faster way by these results.
"""

import statistics
import time

import torch
from store import measured_on, store

from minigpt import MultiHeadAttention

#: B, T, C, H.
SHAPES = [(16, 256, 224, 7), (8, 256, 256, 4), (2, 256, 768, 12), (1, 1_024, 768, 12)]
WARM_UP, ROUNDS = 2, 15


def milliseconds(layer: MultiHeadAttention, way, x: torch.Tensor) -> float:
    """The time for step 4 of attention and its gradients; queries, keys and values are all x, split into heads."""
    heads = [layer.split_heads(x.detach().clone().requires_grad_()) for _ in range(3)]
    began = time.perf_counter()
    output = way(*heads)
    output.backward(torch.ones_like(output))
    return 1e3 * (time.perf_counter() - began)


def measure(B: int, T: int, C: int, H: int, dtype: torch.dtype) -> dict:
    layer, x = MultiHeadAttention(C, H), torch.randn(B, T, C, dtype=dtype)
    ways = {
        "fused": layer.fused_attention,
        "formula": lambda q, k, v: layer.attention_weights(q, k) @ v,
    }
    times = {name: [] for name in ways}
    for turn in range(WARM_UP + ROUNDS):
        for name in sorted(ways, reverse=bool(turn % 2)):
            took = milliseconds(layer, ways[name], x)
            if turn >= WARM_UP:
                times[name].append(took)
    medians = {f"{name}_ms": round(statistics.median(values), 2) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["fused"], times["formula"], strict=True)]
    return medians | {"formula_is_faster_by": round(statistics.median(ratios), 2)}


def main() -> None:
    torch.manual_seed(0)
    results = []
    for B, T, C, H in SHAPES:
        for dtype in (torch.float32, torch.bfloat16):
            case = {"B": B, "T": T, "C": C, "H": H, "dtype": str(dtype).removeprefix("torch."), "rounds": ROUNDS}
            results.append(case | measure(B, T, C, H, dtype))
            print(results[-1], flush=True)
    where = measured_on(instructions=torch.backends.cpu.get_cpu_capability(), threads=torch.get_num_threads())
    store("attention_speed", where, results)


if __name__ == "__main__":
    main()
