import pytest
from safetensors import SafetensorError

from minigpt.files import write_files


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


def test_an_interrupt_leaves_nothing_half_written(tmp_path):
    def interrupted(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files({tmp_path / "a": interrupted})
    assert not list(tmp_path.iterdir())
