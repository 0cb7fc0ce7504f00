import ast
import functools
import importlib.util
import inspect
import linecache
import re
import sys
import textwrap
from html.parser import HTMLParser

import pytest
import torch

import minigpt
from minigpt import (
    GPT,
    Block,
    FeedForward,
    GPTConfig,
    MultiHeadAttention,
    attention,
    model,
    parameters,
)
from minigpt.page import annotate, shapes
from minigpt.page.annotate import note_html

ODD = '''
# Why this exists.
@decorated
async def odd(x):
    """What it does."""
    # 1. First.
    text = """a

# no comment
b"""
    # 2. Second.
    if x:
        # 1. Again.
        return text  # (B, T)


class Empty(Exception):
    """Nothing but words."""


def one_line(): """Doc."""; return 1
'''.lstrip()


def odd_things(folder):
    """The odd source above, as objects that come from a file."""
    path = folder / "odd_things.py"
    path.write_text("decorated = lambda f: f\n\n\n" + ODD)
    spec = importlib.util.spec_from_file_location("odd_things", path)
    module = sys.modules["odd_things"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_odd_source_loses_nothing(tmp_path):
    module = odd_things(tmp_path)
    shown = annotate.annotate(module)
    notes = "\n".join(section.note for section in shown.sections)
    code = "\n".join(section.code for section in shown.sections)
    for line in ("Why this exists.", "What it does.", "1. First.", "2. Second.", "1. Again.", "Nothing but words."):
        assert line in notes
    for line in ("async def odd(x):", "# no comment", "return text  # (B, T)", 'def one_line(): """Doc."""; return 1'):
        assert line in code
    assert annotate.annotate(module.odd).sections[0].note == "What it does."  # comments above are not in its source
    anchors = [section.anchor for section in shown.sections]
    assert len(anchors) == len(set(anchors)) and "odd_things-odd-step-2" in anchors
    bare = {}
    exec(shown.bare, {"__name__": "bare"}, bare)  # noqa: S102
    assert bare["one_line"]() == 1 and issubclass(bare["Empty"], Exception)
    assert "a\n\n# no comment\nb" in shown.bare and "First" not in shown.bare


THINGS = [MultiHeadAttention, FeedForward, Block, GPT, GPTConfig, attention, model, parameters.short, annotate.annotate]


class Ids(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes["href"]] if tag == "a" else []
        self.open += [tag] if tag not in ("input", "br") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html):
    parser = Ids()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_sections_hold_the_whole_source(thing):
    shown = annotate.annotate(thing)
    code = "\n".join(section.code for section in shown.sections)
    kept = [line.partition("  #")[0].rstrip() for line in code.splitlines() if line.strip()]
    assert kept == [line for line in shown.bare.splitlines() if line.strip()]
    assert shown.code_lines == len(kept)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_without_comments_it_is_the_same_program(thing):
    def program(source):
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        return ast.dump(tree)

    assert program(annotate.annotate(thing).bare) == program(textwrap.dedent(inspect.getsource(thing)))


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.__name__)
def test_the_page_is_well_formed_and_every_section_has_an_address(thing):
    html = annotate.annotate(thing)._repr_html_()
    page = parsed(html)
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert html.count("<label><input") == 1
    assert "<script" not in html and "http" not in re.sub(r"https?://www.w3.org", "", html)


def test_the_steps_of_forward_are_addresses():
    anchors = [section.anchor for section in annotate.annotate(MultiHeadAttention).sections]
    assert [f"MultiHeadAttention-forward-step-{n}" for n in range(1, 7)] == [a for a in anchors if "-step-" in a]


def test_a_note_is_set_as_text():
    html = note_html(
        "First `code` & more.\n\n    a  <  b\n\n"
        "- one,\n  on two lines\n- two `x`\n\n"
        "Args:\n    x: what,\n        on two lines\n    y: that\n\nReturns:\n    It."
    )
    assert html == (
        "<p>First <code>code</code> &amp; more.</p><pre><code>a  &lt;  b</code></pre>"
        "<ul><li>one, on two lines</li><li>two <code>x</code></li></ul><p><strong>Args:</strong></p>"
        "<dl><dt>x</dt><dd>what, on two lines</dd><dt>y</dt><dd>that</dd></dl>"
        "<p><strong>Returns:</strong></p><p>It.</p>"
    )


