"""All figures of the book, in one style.

A figure is a `Picture`: an SVG in the text colour of the page, so that it can be read on light and dark
pages. Its alternative text is written by the function that drew it, from the numbers it drew. Three
colours are those of Okabe and Ito (2008), the purple is near one of Tol's; colour-blind readers can tell
them apart, and every series has a label, too. No figure is wider than a phone can show.
"""

import io
import math
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import groupby

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from minigpt.config import GPTConfig
from minigpt.memory.measured import Trace
from minigpt.parameters import count_params, params_by_group

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AC357A"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE)

#: Stands for "the page's text colour" until the SVG is written.
INK = "#010203"
WIDTH_INCHES = 5.0

STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}


@dataclass(frozen=True)
class Picture:
    """A figure, and a text to read aloud to those who can't see it.

    Attributes:
        figure: the matplotlib figure, to change or to save in another format.
        alt: the alternative text.
    """

    figure: Figure
    alt: str

    def __repr__(self):
        return f"Picture: {self.alt}"

    def _repr_html_(self):
        return f'<div class="mg-picture">{self.svg()}</div>'

    def svg(self) -> str:
        """The figure as an `<svg>` element that scales with its column."""
        file = io.StringIO()
        with mpl.rc_context(STYLE):
            self.figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.02)
        svg = file.getvalue()
        view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        width = round(float(view[1]) * 4 / 3 * 1.15)
        body = svg[svg.index("<defs>", svg.index("</metadata>")) : svg.rindex("</svg>")]
        body = re.sub(r'<g id="[^"]*"', "<g", body)  # "axes_1" and such, the same in every figure and used in none
        body = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font: \1px sans-serif", body)
        body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"-?\d+\.\d+", two_decimals, tag[0]), body)  # only in tags
        body = re.sub(r"\s*\n\s*", " ", numbered(body, self.alt).replace(INK, "currentColor"))
        return (
            f'<svg role="img" aria-label="{escape(self.alt)}" viewBox="{view[0][9:-1]}" '
            f'style="width:100%;max-width:{width}px;height:auto" xmlns="http://www.w3.org/2000/svg" '
            f'xmlns:xlink="http://www.w3.org/1999/xlink">{body}</svg>'
        )

    def save(self, path: str | pathlib.Path) -> None:
        """Write the SVG to a file, in black on a transparent background."""
        pathlib.Path(path).write_text(self.svg().replace("currentColor", "#000000"), encoding="utf-8")


