"""Writing several files so that all of them change or none does, whatever happens in between.

A process that is killed between two renames leaves new files beside old ones. So that a reader notices, the
folder holds a note during the renames, `unfinished.json`: what each file was before, and what it will be after.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

#: The note that is there while files are moved to their places: the SHA-256 of each before and after, by name.
NOTE = "unfinished.json"


def write_files(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files of one folder: first each under another name; when all are on disk, each is moved to its place.

    While several files are moved, the folder holds a note. From it, `check_files` can tell whether
    some files are new and some are old. A link in the place of a file is replaced; the file that the
    link points to is not touched.

    Args:
        writers: for each file a function that writes it, given the path to write to. The files are
            moved in this order.

    Raises:
        ValueError: the files are not of one folder, or one has a name that this function uses itself.
        OSError: a file can't be written, because the disk is full or the folder forbids it. The old
            files are still there; or, if some were replaced already, the message says which.
    """
    folder = next(iter(writers)).parent
    for path in writers:
        if path.parent != folder or path.name in ("", "..", NOTE) or path.suffix == ".partial":
            raise ValueError(f"writers must be for files of one folder, {folder}; got {path}")
    partial = {path: path.with_name(f"{path.name}.partial") for path in (*writers, folder / NOTE)}
    made, moved, note, mixed = [], [], folder / NOTE, is_mixed(folder)

    def write_partial(path: Path, write: Callable[[Path], object]) -> None:
        make_new(partial[path])
        made.append(partial[path])
        write(partial[path])
        sync(partial[path])

    try:
        for path, write in writers.items():
            write_partial(path, write)
            if path.is_dir() and not path.is_symlink():
                raise IsADirectoryError("a folder is in its place")
        if len(writers) > 1:
            sums = {
                path.name: {"before": "mixed" if mixed else digest_there(path), "after": file_digest(partial[path])}
                for path in writers
            }
            write_partial(note, lambda place: place.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8"))
            partial[note].replace(note)
            sync(folder)
        for path in writers:
            partial[path].replace(path)
            moved.append(path.name)
        sync(folder)
        if len(writers) > 1:
            note.unlink()
    except (OSError, SafetensorError) as error:
        old = [path.name for path in writers if path.name not in moved]
        state = f"{', '.join(moved)} had been replaced, {', '.join(old)} not: write all of them again"
        raise OSError(
            f"{path} could not be written: {error}; {state if moved else 'what was there before is untouched'}"
        ) from error
    finally:
        for leftover in made:
            leftover.unlink(missing_ok=True)
        if partial[note] in made and not moved and not mixed:
            note.unlink(missing_ok=True)


def check_files(folder: str | Path) -> None:
    """Raise if some files of a folder are new and some are old, although they are written together.

    Raises:
        ValueError: it is so, because a write was cut off or still goes on; the message says which are new.
    """
    note = Path(folder) / NOTE
    if not os.path.lexists(note):
        return
    sums = read_json(note)
    for name, of_file in sums.items():
        if name != Path(name).name or not isinstance(of_file, dict) or not {"before", "after"}.issubset(of_file):
            raise ValueError(f"{note} must say what each file was and will be; got {name!r}: {of_file!r}")
    now = {name: digest_there(note.with_name(name)) for name in sums}
    new = [name for name in sums if now[name] == sums[name]["after"]]
    names = ", ".join(sums)
    if len(new) < len(sums) and any(now[name] != sums[name]["before"] for name in sums):
        raise ValueError(
            f"{folder} must hold files that were written together; of {names} only {', '.join(new) or 'none'} is "
            f"as it was to be: a write was cut off, or goes on. Write all of them again"
        )


def is_mixed(folder: Path) -> bool:
    """Whether a folder holds a mixture of old and new files, for which `check_files` raises."""
    try:
        check_files(folder)
    except ValueError:
        return True
    return False


def digest_there(path: Path) -> str | None:
    """The SHA-256 of a file; None if there is no such file."""
    return file_digest(path) if path.is_file() else None


def read_json(path: str | Path) -> dict:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a file, or holds no JSON object; the message names the file and says where it is wrong.
    """
    path = Path(path)
    if not path.is_file():
        error = ValueError if path.exists() else FileNotFoundError
        raise error(f"{path} must be a file; {'it is something else' if path.exists() else 'there is none'}")
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be JSON in UTF-8; it is damaged: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, {{...}}; got a {type(value).__name__}")
    return value


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_new(path: Path) -> None:
    """Make an empty file. An old file or a link in its place is removed; the file that a link points to stays."""
    path.unlink(missing_ok=True)
    path.touch(exist_ok=False)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk. (Windows has no such call for folders.)"""
    if path.is_dir() and os.name == "nt":
        return
    place = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(place)
    finally:
        os.close(place)


@contextmanager
def locked(path: Path, refusal: str, remove: bool = False) -> Iterator[Callable[[], None]]:
    """Hold the lock at a path inside a `with` block, so that no other process can; a killed process releases it.

    It yields a function to call before each write. If the lock's file was deleted, that function takes
    the lock again, or raises if another process was faster.

    Args:
        path: the lock's file, which is empty.
        refusal: the error's message if another process holds the lock.
        remove: whether to delete the file in the end.

    Raises:
        RuntimeError: another process holds the lock.
        OSError: there is a link, a folder or a device in the lock's place.
    """
    held = []

    def keep() -> None:
        if held and is_same(path, held[-1][1]):
            return
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(f"{path} must be an empty file; it is a link, a folder or a device")
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RuntimeError(refusal) from None
        held.append((lock, path.stat()))

    try:
        keep()
        yield keep
    finally:
        if remove and held and is_same(path, held[-1][1]):
            with suppress(OSError):  # Windows doesn't delete open files
                path.unlink()
        for lock, _ in held:
            lock.release()


def is_same(path: Path, was: os.stat_result) -> bool:
    """Whether the file at a path is still the file that `was` describes."""
    try:
        return os.path.samestat(path.lstat(), was)
    except FileNotFoundError:
        return False
