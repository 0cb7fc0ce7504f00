import json
import os
from pathlib import Path

import pytest
from safetensors import SafetensorError

from minigpt import GPT, GPTConfig, pretrained
from minigpt.files import NOTE, check_files, digest_there, locked, read_json, write_files


def text(content):
    return lambda path: path.write_text(content)


def no_room(path):
    path.write_text("half")
    raise SafetensorError("No space left on device")


def test_files_are_written(tmp_path):
    write_files({tmp_path / "a": text("1"), tmp_path / "b": text("2")})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "2"}


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_if_one_fails_all_are_as_they_were(order, tmp_path):
    (tmp_path / "a").write_text("old")
    writers = {tmp_path / name: text("new") if name == "a" else no_room for name in order}
    with pytest.raises(OSError, match=r"b could not be written: No space left on device; what was there before is"):
        write_files(writers)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def save(folder, content, names="abc"):
    write_files({folder / name: text(f"{name} {content}") for name in names})


def contents(folder):
    return [(folder / name).read_text() if (folder / name).exists() else None for name in "abc"]


def killed_after(calls, function):
    """Run a function in a process of its own that dies at such a file-changing call; whether it came to its end."""
    child = os.fork()
    if not child:
        left = calls

        def dying(real):
            def call(*arguments, **options):
                nonlocal left
                if not left:
                    os._exit(9)
                left -= 1
                return real(*arguments, **options)

            return call

        for name in ("replace", "unlink", "touch"):
            setattr(Path, name, dying(getattr(Path, name)))
        os.fsync = dying(os.fsync)
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("before", ["old", None])
def test_killed_at_any_call_the_folder_is_old_or_new_or_refused(before, tmp_path):
    old, new = [f"{name} old" if before else None for name in "abc"], [f"{name} new" for name in "abc"]
    seen = set()
    for calls in range(99):
        folder = tmp_path / str(calls)
        folder.mkdir()
        if before:
            save(folder, "old")
        finished = killed_after(calls, lambda folder=folder: save(folder, "new"))
        try:
            check_files(folder)
            assert contents(folder) in (old, new)
            seen.add("old" if contents(folder) == old else "new")
        except ValueError as error:
            assert "must hold files that were written together; of a, b, c only a" in str(error)
            assert contents(folder) not in (old, new)
            seen.add("refused")
            with pytest.raises(OSError, match="untouched"):  # a write that fails doesn't make it whole
                write_files({folder / "a": text("1"), folder / "b": no_room})
            with pytest.raises(ValueError, match="written together"):
                check_files(folder)
            save(folder, "newer")
            check_files(folder)
        if finished:
            break
    assert seen == {"old", "new", "refused"} and {path.name for path in folder.iterdir()} == {"a", "b", "c"}


def test_a_model_of_two_saves_is_not_loaded(tmp_path):
    one = GPTConfig(vocab_size=9, context_length=4, d_model=8, n_heads=2, n_layers=1)
    pretrained.save(GPT(one), tmp_path)
    refused = 0
    for calls in range(99):
        finished = killed_after(calls, lambda: pretrained.save(GPT(one.but(n_heads=4)), tmp_path))
        try:
            assert pretrained.load(tmp_path).config.n_heads in (2, 4)
        except ValueError as error:
            assert "must hold files that were written together" in str(error)
            refused += 1
        if finished:
            break
        pretrained.save(GPT(one), tmp_path)
    assert refused and pretrained.load(tmp_path).config.n_heads == 4


def test_a_lone_file_says_nothing_of_the_others(tmp_path):
    save(tmp_path, "old")
    note = {name: {"before": "0", "after": digest_there(tmp_path / name) if name == "a" else "1"} for name in "ab"}
    (tmp_path / NOTE).write_text(json.dumps(note))
    save(tmp_path, "newer", "c")
    with pytest.raises(ValueError, match="of a, b only a is as it was to be"):
        check_files(tmp_path)


def test_if_the_second_move_fails_it_is_said_what_is_new(tmp_path, monkeypatch):
    save(tmp_path, "old")
    real = Path.replace

    def replace(self, target):
        if target.name == "b":
            raise PermissionError("in use")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(
        OSError, match="b could not be written: in use; a had been replaced, b, c not: write all of them"
    ):
        save(tmp_path, "new")
    with pytest.raises(ValueError, match="of a, b, c only a is as it was to be: a write was cut off"):
        check_files(tmp_path)
    monkeypatch.undo()
    save(tmp_path, "new")
    check_files(tmp_path)


def test_a_folder_in_a_files_place_is_said_before_anything_is_moved(tmp_path):
    save(tmp_path, "old", "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(
        OSError, match="b could not be written: a folder is in its place; what was there before is unto"
    ):
        save(tmp_path, "new", "ab")
    assert (tmp_path / "a").read_text() == "a old" and {path.name for path in tmp_path.iterdir()} == {"a", "b"}


@pytest.mark.parametrize("name", ["../a", "b/a", "/tmp/a", "..", NOTE, "a.partial"])
def test_names_that_lead_elsewhere_or_are_needed_are_refused(name, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="writers must be for files of one folder"):
        write_files({tmp_path / "in" / "model": text("1"), tmp_path / "in" / name: text("2")})
    assert not list((tmp_path / "in").iterdir())


@pytest.mark.parametrize("link", ["a", "a.partial", f"{NOTE}.partial", NOTE])
def test_links_are_replaced_and_what_they_point_to_is_not_touched(link, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "precious").write_text("{}")
    (tmp_path / "in" / link).symlink_to(tmp_path / "precious")
    save(tmp_path / "in", "new", "ab")
    assert (tmp_path / "precious").read_text() == "{}" and not (tmp_path / "in" / "a").is_symlink()
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"a", "b"}


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"../a": {"before": null, "after": ""}}', '{"a": 1}', '{"a": {"before": null}}']
)
def test_a_damaged_note_is_named(content, tmp_path):
    (tmp_path / NOTE).write_text(content)
    with pytest.raises(ValueError, match=f"{NOTE} must"):
        check_files(tmp_path)


def test_json_is_read_with_or_without_a_byte_order_mark_and_named_if_it_is_none(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"b": 1}')
    assert read_json(tmp_path / "a.json") == {"b": 1}
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="a.json must be JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="b.json must be a file; there is none"):
        read_json(tmp_path / "b.json")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe must be a file; it is something else"):
        read_json(tmp_path / "pipe")


def test_a_lock_that_is_to_go_goes_and_one_that_is_not_stays(tmp_path):
    for remove in (True, False):
        with locked(tmp_path / "lock", "taken", remove):
            assert (tmp_path / "lock").exists()
        assert (tmp_path / "lock").exists() != remove


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    def interrupted(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files({tmp_path / "a": interrupted})
    assert not list(tmp_path.iterdir())