def numbered(body: str, alt: str) -> str:
    """Replace the ids of an SVG by a prefix and a number, in the order in which they appear.

    Matplotlib's ids are hashes of coordinates before rounding: a curve that differs only in the last bit
    looks the same, but would have another id. The prefix is a checksum of the alternative text, so that
    no two pictures on a page share an id.
    """
    prefix = f"p{zlib.crc32(alt.encode()):08x}"
    new = {old: f"{prefix}-{i}" for i, old in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', body)), 1)}
    return re.sub(r'( id="|href="#|url\(#)([^")]+)', lambda at: at[1] + new[at[2]], body)


def two_decimals(match: re.Match) -> str:
    """Round a number of an SVG to two decimals: nobody sees a thousandth of a point."""
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side, or under each other where the page is too narrow.

    Attributes:
        pictures: the pictures to show.
        width_px: the least width of a picture; if it is less side by side, they are put under each other.
    """

    pictures: tuple[Picture, ...]
    width_px: int

    def __repr__(self):
        return "\n".join(map(repr, self.pictures))

    def _repr_html_(self):
        cell = f'<div style="flex:1 1 {self.width_px}px;max-width:{round(1.5 * self.width_px)}px">'
        cells = "".join(f"{cell}{picture.svg()}</div>" for picture in self.pictures)
        return (
            f'<div class="mg-picture" style="display:flex;flex-wrap:wrap;gap:1em;justify-content:center">{cells}</div>'
        )


@contextmanager
def drawing(height_inches: float, width_inches: float = WIDTH_INCHES):
    """Make a figure in the course's style and its axes, to draw on inside a `with` block."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        figure.patch.set_alpha(0)
        ax = figure.subplots()
        ax.patch.set_alpha(0)
        yield figure, ax
        figure.draw_without_rendering()  # lay it out once; else every rendering would move it a little
        figure.set_layout_engine("none")


def word(token: str) -> str:
    """A token as a figure shows it: spaces and line breaks made visible."""
    return token.replace("Ġ", "·").replace("Ċ", "⏎").replace(" ", "·").replace("\n", "⏎").replace("$", r"\$")


def matrix(values: Tensor, tokens: Sequence[str], title: str, colour: str, alt: str) -> Picture:
    """Draw values in [0, 1] as squares: no colour at 0, full colour at 1. The first row is on top."""
    T, shades = len(tokens), 50
    squares: dict[int, list[tuple[int, int]]] = {}
    for row, column in torch.cartesian_prod(torch.arange(T), torch.arange(T)).tolist():
        squares.setdefault(round(values[row, column].item() * shades), []).append((column, row))
    with drawing(3.2, 3.2) as (figure, ax):
        for shade in sorted(squares.keys() - {0}):  # one path for all squares of a shade: a tenth of the file
            corners = [
                (x + dx, y + dy) for x, y in squares[shade] for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
            ]
            codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(squares[shade])
            ax.add_patch(PathPatch(Path(corners, codes), fc=(*to_rgb(colour), shade / shades), lw=0))
        ax.set_xlim(0, T)
        ax.set_ylim(T, 0)
        ax.set_aspect("equal")
        ax.set_title(title)
        ax.spines[:].set_visible(False)
        names, places = [word(token) for token in tokens], [i + 0.5 for i in range(T)]
        ax.set_xticks(places, names, fontsize=8, rotation=90)
        ax.set_yticks(places, names, fontsize=8)
        ax.tick_params(length=0, pad=2)
    return Picture(figure, alt)


def heads(weights: Tensor, tokens: Sequence[str], titles: Sequence[str] | None = None) -> Gallery:
    """Draw the attention weights of several heads over the same tokens: the row's token looks at the column's.

    Args:
        weights: one matrix for each head, (n, T, T); each row sums to 1.
        tokens: the T tokens.
        titles: a title for each head; "head 1", ... if not given.

    Raises:
        ValueError: weights and tokens don't fit together.
    """
    n, T = len(weights), len(tokens)
    if weights.shape != (n, T, T):
        raise ValueError(f"weights must be (n, {T}, {T}) for {T} tokens; got {tuple(weights.shape)}")
    titles = titles or [f"head {i}" for i in range(1, n + 1)]
    pictures = []
    for i, (head, title) in enumerate(zip(weights, titles, strict=True)):
        weight, place = head[-1].max(0)
        alt = (
            f"Attention weights of {title} over {T} tokens, a square matrix. The last token, {word(tokens[-1])}, "
            f"looks most at {word(tokens[place])}, token {place + 1}, with weight {weight:.2f}."
        )
        pictures.append(matrix(head, tokens, title, SERIES[i % len(SERIES)], alt))
    return Gallery(tuple(pictures), 280)


def softmax_steps(scores: Tensor, weights: Tensor, tokens: Sequence[str]) -> Gallery:
    """Draw the three steps to the weights of a head: QKᵀ/√D, the same with the future masked, the softmax.

    Args:
        scores: QKᵀ/√D before the mask, (T, T).
        weights: the softmax of the masked scores, (T, T).
        tokens: the T tokens.
    """
    T, low, high = len(tokens), scores.min(), scores.max()
    shown = 0.1 + 0.9 * (scores - low) / (high - low).clamp(min=1e-9)  # even the lowest has a trace of colour
    hidden = T * (T - 1) // 2
    alts = (
        f"Scores of {T} queries by {T} keys, from {low:.1f} to {high:.1f}, all of them filled in.",
        f"The same scores; the {hidden} of {T * T} above the diagonal are gone.",
        f"The weights the softmax makes of them. Each row sums to 1; the largest weight is {weights.max():.2f}.",
    )
    titles, values = ("scores QKᵀ/√D", "future masked", "softmax"), (shown, shown.tril(), weights)
    colours = (BLUE, BLUE, VERMILLION)
    panels = zip(values, titles, colours, alts, strict=True)
    return Gallery(tuple(matrix(v, tokens, title, colour, alt) for v, title, colour, alt in panels), 200)


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    log: str = "",
    decimals: int = 2,
) -> Picture:
    """Draw lines over a common x axis, each with its name at its end.

    Args:
        x: the x values of the points.
        series: for each line its name and a y value for each x; four lines at most.
        xlabel, ylabel: what the axes show, with the unit.
        log: the logarithmic axes: "", "x", "y" or "xy".
        decimals: the number of decimals in the alternative text.
    """
    if len(series) > len(SERIES):
        raise ValueError(f"series must hold {len(SERIES)} lines at most, or colours repeat; got {len(series)}")
    last = sorted(values[-1] for values in series.values())
    spread = max(max(values) for values in series.values())
    crowded = any(high - low < spread / 15 for low, high in zip(last, last[1:], strict=False))
    with drawing(2.7) as (figure, ax):
        for (name, values), colour, marker in zip(series.items(), SERIES, "os^D", strict=False):
            first = marker == "o"  # thicker, so that it can be seen behind another line
            size = {"markersize": 9 if first else 5, "linewidth": 4 if first else 1.8}
            ax.plot(x, values, color=colour, marker=marker, label=name, **size)
            if not crowded:
                at = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
                ax.annotate(name, (x[-1], values[-1]), **at)
        if crowded:
            ax.legend()
        if "x" in log:
            ax.set_xscale("log", base=2)
            ticks = [x[0]]
            for value in x:
                if value >= 1.9 * ticks[-1]:
                    ticks.append(value)
            ax.set_xticks(ticks, [f"{value:,}" for value in ticks])
            ax.minorticks_off()
        if "y" in log:
            ax.set_yscale("log")
        else:
            ax.set_ylim(bottom=0)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
    ends = "; ".join(f"{n}: from {v[0]:.{decimals}f} to {v[-1]:.{decimals}f}" for n, v in series.items())
    return Picture(figure, f"{ylabel} against {xlabel}, from {x[0]:,} to {x[-1]:,}. {ends}.")


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    decimals: int = 2,
) -> Picture:
    """Draw measurements that were repeated during a run: a curve for each series, without marks for its points.

    Args:
        series: for each curve its name, its x values and as many y values; four curves at most.
        xlabel, ylabel: what the axes show, with the unit.
        levels: values to compare with; each is a dashed line across, with its name above it.
        log: whether the x axis is logarithmic; points at 0 or below are then left out.
        decimals: the number of decimals in the alternative text.

    Raises:
        ValueError: there are more than four curves, or a curve doesn't have a y value for each x.
    """
    if len(series) > len(SERIES):
        raise ValueError(f"series must hold {len(SERIES)} curves at most, or colours repeat; got {len(series)}")
    with drawing(3.0, 4.2) as (figure, ax):
        for (name, (x, y)), colour, dashes in zip(series.items(), SERIES, ("-", "-", "--", ":"), strict=False):
            if len(x) != len(y) or not len(x):
                raise ValueError(f"series must have a value for each x, one at least; {name} has {len(y)} for {len(x)}")
            shown = [(a, b) for a, b in zip(x, y, strict=True) if a > 0 or not log]
            ax.plot(*zip(*shown, strict=True), color=colour, linestyle=dashes, linewidth=1.6, label=name)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        draw_levels(ax, levels or {}, ax.get_xlim()[0], xytext=(3, 2))
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        if len(series) > 1:
            ax.legend(fontsize=9)
    said = [f"{n}: from {y[0]:,.{decimals}f} to {y[-1]:,.{decimals}f}" for n, (_, y) in series.items()]
    said += [f"{name} is at {value:,.{decimals}f}" for name, value in (levels or {}).items()]
    return Picture(figure, f"{ylabel} against {xlabel}. {'; '.join(said)}.")


