import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minigpt import CONFIGS, GPT, Block, FeedForward, GPTConfig, MultiHeadAttention, parameters
from minigpt.page import shapes
from minigpt.parameters import by_module, count, count_params, params_by_group, short, summary
from minigpt.table import Table


def on_meta(module, *arguments, **options):
    with torch.device("meta"):
        return module(*arguments, **options)


@st.composite
def configs(draw):
    size = st.integers(1, 40)
    heads = draw(st.integers(1, 6))
    return GPTConfig(
        vocab_size=draw(size),
        context_length=draw(size),
        d_model=heads * draw(st.integers(1, 12)),
        n_heads=heads,
        n_layers=draw(st.integers(1, 4)),
        d_ff=draw(st.none() | size),
        bias=draw(st.booleans()),
        tie_weights=draw(st.booleans()),
    )


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(configs())
def test_closed_form_is_the_live_module(config):
    model = on_meta(GPT, config)
    assert count_params(config) == count(model) == sum(params_by_group(config).values()) == by_module(config).total


@settings(max_examples=100, deadline=None)
@given(configs())
def test_every_group_and_every_row_is_the_live_modules(config):
    model = on_meta(GPT, config)
    attention = sum(count(block.attention) for block in model.blocks)
    feed_forward = sum(count(block.feed_forward) for block in model.blocks)
    norms = sum(count(m) for m in model.modules() if isinstance(m, nn.LayerNorm))
    head = 0 if config.tie_weights else count(model.head)
    live = (count(model.token_embedding), count(model.position_embedding), attention, feed_forward, norms, head)
    assert tuple(params_by_group(config).values()) == live
    letters = {"V": config.vocab_size, "T_max": config.context_length, "C": config.d_model, "F": config.d_ff}
    for name, formula, each, times, total in by_module(config).rows:
        assert shapes.evaluate(formula.removesuffix(", tied"), letters) == each, (name, formula)
        if name != "head":
            module = model.blocks[0].get_submodule(name[6:]) if name.startswith("block.") else model.get_submodule(name)
            assert (each, each * times) == (count(module), total), name


def test_the_homeworks_numbers():
    assert count_params(CONFIGS["homework"]) == count(on_meta(GPT, CONFIGS["homework"])) == 301_771_520
    assert count_params(CONFIGS["gpt3-175b"]) == count(on_meta(GPT, CONFIGS["gpt3-175b"])) == 174_604_259_328
    assert parameters.attention_params(768) == count(MultiHeadAttention(768, 12)) == 2_362_368


@pytest.mark.parametrize("name", CONFIGS)
def test_every_named_configuration_can_be_built(name):
    assert count(on_meta(GPT, CONFIGS[name])) == count_params(CONFIGS[name])


@pytest.mark.parametrize("owner", [MultiHeadAttention, FeedForward, Block, GPT])
def test_the_number_in_a_docstring_is_the_modules(owner):
    gpt2 = CONFIGS["gpt2"]
    module = on_meta(owner, 768, 12) if owner is MultiHeadAttention else on_meta(owner, gpt2)
    stated = re.findall(r"([\d,]+,\d{3}) parameters", " ".join(owner.__doc__.split()))
    assert stated == [f"{count(module):,}"]


def test_the_rule_of_thumb_is_the_blocks_matrices():
    model = on_meta(GPT, CONFIGS["gpt2"])
    matrices = sum(p.numel() for block in model.blocks for p in block.parameters() if p.dim() == 2)
    assert parameters.rule_of_thumb(CONFIGS["gpt2"]) == matrices


def test_a_tied_head_counts_once_and_frozen_parameters_apart():
    model = GPT(CONFIGS["mini"])
    model.position_embedding.weight.requires_grad_(False)
    frozen = 128 * 128
    assert count(model, trainable=False) == frozen
    assert count(model, trainable=True) == count(model) - frozen == 940_800 - frozen


def test_summary_is_the_homeworks_log():
    assert str(summary(on_meta(GPT, CONFIGS["homework"]))) == (
        "301 M     Trainable params\n"
        "0         Non-trainable params\n"
        "301 M     Total params\n"
        "1,207.086 Total estimated model params size (MB)"
    )


def test_summary_counts_bytes_by_dtype():
    assert summary(nn.Linear(9, 1).half()).size_bytes == 20


