"""The speed of generation: our GPT against Hugging Face's, same weights, one sequence, always the likeliest token.

    python benchmarks/decode_speed.py

Both continue the same prompt with a key-value cache, in turns, and must write the same tokens in 32 bits. There is a
limit: the time for a token can't be shorter than the time to read its bytes, which are every weight once (of the
position embedding one row) and the keys and values so far. It is measured by summing up a tensor of as many bytes,
over and over: what fits into the processor's caches is read from there, as the weights are. Results go to
minigpt/results/decode_speed.json.
"""

import argparse
import statistics
import time

import torch
import transformers
from store import measured_on, store
from transformers import GPT2LMHeadModel

from minigpt import GPT, GPTConfig
from minigpt.pretrained import to_gpt2_config, to_gpt2_weights
from minigpt.sampling import generate

#: Name, configuration, new tokens.
CASES = [
    ("6 layers of 256", GPTConfig(vocab_size=1_024, context_length=256, d_model=256, n_heads=4, n_layers=6), 200),
    ("12 layers of 768", GPTConfig(vocab_size=50_257, context_length=256, d_model=768, n_heads=12, n_layers=12), 50),
]
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
PROMPT = list(range(1, 9))
ROUNDS = 5


def ours(model: GPT, new_tokens: int) -> list[int]:
    return [int(token) for token in generate(model, PROMPT, new_tokens, temperature=0, progress=False)]


def theirs(model: GPT2LMHeadModel, new_tokens: int) -> list[int]:
    prompt = torch.tensor([PROMPT])
    how = {"max_new_tokens": new_tokens, "do_sample": False, "pad_token_id": 0}
    return model.generate(prompt, attention_mask=torch.ones_like(prompt), **how)[0, len(PROMPT) :].tolist()


def hugging_face(model: GPT) -> GPT2LMHeadModel:
    """Hugging Face's model with our weights."""
    made = GPT2LMHeadModel(transformers.GPT2Config(**to_gpt2_config(model.config)))
    missing, unexpected = made.load_state_dict(to_gpt2_weights(model), strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    made.tie_weights()
    made.generation_config.eos_token_id = None
    return made.eval()


def bytes_of_a_token(model: GPT, new_tokens: int) -> int:
    """The bytes that have to be read for a token in the middle of the text."""
    config, size = model.config, model.head.weight.element_size()
    weights = sum(p.numel() for p in model.parameters()) - config.context_length * config.d_model
    keys_and_values = 2 * config.n_layers * config.d_model * (len(PROMPT) + new_tokens // 2)
    return size * (weights + keys_and_values)


def milliseconds_to_read(size: int) -> float:
    """The time that this machine needs, with these threads, to read as many bytes once more: the best of 25."""
    tensor, milliseconds = torch.ones(size // 4), []
    for _ in range(25):
        began = time.perf_counter()
        tensor.sum()
        milliseconds.append((time.perf_counter() - began) * 1_000)
    return min(milliseconds)


def measure(config: GPTConfig, new_tokens: int, dtype: torch.dtype) -> dict:
    torch.manual_seed(0)
    model = GPT(config).to(dtype).eval()
    ways = {"minigpt": (ours, model), "huggingface": (theirs, hugging_face(model).to(dtype))}
    milliseconds, texts = {name: [] for name in ways}, {}
    for turn in range(1 + ROUNDS):  # the first turn is a warm-up
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            write, of = ways[name]
            began = time.perf_counter()
            texts[name] = write(of, new_tokens)
            if turn:
                milliseconds[name].append((time.perf_counter() - began) / new_tokens * 1_000)
    if dtype == torch.float32:
        assert texts["minigpt"] == texts["huggingface"], texts
    read = bytes_of_a_token(model, new_tokens)
    limit = milliseconds_to_read(read)
    pairs = zip(milliseconds["minigpt"], milliseconds["huggingface"], strict=True)
    return {
        **{f"{name}_ms": round(statistics.median(times), 2) for name, times in milliseconds.items()},
        **{f"{name}_spread_ms": [round(min(times), 2), round(max(times), 2)] for name, times in milliseconds.items()},
        "minigpt_is_faster_by": round(statistics.median(theirs / ours for ours, theirs in pairs), 2),
        "bytes_of_a_token": read,
        "memory_gb_per_second": round(read / limit / 1e6, 1),
        "limit_ms": round(limit, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    results = []
    for name, config, new_tokens in CASES:
        for precision, dtype in PRECISIONS.items():
            case = {"case": name, "precision": precision, "vocab_size": config.vocab_size, "new_tokens": new_tokens}
            results.append(case | {"rounds": ROUNDS} | measure(config, new_tokens, dtype))
            print(results[-1], flush=True)
    store(
        "decode_speed",
        measured_on(threads=torch.get_num_threads(), transformers=transformers.__version__),
        results,
    )


if __name__ == "__main__":
    main()