CELL = """
class Mine:
    @decorated
    def doubled(self, x):
        # twice
        y = x + x  # (B, T)
        return y  # (B, T)

    @property
    def width(self):
        return 3


def summed(x):
    return x.sum(-1)  # (B,)


def outer():
    class Mine:
        def other(self):
            return 1
    return Mine


class Bare:
    size = 3
"""


def in_a_cell(source, name, **more):
    """What a notebook's cell defines: its source is nowhere but in linecache, its module has no file."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    values = {"__name__": "__nowhere__", "decorated": lambda f: functools.wraps(f)(lambda *a: f(*a)), **more}
    exec(compile(source, name, "exec"), values)  # noqa: S102
    return values


def test_what_a_notebooks_cell_defines_is_shown_and_watched():
    first = in_a_cell(CELL.replace("# twice", "# an older one"), "<cell 1>")
    cell = in_a_cell(CELL, "<cell 2>")
    for values, note in ((first, "an older one"), (cell, "twice")):  # of one name, and still not mistaken
        shown = annotate.annotate(values["Mine"])
        assert shown.name == "Mine" and note in [section.note for section in shown.sections]
        assert shown.bare.startswith("class Mine:") and "return 3" in shown.bare and "summed" not in shown.bare
    assert "def other" in annotate.annotate(cell["outer"]()).bare
    assert annotate.annotate(cell["Mine"].doubled).bare.startswith("@decorated\ndef doubled")
    assert annotate.annotate(cell["Mine"]().doubled).name == "doubled"
    assert annotate.annotate(cell["Mine"].width).bare == "@property\ndef width(self):\n    return 3"
    x, letters = torch.zeros(2, 3), {"B": 2, "T": 3}
    seen = shapes.watch(lambda: cell["Mine"]().doubled(x), letters, [cell["Mine"], cell["summed"]])
    assert [s.target for s in seen] == ["y", "return"] and shapes.wrong(seen) == []
    seen = shapes.watch(lambda: cell["summed"](x), {"B": 9}, [functools.partial(cell["summed"])])
    assert shapes.wrong(seen) == ["<cell 2>:15: return is (2,), but the comment says (B,) = (9,)"]


@pytest.mark.parametrize("show", [annotate.annotate, shapes.read])
def test_what_has_no_source_says_why(show):
    nowhere = {"__name__": "minigpt.model"}  # whose file has another class of this name
    exec("class GPT:\n    def f(self): pass\ndef f(): pass", nowhere)  # noqa: S102
    some = GPT(GPTConfig(vocab_size=3, context_length=2, d_model=2, n_heads=1, n_layers=1))
    for thing, why in (
        (nowhere["GPT"], "is found by its methods, of which none has a source"),
        (nowhere["f"], "could not get source code"),
        (in_a_cell(CELL, "<cell 3>")["Bare"], "is found by its methods, of which none has a source"),
        (lambda x: x, "a lambda has no lines to itself"),
        (len, "what is built in has none"),
        (functools.partial(len), "what is built in has none"),
        (torch.add, "what is built in has none"),
        (int, "none has a source"),
        (some, "if anything here has one, it is the class GPT"),
        (torch.compile(some), "if anything here has one, it is the class GPT"),
        (3, "if anything here has one, it is the class int"),
    ):
        with pytest.raises(TypeError, match="source_of must be a module, class or function") as caught:
            show(thing)
        assert why in str(caught.value) and len(str(caught.value)) < 300


def test_what_a_function_is_wrapped_in_is_taken_off():
    compiled = torch.compile(annotate.style, backend="eager")
    for thing in (
        functools.partial(annotate.count_lines),
        annotate.style,
        compiled,
        functools.lru_cache(annotate.style),
    ):
        assert "def " in annotate.annotate(thing).bare
    assert annotate.annotate(shapes.Seen).bare.startswith(
        "@dataclass(frozen=True)\nclass Seen:"
    )  # its methods are made


@pytest.mark.parametrize("thing", [3, len, "text"])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(TypeError, match="source_of must be a module, class or function"):
        annotate.annotate(thing)


def test_it_says_how_much_there_is():
    shown = annotate.annotate(FeedForward)
    assert repr(shown) == f"FeedForward: {shown.code_lines} lines of code, {shown.note_lines} of notes"
    assert shown.code_lines == 14


def test_the_same_source_gives_the_same_html():
    assert annotate.annotate(minigpt.model)._repr_html_() == annotate.annotate(minigpt.model)._repr_html_()