def draw_levels(ax: Axes, levels: Mapping[str, float], x: float, **where) -> None:
    """Draw values to compare with: for each a dashed line across, with its name above it at x. The highest is first.

    Args:
        where: the place of a name relative to x and the line, as arguments of matplotlib's `annotate`.
    """
    for value in levels.values():
        ax.axhline(value, color=INK, linewidth=0.8, linestyle=(0, (2, 3)))
    for name, value in sorted(levels.items(), key=lambda level: -level[1]):
        ax.annotate(name, (x, value), textcoords="offset points", fontsize=8, **where)


def step_memory(trace: Trace, predicted_bytes: int, least_bytes: int = 1_000) -> Picture:
    """Draw the memory of one training step over time, coloured by phase, and the predicted peak.

    Args:
        trace: the measured memory.
        predicted_bytes: the predicted peak, drawn as a line across.
        least_bytes: allocations and releases of fewer bytes are left out of the picture.

    Raises:
        ValueError: no allocation or release is as large as least_bytes.
    """
    shown, before = [], trace.start_bytes
    for live, phase in zip(trace.live_bytes, trace.phases, strict=True):
        if abs(live - before) >= least_bytes:
            shown.append((phase, live))
        before = live
    if not shown:
        raise ValueError(f"least_bytes must leave something to be shown; got {least_bytes:,}")
    start = trace.start_bytes / 1e6
    said, place, last = [], 0, start
    with drawing(3.0) as (figure, ax):
        for (phase, run), colour in zip(groupby(shown, key=lambda item: item[0]), SERIES, strict=False):
            values = [last, *(live / 1e6 for _, live in run)]
            x = range(place, place + len(values))
            ax.fill_between(x, values, step="post", color=colour, alpha=0.25, lw=0)
            ax.step(x, values, where="post", color=colour, lw=1.4, label=phase)
            said.append(f"{phase}: at most {max(values):,.1f}, at its end {values[-1]:,.1f}")
            place, last = place + len(values) - 1, values[-1]
        levels = {"before the step": start, "predicted peak": predicted_bytes / 1e6}
        draw_levels(ax, levels, place, xytext=(0, 3), ha="right")
        ax.set_xlim(0, place)
        ax.set_ylim(0, 1.1 * predicted_bytes / 1e6)
        ax.set_xlabel("allocations and releases, in the order of time")
        ax.set_ylabel("memory, MB")
        ax.legend(loc="upper right", bbox_to_anchor=(1, 0.93), fontsize=9)
    return Picture(
        figure,
        f"Memory of one training step over {place:,} allocations and releases of {least_bytes:,} bytes or more, in MB. "
        f"Before it: {start:,.1f}. "
        f"{'; '.join(said)}. The predicted peak is {predicted_bytes / 1e6:,.1f}.",
    )