@pytest.mark.parametrize(
    "number, text",
    [(0, "0"), (999, "999"), (1_000, "1.0 K"), (2_362_368, "2.4 M"), (99_900_000, "99.9 M"), (301_771_520, "301 M"),
     (174_604_259_328, "174 B"), (10**12, "1.0 T"), (10**16, "10000 T"), (100_000_000, "100 M"), (1, "1")],
)  # fmt: skip
def test_short(number, text):
    assert short(number) == text


def test_short_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="number must be at least 0; got -1"):
        short(-1)


@pytest.mark.parametrize("number", [2.5, True, "8", None, np.float64(3)])
def test_short_takes_ints_alone(number):
    with pytest.raises(TypeError, match="number must be an int; got"):
        short(number)
    assert short(np.int64(2_362_368)) == "2.4 M" and short(100_000_000) == "100 M" and short(100) == "100"
    assert short(100_900_000) == "100 M" and short(1_000_000) == "1.0 M" and short(10**15) == "1000 T"


FORMULAS = {
    "attention": lambda C, b=True: parameters.attention_params(C, b),
    "feed-forward": lambda C, b=True: parameters.feed_forward_params(C, C, b),
    "feed-forward F": lambda C, b=True: parameters.feed_forward_params(8, C, b),
    "norm": lambda C, b=True: parameters.norm_params(C, b),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("value", [-1, 0, float("nan"), 2.5, True, "8", None, [8], np.float32(8)])
def test_a_formula_refuses_what_is_no_size(name, value):
    with pytest.raises((TypeError, ValueError), match="^(d_model|d_ff) must be "):
        FORMULAS[name](value)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_counts_exactly_from_numpys_ints(name):
    large = 100_000
    for integer in (np.int32, np.int64, np.uint32):
        for bias in (True, False):
            found = FORMULAS[name](integer(large), np.bool_(bias))
            assert type(found) is int and found == FORMULAS[name](large, bias) > 0
    assert FORMULAS[name](np.int8(100)) == FORMULAS[name](100)
    with pytest.raises(TypeError, match="bias must be True or False; got 2"):
        FORMULAS[name](8, 2)


OF_A_MODEL = (params_by_group, count_params, by_module, parameters.rule_of_thumb)


@pytest.mark.parametrize("formula", OF_A_MODEL)
def test_a_configurations_name_will_do_and_nothing_else(formula):
    assert str(formula("homework")) == str(formula(CONFIGS["homework"]))
    for value in (None, 5, {}, "gpt9", [CONFIGS["mini"]]):
        with pytest.raises((TypeError, ValueError), match="config must be a GPTConfig or one of"):
            formula(value)


@pytest.mark.parametrize("names", ["gpt2", None, 5, [5], ["gpt9"], [CONFIGS["mini"]]])
def test_a_family_is_of_names(names):
    with pytest.raises((TypeError, ValueError), match="names must be"):
        parameters.family(names)


@pytest.mark.parametrize("module", [None, 5, "gpt2", CONFIGS["mini"], {}])
def test_only_modules_are_counted(module):
    for counting in (count, summary):
        with pytest.raises(TypeError, match="module must be a torch.nn.Module; got"):
            counting(module)
    with pytest.raises(TypeError, match="trainable must be True or False; got 1"):
        count(nn.Linear(2, 2), trainable=1)


def test_names_of_modules_are_shown_as_code():
    html = by_module(CONFIGS["gpt2"])._repr_html_()
    assert "<code>block.attention</code>" in html and "<code>4" not in html


def test_family_shows_the_rules_error():
    table = parameters.family(["gpt2", "gpt3-175b"])
    assert [row[-1] for row in table.rows] == ["-31.7%", "-0.4%"]


def test_a_table_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match="total must be the sum of the last column, 3; got 4"):
        Table(("a", "b"), [("x", 1), ("y", 2)], total=4)
    with pytest.raises(ValueError, match="columns must be two at least"):
        Table(("a",), [(1,)], total=1)
    with pytest.raises(ValueError, match="columns must each have a heading"):
        Table(("", "n"), [("a", 1)])
    with pytest.raises(ValueError, match="rows must have 2 cells"):
        Table(("a", "b"), [("x",)])


def test_a_table_reads_as_text_and_as_html():
    table = Table(("what", "n"), [("<b>", 1_000), ("y", 2)], total=1_002, code=(0,), caption="Two & one")
    assert str(table).splitlines() == ["what       n", "-" * 12, "<b>    1,000", "y          2", "total  1,002"]
    html = table._repr_html_()
    assert "<code>&lt;b&gt;</code>" in html and "Two &amp; one" in html and "<b>" not in html
    assert 'class="num">1,002' in html
