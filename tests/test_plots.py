import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from minigpt import CONFIGS
from minigpt.memory.measured import Trace
from minigpt.page import plots

TOKENS = ["To", "-", "Ġ<b>", "$", "Ċ"]
#: Bytes before a step, after each change, and the phases the changes fell into.
TRACE = Trace(
    1_000_000,
    [3_000_000, 9_000_000, 9_000_500, 2_000_000],
    ["forward", "forward", "backward", "backward"],
    [()] * 4,
)
BACKGROUNDS = ("#ffffff", "#14181e")  # the site's, light and dark


def weights(n=2, T=5):
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return torch.randn(n, T, T, dtype=torch.double).masked_fill(future, -torch.inf).softmax(-1)


def pictures():
    torch.manual_seed(0)
    w = weights()
    return {
        **dict(zip(("head 1", "head 2"), plots.heads(w, TOKENS).pictures, strict=True)),
        **dict(zip("QMW", plots.softmax_steps(torch.randn(5, 5), w[0], TOKENS).pictures, strict=True)),
        "lines": plots.lines([1, 2, 4], {"a": [1, 2, 3], "b": [3, 2, 1]}, "x", "y", log="x"),
        "curves": plots.curves({"a": ([1, 2, 3], [3, 2, 1])}, "step", "loss, nats", {"ln V": 4.0}),
        "log curves": plots.curves({"a": ([0, 1, 9], [3, 2, 1]), "b": ([1, 9], [2, 2])}, "step", "loss", log=True),
        "step memory": plots.step_memory(TRACE, 9_000_000),
        "shares": plots.shares({name: CONFIGS[name] for name in ("gpt2", "gpt3-175b")}),
        "bars": plots.bars(["Ġa", "Ġa", "<b>"], [50.0, 30.0, 20.0], "share, %", "after x", decimals=1),
        "log bars": plots.bars(["a", "b"], [1, 300], "tokens in the nucleus", "top-p", log=True, decimals=0),
        "architecture": plots.architecture(CONFIGS["homework"]),
    }


@pytest.mark.parametrize("name", list(pictures()))
def test_a_picture_is_a_labelled_image_in_the_pages_colour(name):
    picture = pictures()[name]
    root = ElementTree.fromstring(picture.svg())
    assert root.get("role") == "img" and root.get("aria-label") == picture.alt
    assert len(picture.alt) > 40
    assert picture.svg() == picture.svg()
    assert "currentColor" in picture.svg() and plots.INK not in picture.svg()
    assert "http" not in re.sub(r"http://www.w3.org/\S+", "", picture.svg())
    ids = re.findall(r'\bid="([^"]*)"', picture.svg())
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', picture.svg())) <= set(ids)


@pytest.mark.long
def test_a_curve_that_is_off_by_its_last_bits_is_the_same_picture():
    """Other processors round otherwise: nothing of it may show, not even in an id."""
    torch.manual_seed(0)
    losses = 6 - torch.rand(40, dtype=torch.double).cumsum(0) / 8

    def svg(y):
        return plots.curves({"loss": (range(1, 41), y.tolist())}, "step", "loss, nats", {"ln V": 6.93}).svg()

    for noise in (2e-16, 1e-12, 1e-9):
        for _ in range(5):
            assert svg(losses * (1 + noise * torch.randn(40, dtype=torch.double))) == svg(losses)


def squares(picture):
    """Where a matrix has colour: the (row, column) of every square."""
    return {
        (round(y), round(x))
        for patch in picture.figure.axes[0].patches
        for (x, y), code in zip(patch.get_path().vertices, patch.get_path().codes, strict=True)
        if code == 1  # where a square begins
    }


def test_rows_look_and_columns_are_looked_at():
    w = torch.zeros(1, 4, 4)
    w[0, 3, 1] = w[0, 2, 0] = 1.0
    assert squares(plots.heads(w, list("abcd")).pictures[0]) == {(3, 1), (2, 0)}


