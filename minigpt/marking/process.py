"""Running a learner's code in a process of its own, with limits, and getting plain data back.

The limits keep a mistake from doing harm: an endless loop, too much memory, a heap of files. They are no sandbox. Code
that means harm can read what the account that marks can read, and send it away. Against that there is `container`.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minigpt.marking.folder import HandedIn
from minigpt.marking.verdict import LONGEST_NAME, Exercise, NotPlain, plain

CHILD = Path(__file__).with_name("child.py")

#: The first of the user numbers that submissions run under when root marks, one for each that runs at the same time.
FIRST_USER = 61_184

#: The most bytes that a process may say: more than 200,000 numbers take.
MOST_SAID = 20_000_000


@dataclass(frozen=True)
class Limits:
    """What one submission may take.

    Attributes:
        seconds: for one answer, all its cases.
        start_seconds: until Python and PyTorch are there.
        memory_bytes: beyond what Python and PyTorch take themselves. (Linux only.)
        file_bytes: the largest file that may be written.
        container: the image of a container to run in, without a network; None for a plain process.
    """

    seconds: float = 10
    start_seconds: float = 120
    memory_bytes: int = 1_000_000_000
    file_bytes: int = 10_000_000
    container: str | None = None


@dataclass(frozen=True)
class Answered:
    """What became of one answer.

    Attributes:
        outcomes: what it gave in all cases; None, if it didn't come to that.
        why: the reason, if it didn't.
        cells: the numbers of the cells that define the name.
    """

    outcomes: list[dict] | None
    why: str = ""
    cells: tuple[int, ...] = ()


def run(
    files: Mapping[str, HandedIn], exercises: Mapping[str, Exercise], seed: int, limits: Limits, slot: int = 0
) -> dict[str, Answered]:
    """Run a learner's answers to some exercises.

    If an answer ends its process, the ones after it get a new one.

    Args:
        files: what was handed in for each lesson, its text at hand.
        exercises: by their names. Each belongs to one of these lessons.
        seed: chooses the inputs.
        limits: what the learner's code may take.
        slot: its number among those that run at the same time.

    Raises:
        OSError: the process can't be started as it has to be.
    """
    answered: dict[str, Answered] = {}
    while left := [name for name in exercises if name not in answered]:
        request = {
            "files": {lesson: {"text": file.text, "is_notebook": file.is_notebook} for lesson, file in files.items()},
            "answers": [
                {
                    "name": name,
                    "variable": exercises[name].name,
                    "is_value": exercises[name].is_value,
                    "prepare": name_of(exercises[name].prepare),
                    "arguments": exercises[name].arguments(seed),
                }
                for name in left
            ],
            "limits": {
                "memory_bytes": limits.memory_bytes,
                "file_bytes": limits.file_bytes,
                "user": FIRST_USER + slot if is_root() and not limits.container else None,
            },
        }
        done, why = run_once(request, exercises, limits)
        answered |= done
        if len(done) < len(left):
            answered[left[len(done)]] = Answered(None, why)
    return answered


@contextmanager
def empty_folder() -> Iterator[str]:
    """A folder for a process, which is gone afterwards, whatever the process has put there."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    try:
        yield folder.name
    finally:
        try:
            folder.cleanup()
        except RecursionError:  # folders in folders, so deep that Python can't remove them
            subprocess.run(["rm", "-rf", "--", folder.name], stderr=subprocess.DEVNULL, check=False)


def name_of(prepare) -> str | None:
    """Where a process finds the function that prepares arguments; None for the plain copy, which needs no PyTorch."""
    return None if prepare is plain else f"{prepare.__module__}:{prepare.__name__}"


def is_root() -> bool:
    """Whether root marks. Then a submission runs as a user without rights: root may start processes without limit."""
    return os.geteuid() == 0


def run_once(request: dict, exercises: Mapping[str, Exercise], limits: Limits) -> tuple[dict[str, Answered], str]:
    """One process: the answers that it gave, in their order, and why it gave no more."""
    expected = [answer["name"] for answer in request["answers"]]
    done: dict[str, Answered] = {}
    with (
        empty_folder() as folder,
        tempfile.TemporaryFile() as asked,
        tempfile.TemporaryFile() as complaints,
    ):
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        command, container = command_in(folder, limits)
        process = subprocess.Popen(
            command,
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=folder,
            env=None if container else ENVIRONMENT,
            start_new_session=True,
        )
        try:
            lines = Lines(process.stdout.fileno())
            if lines.next(limits.start_seconds) != ({"ready": True}, ""):  # no line of the learner's has run yet
                complaints.seek(0)
                said = complaints.read().decode(errors="replace").strip().splitlines()
                raise OSError(f"a process for a submission could not be started: {said[-1] if said else command}")
            for name in expected:
                line, why = lines.next(limits.seconds)
                if why:
                    return done, ended(process) if why == ENDED else why
                answer = understood(line, name, exercises[name])
                if answer is None:
                    return done, FORGED
                done[name] = answer
        finally:
            end(process, container)
    return done, ""


