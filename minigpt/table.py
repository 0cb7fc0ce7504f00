"""A small table that reads well as text, in a notebook and on a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from minigpt.checks import is_integer, is_number

STYLE = (
    "<style>.mg-table{overflow-x:auto;margin:.5em 0}.mg-table table{border-collapse:collapse;font-size:.9em;"
    "font-variant-numeric:tabular-nums;margin:0;color:inherit;display:table;width:auto}"
    ".mg-table th,.mg-table td{padding:.25em .7em;text-align:left;color:inherit;background:none;"
    "border:0;border-bottom:1px solid rgba(128,128,128,.35)}.mg-table .num{text-align:right}"
    ".mg-table td.num,.mg-table td.short,.mg-table .short code{white-space:nowrap}"
    ".mg-table tfoot td{font-weight:600;border-bottom:0;border-top:2px solid currentColor}"
    ".mg-table code{background:none;border:0;padding:0;color:inherit;font-size:.92em;white-space:pre-wrap}</style>"
)


@dataclass(frozen=True)
class Table:
    """Rows under headings, with an optional line for the total.

    Attributes:
        columns: the headings.
        rows: rows with a cell for each heading; ints are shown with thousands separators, floats
            with three decimals, text as it is.
        total: the sum of the last column; None for no such line.
        code: the indices of columns that hold code.
        caption: a sentence on what the table shows, which is read aloud to those who can't see it.

    Raises:
        ValueError: a heading is empty, a row does not have a cell for each heading, or the last column doesn't add
            up to the total.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    total: int | None = None
    code: Sequence[int] = field(default=())
    caption: str = ""

    def __post_init__(self):
        if not all(str(column).strip() for column in self.columns):
            raise ValueError(f"columns must each have a heading, for those who are read to; got {list(self.columns)}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"rows must have {len(self.columns)} cells, one a column; got {row!r}")
        if self.total is not None and len(self.columns) < 2:
            raise ValueError(f"columns must be two at least to have a total; got {list(self.columns)}")
        if self.total is not None and self.total != (column_sum := sum(row[-1] for row in self.rows)):
            raise ValueError(f"total must be the sum of the last column, {column_sum:,}; got {self.total:,}")

    def __str__(self):
        lines = [[str(c) for c in self.columns], *([text(cell) for cell in row] for row in self.all_rows())]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        right = [self.is_number(i) for i in range(len(self.columns))]
        padded = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([padded[0], "-" * len(padded[0]), *padded[1:]])

    __repr__ = __str__

    def _repr_html_(self):
        head = "".join(f'<th scope="col"{self.attribute(i)}>{escape(str(c))}</th>' for i, c in enumerate(self.columns))
        body = "".join(f"<tr>{self.cells(row)}</tr>" for row in self.rows)
        foot = "" if self.total is None else f"<tfoot><tr>{self.cells(self.all_rows()[-1])}</tr></tfoot>"
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        label = escape(self.caption or ", ".join(map(str, self.columns)))
        return (
            f'{STYLE}<div class="mg-table" role="group" tabindex="0" aria-label="{label}"><table>{caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div>"
        )

    def all_rows(self) -> list[Sequence[object]]:
        """The rows, and the line for the total if there is one."""
        foot = [] if self.total is None else [["total", *[""] * (len(self.columns) - 2), self.total]]
        return [*self.rows, *foot]

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers, which are aligned at the right."""
        cells = [row[column] for row in self.rows if row[column] != ""]
        return bool(cells) and all(isinstance(cell, int | float) or is_percent(cell) for cell in cells)

    def attribute(self, column: int) -> str:
        if self.is_number(column):
            return ' class="num"'
        return ' class="short"' if all(len(text(row[column])) <= 18 for row in self.rows) else ""

    def cells(self, row: Sequence[object]) -> str:
        shown = [f"<code>{escape(text(c))}</code>" if i in self.code else escape(text(c)) for i, c in enumerate(row)]
        return "".join(f"<td{self.attribute(i)}>{cell}</td>" for i, cell in enumerate(shown))


def is_percent(cell: object) -> bool:
    return isinstance(cell, str) and cell.endswith("%")


def text(cell: object) -> str:
    """A cell as it is shown: 1,280 for 1280, 0.250 for 0.25."""
    if not is_number(cell):
        return str(cell)
    return f"{cell:,}" if is_integer(cell) else f"{cell:,.3f}"