def test_the_masked_panel_is_masked_and_the_other_is_not():
    T = 5
    unmasked, masked, _ = plots.softmax_steps(torch.randn(T, T), weights()[0], TOKENS).pictures
    assert len(squares(unmasked)) == T * T
    assert squares(masked) == {(row, column) for row in range(T) for column in range(row + 1)}


def test_bars_are_as_wide_as_their_shares():
    config = CONFIGS["gpt2"]
    bars = plots.shares({"gpt2": config}).figure.axes[0].patches
    widths = [bar.get_width() for bar in bars]
    assert widths == pytest.approx(list(plots.share_of(config).values()))
    assert [bar.get_x() for bar in bars] == pytest.approx([0, widths[0], widths[0] + widths[1]])


def test_numbers_in_a_figure_are_not_rounded_away():
    shown = plots.lines([1, 2], {"v1.125": [0.001, 0.0004]}, "x", "y").svg()
    assert ">0.0010<" in shown and "v1.125" in shown


def test_a_gallery_shows_all_of_its_pictures():
    gallery = plots.heads(weights(), TOKENS)
    assert gallery._repr_html_().count('<svg role="img"') == repr(gallery).count("Picture: ") == 2


def test_curves_are_where_they_were_measured():
    series = {"training": ([0, 10, 20], [3.0, 2.0, 1.5]), "held out": ([0, 20], [3.0, 2.5])}
    picture = plots.curves(series, "step", "loss", {"ln V": 3.5})
    drawn = [line.get_xydata().T.tolist() for line in picture.figure.axes[0].get_lines()]
    assert drawn[:2] == [[list(map(float, x)), y] for x, y in series.values()]
    assert drawn[2][1] == [3.5, 3.5]
    assert "training: from 3.00 to 1.50; held out: from 3.00 to 2.50; ln V is at 3.50" in picture.alt
    for log in (False, True):
        picture = plots.curves({"a": ([1, 10, 100], [3, 2, 1])}, "step", "loss", {"ln V": 3.5}, log=log)
        (ax,) = picture.figure.axes
        (level,) = (text for text in ax.texts if text.get_text() == "ln V")
        assert level.xy[0] == pytest.approx(ax.get_xlim()[0])
    with pytest.raises(ValueError, match="series must have a value for each x, one at least; a has 1 for 2"):
        plots.curves({"a": ([1, 2], [1.0])}, "x", "y")
    with pytest.raises(ValueError, match="4 curves at most"):
        plots.curves(dict.fromkeys("abcde", ([1], [1.0])), "x", "y")


def test_a_steps_memory_is_what_was_traced():
    (ax,) = plots.step_memory(TRACE, 9_000_000).figure.axes
    drawn = [line.get_xydata().T.tolist() for line in ax.get_lines()]
    assert drawn[0] == [[0, 1, 2], [1, 3, 9]] and drawn[1] == [[2, 3], [9, 2]]  # 500 bytes are left out
    assert [line[1] for line in drawn[-2:]] == [[1, 1], [9, 9]]
    alt = plots.step_memory(TRACE, 9_000_000).alt
    assert (
        "over 3 allocations and releases of 1,000 bytes or more" in alt
        and "backward: at most 9.0, at its end 2.0. The predicted peak is 9.0" in alt
    )
    with pytest.raises(ValueError, match="least_bytes must leave something to be shown; got 100,000,000"):
        plots.step_memory(TRACE, 9_000_000, least_bytes=100_000_000)


def test_a_single_token_can_be_drawn():
    assert len(plots.softmax_steps(torch.zeros(1, 1), torch.ones(1, 1), ["a"]).pictures) == 3


def test_pictures_on_one_page_share_no_id():
    ids = [set(re.findall(r'\bid="([^"]*)"', picture.svg())) for picture in pictures().values()]
    assert len(set.union(*ids)) == sum(map(len, ids))