def bars(
    names: Sequence[str],
    values: Sequence[float],
    xlabel: str,
    title: str = "",
    end: float | None = None,
    log: bool = False,
    decimals: int = 2,
) -> Picture:
    """Draw a bar for each name, from the top down, with its value at its end.

    Args:
        names: the names of the bars, for instance tokens.
        values: the lengths of the bars, one for each name.
        xlabel: what a length means, with the unit.
        title: the title above the picture.
        end: where the axis ends, so that several pictures can be compared; None: a little above the
            largest value.
        log: whether the axis is logarithmic; values must then be at least 1.
        decimals: the number of decimals in the values.

    Raises:
        ValueError: names and values are not equally many, or a value is below 0, or below 1 if log.
    """
    least = 1 if log else 0
    if not names or len(names) != len(values):
        raise ValueError(
            f"values must be one for each of {len(names)} names, of which there is one at least; got {len(values)}"
        )
    if min(values) < least:
        raise ValueError(f"values must be at least {least}; got {min(values)}")
    with drawing(0.75 + 0.24 * len(names), 3.4) as (figure, ax):
        ax.barh(range(len(names)), values, color=BLUE, height=0.72, log=log)
        ax.set_yticks(range(len(names)), [word(name) for name in names])
        for place, value in enumerate(values):
            at = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 9}
            ax.annotate(f"{value:,.{decimals}f}", (value, place), **at)
        ax.invert_yaxis()
        # On a logarithmic axis a bar of 1 must have a length, too.
        ax.set_xlim(0.8 if log else 0, end or (max(10, max(values) ** 1.25) if log else 1.18 * max(values) or 1))
        if log:
            ticks = [10**power for power in range(math.ceil(math.log10(max(values))) + 1)]
            ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            ax.minorticks_off()
        ax.set_xlabel(xlabel)
        ax.set_title(title)
        ax.tick_params(axis="y", length=0)
    said = "; ".join(f"{word(name)} {value:,.{decimals}f}" for name, value in zip(names, values, strict=True))
    return Picture(figure, f"{title or 'Bars'}: {xlabel}. {said}.")