FORGED = "it wrote into the marking's own channel"
ENDED = "it ended"

#: All that a submission's process finds in its environment.
ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "HOME": ".",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def command_in(folder: str, limits: Limits) -> tuple[list[str], str | None]:
    """The command that starts a process, and the name of its container, if there is one."""
    if not limits.container:
        return [sys.executable, "-s", "-P", str(CHILD)], None
    name = f"minigpt-marking-{Path(folder).name}"
    command = [engine(), "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only"]
    command += ["--tmpfs", "/work:mode=1777,size=64m", "--workdir", "/work", "--user", "65534:65534"]
    command += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "16"]
    command += ["--memory", str(limits.memory_bytes + 2_000_000_000)]
    for variable, value in ENVIRONMENT.items():
        if variable != "PATH":
            command += ["--env", f"{variable}={value}"]
    return [*command, limits.container, "python", "-m", "minigpt.marking.child"], name


def engine() -> str:
    """The program that runs containers."""
    found = shutil.which("docker") or shutil.which("podman")
    if found is None:
        raise ValueError("container needs docker or podman; neither is here")
    return found


def check_image(image: str) -> None:
    """Raise a ValueError if a container can't be made of an image: better now than a mark of 0 for everybody."""
    tried = subprocess.run([engine(), "image", "inspect", image], capture_output=True, text=True, check=False)
    if tried.returncode:
        said = tried.stderr.strip().splitlines() or ["no reason given"]
        raise ValueError(f"--container must name an image that is here; got {image!r} ({said[-1]})")


class Lines:
    """Lines of JSON from a process, each with a time limit, all with a limit of size."""

    def __init__(self, source: int):
        self.source = source
        self.said = 0
        self.waiting = bytearray()
        self.selector = selectors.DefaultSelector()
        self.selector.register(source, selectors.EVENT_READ)

    def next(self, seconds: float) -> tuple[object, str]:
        """The next line, and ""; or None, and why there is none."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.waiting:
            if not self.selector.select(max(0, deadline - time.monotonic())):
                return None, f"it was still running after {seconds:g} seconds"
            more = os.read(self.source, 1 << 16)
            if not more:
                return None, ENDED
            self.said += len(more)
            if self.said > MOST_SAID:
                return None, f"it gave back more than {MOST_SAID:,} bytes"
            self.waiting += more
        line, _, self.waiting = self.waiting.partition(b"\n")
        try:
            return json.loads(line), ""
        except (ValueError, RecursionError):
            return None, FORGED


def understood(line: object, name: str, exercise: Exercise) -> Answered | None:
    """A process's line as an answer. None if it is not what our own code writes: then the learner's code wrote it."""
    if not isinstance(line, dict) or line.get("name") != name:
        return None
    cells = line.get("cells", [])
    if not isinstance(cells, list) or not all(type(cell) is int for cell in cells):
        return None
    if isinstance(line.get("missing"), str):
        return Answered(None, line["missing"][:500], tuple(cells))
    outcomes = line.get("outcomes")
    if not isinstance(outcomes, list) or len(outcomes) != len(exercise.cases):
        return None
    for outcome in outcomes:
        if not isinstance(outcome, dict) or ("value" in outcome) == isinstance(outcome.get("error"), str):
            return None
        if type(outcome.get("line")) not in (int, type(None)) or len(outcome.get("error", "")) > LONGEST_NAME:
            return None
        try:
            plain(outcome.get("value"))
        except NotPlain:
            return None
    return Answered(outcomes, "", tuple(cells))


def ended(process: subprocess.Popen) -> str:
    """Why a process has ended by itself."""
    try:
        code = process.wait(10)
    except subprocess.TimeoutExpired:
        return "it closed the marking's own channel"
    if code < 0:
        return f"it was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"it ended its own process (exit code {code})"


def end(process: subprocess.Popen, container: str | None) -> None:
    """Kill a process with its whole group."""
    if container:
        subprocess.run([engine(), "kill", container], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
