"""Python beside JavaScript: the right lines of both."""

import pytest

from minigpt.model import Block
from minigpt.page.beside import beside
from minigpt.sampling import RandomNumbers


def test_a_method_stands_beside_its_twin():
    shown = beside(Block.forward, "model.js", "Block.forward")
    assert shown.python.startswith("def forward(self, x") and '"""' not in shown.python
    assert shown.javascript.startswith("forward(x, cache") and shown.javascript.endswith("}")
    assert "class" not in shown.javascript and "norm2" in shown.javascript
    assert "JavaScript" in shown._repr_html_() and repr(shown).startswith("Block.forward: ")


def test_a_function_is_found_where_it_is_made_and_not_where_it_is_called():
    assert beside(Block.forward, "model.js", "compare").javascript.startswith("function compare(queries, at")
    shown = beside(RandomNumbers.__call__, "sampling.js", "randomNumbers")
    assert shown.javascript.startswith("function randomNumbers(seed) {") and shown.javascript.count("\n}") == 1


@pytest.mark.parametrize("method", ["GPT.nothing", "Nothing.forward", "nothing"])
def test_what_is_not_there_is_named(method):
    with pytest.raises(ValueError, match=f"method must be one of model.js; got '{method}'"):
        beside(Block.forward, "model.js", method)
