"""What the programs in benchmarks/ have measured. It comes with the package, so that a chapter finds it anywhere."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent


def stored(name: str) -> dict:
    """What a program stored: "results", a dict for each thing that it measured, and the facts "measured_on".

    Both are empty if the program has not been run.

    Args:
        name: the program's name, such as "quantization".
    """
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"measured_on": {}, "results": []}