@pytest.mark.long
def test_a_picture_is_the_same_in_every_process():
    program = "import sys; sys.path.insert(0, 'tests'); import test_plots as t, hashlib; " \
        "print(hashlib.sha256(''.join(p.svg() for p in t.pictures().values()).encode()).hexdigest())"  # fmt: skip
    once, again = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout for _ in "12"
    )
    assert once == again and len(once) == 65


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", plots.SERIES)
@pytest.mark.parametrize("background", BACKGROUNDS)
def test_colours_stand_out_from_both_backgrounds(colour, background):
    assert contrast(colour, background) >= 3  # WCAG 2.1, success criterion 1.4.11


# Viénot, Brettel and Mollon (1999): how linear RGB looks without the red or the green cones.
BLIND = {
    "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
    "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
}


@pytest.mark.parametrize("kind", BLIND)
def test_colours_are_told_apart_by_the_colour_blind(kind):
    def seen(colour):
        rgb = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return (torch.tensor(BLIND[kind]) @ rgb**2.2).clamp(min=0) ** (1 / 2.2)

    colours = [seen(colour) for colour in plots.SERIES]
    apart = [(a - b).norm().item() for i, a in enumerate(colours) for b in colours[:i]]
    assert min(apart) > 0.15


def test_alternative_texts_give_the_numbers_that_were_drawn():
    w = torch.tensor([[[1.0, 0, 0], [0.5, 0.5, 0], [0.25, 0.5, 0.25]]])
    assert "looks most at b, token 2, with weight 0.50" in plots.heads(w, list("abc")).pictures[0].alt
    assert "the 3 of 9 above the diagonal" in plots.softmax_steps(w[0], w[0], list("abc")).pictures[1].alt
    assert "a: from 1.00 to 3.00" in plots.lines([1, 2], {"a": [1, 3]}, "x", "y").alt
    assert plots.bars(["a", "Ġb"], [0.75, 1234], "n", "t").alt == "t: n. a 0.75; ·b 1,234.00."
    assert "embeddings and head 31.6 %" in plots.shares({"gpt2": CONFIGS["gpt2"]}).alt


def test_bars_are_as_long_as_their_values_and_can_share_an_axis():
    values = [3.0, 1.0, 2.0]
    ax = plots.bars(list("abc"), values, "x", end=10).figure.axes[0]
    assert [bar.get_width() for bar in ax.patches] == values and ax.get_xlim() == (0, 10)
    assert [text.get_text() for text in ax.texts] == ["3.00", "1.00", "2.00"]


def test_shares_add_up():
    for config in CONFIGS.values():
        assert sum(plots.share_of(config).values()) == pytest.approx(100)


def test_tokens_are_shown_as_text():
    assert plots.word("Ġa") == "·a" and plots.word("Ċ") == "⏎" and plots.word("$") == r"\$"
    assert "&lt;b&gt;" in pictures()["head 1"].svg()


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(ValueError, match=r"weights must be \(n, 3, 3\) for 3 tokens; got \(2, 5, 5\)"):
        plots.heads(weights(), list("abc"))
    with pytest.raises(ValueError, match="values must be one for each of 2 names, .*; got 1"):
        plots.bars(["a", "b"], [1], "x")
    with pytest.raises(ValueError, match="values must be at least 1; got 0.5"):
        plots.bars(["a"], [0.5], "x", log=True)
    with pytest.raises(ValueError, match="series must hold 4 lines at most, or colours repeat; got 5"):
        plots.lines([1], {str(i): [1] for i in range(5)}, "x", "y")


def test_a_picture_can_be_saved(tmp_path):
    picture = pictures()["lines"]
    picture.save(tmp_path / "lines.svg")
    assert ElementTree.parse(tmp_path / "lines.svg").getroot().tag.endswith("svg")
    assert "currentColor" not in (tmp_path / "lines.svg").read_text()