def shares(configs: Mapping[str, GPTConfig]) -> Picture:
    """Draw the shares of the parameters: for every configuration a bar of 100 %, split by kind of module.

    LayerNorms are a few thousandths of the whole. They are counted with the attention and feed-forward
    layers that read their results.
    """
    parts = ("embeddings and head", "attention", "feed-forward")
    names = list(configs)
    values = {name: share_of(config) for name, config in configs.items()}
    with drawing(0.9 + 0.3 * len(names)) as (figure, ax):
        left = [0.0] * len(names)
        for part, colour in zip(parts, SERIES, strict=False):
            widths = [values[name][part] for name in names]
            ink = "white" if colour == BLUE else "black"  # the one that can be read on this colour
            ax.barh(names, widths, left=left, color=colour, height=0.72, label=part)
            for y, (start, width) in enumerate(zip(left, widths, strict=True)):
                if width > 6:
                    ax.text(start + width / 2, y, f"{width:.0f}", ha="center", va="center", color=ink, fontsize=9)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        ax.invert_yaxis()
        ax.set_xlim(0, 100)
        ax.set_xlabel("share of all parameters, %")
        ax.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=3, handlelength=1, columnspacing=1)
    said = "; ".join(
        f"{n}: " + ", ".join(f"{part} {values[n][part]:.1f} %" for part in parts) for n in (names[0], names[-1])
    )
    return Picture(figure, f"Bars for {len(names)} models, split by kind of module. {said}.")


def share_of(config: GPTConfig) -> dict[str, float]:
    """The three shares that `shares` draws, in percent."""
    groups, total = params_by_group(config), count_params(config)
    norms = groups["LayerNorm"] / 2
    embeddings = groups["token embedding"] + groups["position embedding"] + groups["output head"]
    return {
        "embeddings and head": 100 * embeddings / total,
        "attention": 100 * (groups["attention"] + norms) / total,
        "feed-forward": 100 * (groups["feed-forward"] + norms) / total,
    }


