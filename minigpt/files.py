"""Files that are written all together or not at all, whatever happens meanwhile.

A kill between two renames leaves new files beside old ones. So that a reader notices, a note lies in the
folder meanwhile, `unfinished.json`: what each file was, and what it is going to be.
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

#: While files are moved to their places: the SHA-256 of each before and after, by name.
NOTE = "unfinished.json"


def write_files(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files of one folder: each under another name first, and moved to its place when all are on disk.

    While several are moved, a note is there by which `check_files` tells whether the folder holds
    some of the new and some of the old. A link in the place of a file is replaced; what it points
    to is not touched.

    Args:
        writers: for each file what writes it, given the path to write to. The order is that in
            which they are moved.

    Raises:
        ValueError: the files are not of one folder, or one has a name that is needed here.
        OSError: one can't be written, because the disk is full or the folder forbids it. What was
            there before is still there; or, if some were moved already, the message says which.
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
    """Raise if a folder holds some new and some old of files that are written together.

    Raises:
        ValueError: it does, because a write was cut off or goes on; the message says which are new.
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
    """The SHA-256 of a file, None if there is none."""
    return file_digest(path) if path.is_file() else None


def read_json(path: str | Path) -> dict:
    """The object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file or holds no object in JSON; the message names it and says where.
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
    """Make an empty file; an old one or a link in its place goes, what the link points to stays."""
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
    """Let no other process hold the lock at a path meanwhile; a killed process lets go of it.

    What is yielded has to be called before each write: should the file have been deleted, it takes
    the lock again, or raises if another process was faster.

    Args:
        path: the lock's file, which is empty.
        refusal: what to say if another process holds it.
        remove: whether the file goes in the end.

    Raises:
        RuntimeError: another process holds it.
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
            with suppress(OSError):  # Windows doesn't delete what is open
                path.unlink()
        for lock, _ in held:
            lock.release()


def is_same(path: Path, was: os.stat_result) -> bool:
    """Whether the file at a path is the one that was there before."""
    try:
        return os.path.samestat(path.lstat(), was)
    except FileNotFoundError:
        return False
