"""What all benchmarks do with what they found."""

import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def store(name: str, measured_on: dict, results: list[dict]) -> None:
    """Write results/NAME.json, all of it or nothing."""
    target = RESULTS / f"{name}.json"
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps({"measured_on": measured_on, "results": results}, indent=1) + "\n", encoding="utf-8")
    partial.replace(target)
