"""The process that runs one learner's code. It is told the inputs, but not the right results.

It reads a request (JSON) from standard input, and writes a line of JSON for each answer, as soon as it has it:

    request   {"files": {"attention": {"text": ..., "is_notebook": true}}, "answers": [ANSWER, ...], "limits": LIMITS}
    ANSWER    {"name": "attention.one_head", "variable": "one_head", "is_value": false,
               "prepare": "minigpt.marking.lessons:tensors" or null,
               "arguments": [[...], ...]}
    LIMITS    {"memory_bytes": N, "file_bytes": N, "user": a user's number or null}
    line      {"name": ..., "outcomes": [...], "cells": [3]} or {"name": ..., "missing": "why", "cells": []}

The first line is {"ready": true}. What the learner's code prints goes nowhere.
"""

import ast
import functools
import importlib.util
import json
import os
import sys
from pathlib import Path

FOLDER = Path(__file__).parent

#: What answers may import even where the user that they run as can't read Python's own files.
COMMON = ("collections", "copy", "functools", "itertools", "math", "operator", "random", "re", "statistics", "typing")


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)

    # All imports come before the limits: after them there is perhaps no right to read files, nor to start a thread.
    sys.path.insert(0, str(FOLDER.parents[1]))
    for name in COMMON:
        importlib.import_module(name)
    verdict, notebook = own("verdict"), own("notebook")
    prepares = {None: verdict.plain}
    for place in {answer["prepare"] for answer in request["answers"]} - {None}:
        module, _, function = place.partition(":")
        prepares[place] = getattr(importlib.import_module(module), function)
        sys.modules["torch"].set_num_threads(1)
    limit(**request["limits"])

    def say(line: dict) -> None:
        print(json.dumps(line), file=lines, flush=True)

    say({"ready": True})
    read = functools.cache(lambda lesson: notebook.read(**request["files"][lesson]))
    for answer in request["answers"]:
        say({"name": answer["name"]} | answered(answer, read, prepares[answer["prepare"]], verdict))


def own(name: str):
    """A module of this folder, without the package around it, which would bring PyTorch along."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answered(answer: dict, read, prepare, verdict) -> dict:
    """What one answer gives in all cases; or why it gives nothing."""
    variable = answer["variable"]
    try:
        submission = read(answer["name"].partition(".")[0])
    except ValueError as error:
        return {"missing": str(error)}
    definitions = submission.defining(variable)
    cells = sorted({line.cell for line in definitions})
    if not definitions:
        unreadable = [f"cell {cell} can't be read: {why}" for cell, why in submission.unreadable.items()]
        return {"missing": "; ".join([f"{variable} is not defined", *unreadable])}
    found, problem = value_of(submission, variable)
    if problem:
        return {"missing": problem, "cells": cells}
    if found is ...:
        return {"missing": "put your answer in the place of the three dots", "cells": cells}
    if answer["is_value"]:
        return {"outcomes": [verdict.outcome_of(lambda: found)], "cells": cells}
    if not callable(found):
        got = verdict.written(verdict.plain_or_name(found))
        return {"missing": f"{variable} must be a function; got {got}", "cells": cells}
    outcomes = [verdict.outcome(found, tuple(arguments), prepare) for arguments in answer["arguments"]]
    return {"outcomes": outcomes, "cells": cells}


def value_of(submission, variable: str) -> tuple[object, str | None]:
    """What the submission means by a name; or why that can't be found out."""
    names = {"__name__": "__main__", "display": lambda *shown, **how: None}
    for line in submission.needed_for(variable):
        try:
            code = compile(ast.Module([line.node], []), f"<cell {line.cell}>", "exec")
            exec(code, names)  # noqa: S102 (what this process is for)
        except Exception as error:
            return None, f"line {line.node.lineno} of cell {line.cell} raises {type(error).__name__}"
    return names.get(variable), None


def limit(memory_bytes: int, file_bytes: int, user: int | None) -> None:
    """Give up rights for good: memory beyond what is used now, large files, other processes, and being root."""
    import resource

    def most(what: int, value: int) -> None:
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))

    taken = Path("/proc/self/statm")
    pages = int(taken.read_text().split()[0]) if taken.exists() else 0
    if pages:
        most(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
    most(resource.RLIMIT_FSIZE, file_bytes)
    most(resource.RLIMIT_CORE, 0)
    if user is not None:
        os.chown(".", user, user)
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    most(resource.RLIMIT_NPROC, 0)  # neither a process nor a thread


if __name__ == "__main__":
    main()
