"""The marks of a class as files: a table (CSV), Gradescope's results, a page for each learner."""

import csv
import io
import json
import re
from collections.abc import Sequence
from html import escape

from minigpt.marking.marks import Marked

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;padding:.6rem .8rem;border-left:4px solid #c04000}"
    ".right pre{border-color:#008060}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}"
)


def table(marked: Sequence[Marked]) -> str:
    """The marks as CSV: a row for each learner, a column for each exercise, the sum, and why points are missing."""
    names = [mark.exercise for mark in marked[0].marks]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["learner", *names, "points", "of", "why"])
    for learner in marked:
        why = "; ".join(f"{mark.exercise}: {one_line(mark.why)}" for mark in learner.marks if mark.why)
        points = [mark.points for mark in learner.marks]
        writer.writerow([no_formula(learner.learner), *points, learner.points, len(names), no_formula(why)])
    return out.getvalue()


def gradescope(learner: Marked) -> str:
    """A learner's marks in the form of Gradescope's results.json (its autograder's specification)."""
    tests = [
        {
            "name": mark.exercise,
            "score": mark.points,
            "max_score": 1,
            "status": "passed" if mark.points else "failed",
            "output": readable(mark.text),
            "output_format": "text",
        }
        for mark in learner.marks
    ]
    return json.dumps({"score": learner.points, "tests": tests}, indent=2, ensure_ascii=False) + "\n"


def page(learner: Marked) -> str:
    """A page for a learner: every exercise with the words of its check."""
    parts = [
        f'<section class="{"right" if mark.points else "wrong"}"><h2>{"✓" if mark.points else "✗"} '
        f"{escape(mark.exercise)}</h2><pre>{escape(readable(mark.text))}</pre></section>"
        for mark in learner.marks
    ]
    name = escape(readable(learner.learner))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{name}</title><style>{STYLE}</style></head>\n<body><h1>{name}</h1>\n'
        f"<p>{learner.points} of {len(learner.marks)} exercises are right.</p>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def readable(text: str) -> str:
    """A text without the characters that steer a terminal or a page."""
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def one_line(text: str) -> str:
    """A text in one line."""
    return " ".join(readable(text).split())


def no_formula(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    text = readable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
