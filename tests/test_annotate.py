import ast
import importlib.util
import inspect
import re
import sys
import textwrap
from html.parser import HTMLParser

import pytest

import minigpt
from minigpt import GPT, Block, FeedForward, GPTConfig, MultiHeadAttention, annotate, attention, model, parameters
from minigpt.annotate import note_html

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
