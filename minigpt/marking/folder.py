"""Which learner has handed in which lesson: from a folder of submissions to files to mark."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The largest file that is read.
MOST_BYTES = 20_000_000

SUFFIXES = (".ipynb", ".py")


@dataclass(frozen=True)
class HandedIn:
    """A learner's file for one lesson.

    Attributes:
        text: what it holds; None, if it can't be marked.
        is_notebook: whether it is a notebook; else it is Python.
        why: the reason, if it can't be marked.
    """

    text: str | None
    is_notebook: bool = True
    why: str = ""


def learners(folder: Path, single: bool = False) -> dict[str, Path]:
    """The learners by name: each folder in `folder` is one, and each file that lies directly in it.

    Args:
        folder: the submissions.
        single: whether `folder` is the submission of one learner, who has its name.

    Raises:
        ValueError: it is no folder, or nothing is in it.
    """
    if not folder.is_dir():
        raise ValueError(f"FOLDER must be a folder of submissions; got {str(folder)!r}")
    if single:
        return {folder.resolve().name: folder}
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):
            continue
        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            name = path.name if path.is_dir() else path.stem
            if name in found:
                raise ValueError(f"FOLDER must hold one entry for each learner; got {found[name].name} and {path.name}")
            found[name] = path
    if not found:
        raise ValueError(f"FOLDER must hold a folder or a notebook for each learner; got nothing in {str(folder)!r}")
    return found


def handed_in(path: Path, lessons: list[str]) -> dict[str, HandedIn]:
    """A learner's files by lesson.

    A file belongs to the lesson whose name is a word of the file's name: "minigpt_Attention.ipynb" is a file of the
    lesson "attention", not of "gpt". If no word is the name of a lesson, a part of a word is enough. If only one lesson
    is marked, a single file belongs to it whatever its name is.
    """
    # Nothing follows a link: it may lead to another learner's work, or out of the folder.
    if path.is_dir() and path.is_symlink():
        return {lesson: HandedIn(None, why=f"{path.name} is a link") for lesson in lessons}
    files = [path] if not path.is_dir() else sorted(visible(path))
    files = [file for file in files if file.suffix.lower() in SUFFIXES]
    words = {file: set(re.findall(r"[^\W\d_]+", file.stem.lower())) for file in files}
    found: dict[str, HandedIn] = {}
    for lesson in lessons:
        own = [file for file in files if lesson in words[file]]
        own = own or [file for file in files if lesson in file.stem.lower() and not words[file].intersection(lessons)]
        if not own and len(lessons) == 1 and len(files) == 1:
            own = files
        if len(own) > 1:
            listed = ", ".join([file.name for file in own[:5]] + ["..."] * (len(own) > 5))
            found[lesson] = HandedIn(None, why=f"several files are for this lesson: {listed}")
        elif own:
            found[lesson] = read(own[0])
    return found


def visible(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, without what programs put beside them: "__MACOSX/._attention.ipynb"."""
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        yield from (Path(at, name) for name in names if not name.startswith("."))


def read(file: Path) -> HandedIn:
    """A file's text, or why it can't be had."""
    try:
        status = file.lstat()
    except OSError as error:
        return HandedIn(None, why=f"{file.name} can't be read: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return HandedIn(None, why=f"{file.name} is a link or no file")
    if status.st_size > MOST_BYTES:
        return HandedIn(None, why=f"{file.name} has more than {MOST_BYTES:,} bytes")
    try:
        return HandedIn(file.read_text(encoding="utf-8-sig"), file.suffix.lower() == ".ipynb")
    except UnicodeDecodeError:
        return HandedIn(None, why=f"{file.name} is no text in UTF-8")
    except OSError as error:
        return HandedIn(None, why=f"{file.name} can't be read: {error.strerror}")
