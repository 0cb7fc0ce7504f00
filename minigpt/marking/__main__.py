"""Mark a class.

    python -m minigpt.marking FOLDER --out marks.csv
    python -m minigpt.marking FOLDER --lessons attention gpt --out marks.csv --pages pages
    python -m minigpt.marking submission --single --gradescope results.json

FOLDER holds a folder for each learner, with the notebooks of the lessons in it: FOLDER/ada/01_attention.ipynb. Of a
notebook only the functions and numbers count that a lesson asks for, and what they use. They are run on inputs that the
salt chooses, each submission in a process of its own, with limits of time, memory, output and processes.

The limits are no sandbox. They end loops and save memory; code that means harm can read and send what the account that
marks can read and send. Where you don't know the learners, give --container an image that has this package in it.
"""

import argparse
import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minigpt.checks import check_number, check_size
from minigpt.files import write_files
from minigpt.marking import exercises, report
from minigpt.marking.folder import learners
from minigpt.marking.marks import Marked, mark_class
from minigpt.marking.process import Limits, check_image


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: `python -m minigpt.marking --help`."""
    try:
        mark(command_line().parse_args(arguments))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def mark(asked: argparse.Namespace) -> None:
    """Do what the options ask: mark, write the files, and say what was marked."""
    if not (asked.out or asked.pages or asked.gradescope):
        raise ValueError("one of --out, --pages and --gradescope must say where the marks go; got none of them")
    check_number("--seconds", asked.seconds, "positive", lambda seconds: seconds > 0)
    check_size("--memory-mb", asked.memory_mb)
    check_size("--jobs", asked.jobs)
    if asked.container:
        check_image(asked.container)
    salt = secrets.token_hex(8) if asked.salt is None else asked.salt
    found = learners(asked.folder, asked.single)
    limits = replace(
        Limits(), seconds=asked.seconds, memory_bytes=asked.memory_mb * 1_000_000, container=asked.container
    )

    def say(learner: str) -> None:
        print(f"{report.one_line(learner)}: done", file=sys.stderr)

    marked = mark_class(found, asked.lessons or lessons(), salt, limits, asked.jobs, say)
    if asked.out:
        write(asked.out, report.table(marked))
    if asked.pages:
        write_each(asked.pages, marked, ".html", report.page)
    if asked.gradescope and asked.single:
        write(asked.gradescope, report.gradescope(marked[0]))
    elif asked.gradescope:
        write_each(asked.gradescope, marked, ".json", report.gradescope)
    print(f"{len(marked)} marked with the salt {salt!r}; the same salt gives the same inputs")


def lessons() -> list[str]:
    """The names of all lessons."""
    return list(dict.fromkeys(name.partition(".")[0] for name in exercises.names()))


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_files({path: lambda place: place.write_text(text, encoding="utf-8")})


def write_each(folder: Path, marked: list[Marked], suffix: str, of) -> None:
    """Write a file for each learner."""
    for learner in marked:
        name = learner.learner
        if len(os.fsencode(name)) > 200:  # with a suffix it would be longer than a file's name may be
            name = f"{name[:40]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
        write(folder / f"{name}{suffix}", of(learner))


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m minigpt.marking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the submissions")
    parser.add_argument("--out", type=Path, help="the table of marks, CSV")
    parser.add_argument("--pages", type=Path, help="a folder for a page for each learner")
    parser.add_argument("--gradescope", type=Path, help="a folder for each learner's results; with --single, the file")
    parser.add_argument("--single", action="store_true", help="FOLDER is the submission of one learner")
    parser.add_argument("--lessons", nargs="+", metavar="LESSON", help="which to mark; all, if not given")
    parser.add_argument("--salt", help="any text; it chooses the inputs. A random one, if not given")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="for one answer (default: %(default)s)")
    parser.add_argument(
        "--memory-mb",
        type=int,
        default=Limits.memory_bytes // 1_000_000,
        help="beyond PyTorch's own (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many run at the same time")
    parser.add_argument("--container", metavar="IMAGE", help="run each submission in a container without a network")
    return parser


if __name__ == "__main__":
    main()
