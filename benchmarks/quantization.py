"""The price of 8 bits, in quality: python benchmarks/quantization.py

The model that comes with the package predicts each of the held-out plays, then all of them one after the other, as
chapter 5 has it. It does so twice: as it is, and as it is in the page, its matrices through 8 bits and back. Results,
in bits per byte, go to minigpt/results/quantization.json.
"""

import argparse

import torch
from store import measured_on, store

from minigpt import pretrained
from minigpt.data import plays
from minigpt.quantization import dequantized
from minigpt.tokenizer import end_of_text_id, token_bytes
from minigpt.train.evaluation import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    model, tokenizer = pretrained.load("shakespeare").float(), pretrained.load_tokenizer("shakespeare")
    models = {"shipped": model, "page": dequantized(model)}
    end = end_of_text_id(tokenizer)
    texts = {
        play.name: torch.tensor([*tokenizer.encode(play.text).ids, end])  # (T,)
        for play in plays()
        if play.held_out
    }
    texts["all"] = torch.cat(list(texts.values()))
    results = []
    for name, tokens in texts.items():
        found = {which: evaluate(m, tokens, token_bytes(tokenizer)) for which, m in models.items()}
        bits = {which: round(evaluation.bits_per_byte, 6) for which, evaluation in found.items()}
        results.append(
            {"play": name, "tokens": found["page"].tokens, "bytes": found["page"].bytes}
            | {f"{which}_bits_per_byte": value for which, value in bits.items()}
            | {"difference": round(bits["page"] - bits["shipped"], 6)}
        )
        print(results[-1], flush=True)
    store("quantization", measured_on(threads=torch.get_num_threads()), results)


if __name__ == "__main__":
    main()