def architecture(config: GPTConfig) -> Picture:
    """Draw the whole GPT: the residual stream from bottom to top, and the layers that read from it and add to it."""
    C, F, V, L = config.d_model, config.d_ff, config.vocab_size, config.n_layers
    with drawing(6.2) as (figure, ax):
        ax.set_xlim(0, 10.4)
        ax.set_ylim(-0.2, 14.4)
        ax.axis("off")

        def box(y, label, colour, x=2.3, width=5.2):
            rounded = {"boxstyle": "round,pad=0.08", "fc": (*to_rgb(colour), 0.16), "ec": colour}
            ax.add_patch(FancyBboxPatch((x, y), width, 0.75, **rounded))
            ax.text(x + width / 2, y + 0.37, label, ha="center", va="center", fontsize=9)

        def arrow(x0, y0, x1, y1):
            style = {"arrowstyle": "-|>", "color": INK, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", (x1, y1), (x0, y0), arrowprops=style)

        def shape(y, text):
            ax.text(8.15, y, text, va="center", fontsize=8.5, family="monospace")

        stream = 1.2
        box(0.0, "tokens", GREEN)
        box(1.3, f"token embedding  {V:,} × {C:,}", BLUE)
        box(2.6, f"+ position embedding  {config.context_length:,} × {C:,}", BLUE)
        arrow(4.9, 0.83, 4.9, 1.22)
        arrow(4.9, 2.13, 4.9, 2.52)
        ax.plot([2.22, stream, stream], [2.97, 2.97, 3.5], color=INK, lw=1.1)
        shape(0.37, "(B, T)")
        shape(1.67, "(B, T, C)")
        shape(2.97, "(B, T, C)")

        dashed = {"boxstyle": "round,pad=0.1", "fc": "none", "ec": INK, "lw": 0.8, "ls": (0, (3, 3))}
        ax.add_patch(FancyBboxPatch((0.45, 3.75), 7.3, 6.0, **dashed))
        ax.text(8.15, 9.4, f"× {L}", va="center", fontsize=13)
        arrow(stream, 3.5, stream, 10.5)
        parts = ((4.0, "LayerNorm 1", "attention", VERMILLION), (7.0, "LayerNorm 2", "feed-forward", PURPLE))
        for base, norm, layer, colour in parts:
            arrow(stream, base + 0.37, 2.2, base + 0.37)
            box(base, norm, GREEN)
            arrow(4.9, base + 0.83, 4.9, base + 1.22)
            detail = f"{config.n_heads} heads of {config.d_head}" if layer == "attention" else f"to {F:,} and back"
            box(base + 1.3, f"{layer}  {detail}", colour)
            arrow(2.22, base + 1.67, stream + 0.22, base + 1.67)
            ax.plot(stream, base + 1.67, "o", markersize=14, markerfacecolor="#80808060", markeredgecolor=INK)
            ax.plot(stream, base + 1.67, "+", markersize=9, markeredgecolor=INK, markeredgewidth=1.4)
            shape(base + 1.67, "(B, T, C)")
        ax.text(0.75, 6.9, "residual stream", rotation=90, ha="center", va="center", fontsize=9)
        ax.plot([stream, stream, 2.22], [10.4, 10.97, 10.97], color=INK, lw=1.1)
        box(10.6, "final LayerNorm", GREEN)
        arrow(4.9, 11.43, 4.9, 11.82)
        tied = "the token embedding again" if config.tie_weights else "a matrix of its own"
        box(11.9, f"head: {tied}", BLUE)
        arrow(4.9, 12.73, 4.9, 13.12)
        box(13.2, "logits", GREEN)
        shape(10.97, "(B, T, C)")
        shape(12.27, "(B, T, V)")
        shape(13.57, "(B, T, V)")
    return Picture(
        figure,
        f"The GPT from bottom to top. Tokens (B, T) become vectors by a token embedding, {V:,} by {C:,}, plus a "
        f"position embedding, {config.context_length:,} by {C:,}. They enter the residual stream, which runs through "
        f"{L} blocks. In a block, LayerNorm 1 and attention read the stream and add to it; LayerNorm 2 and "
        f"feed-forward do the same. A final LayerNorm and the head, {tied}, make logits (B, T, V).",
    )
