import math

import numpy as np
import pytest
from hanging import interrupted

from minigpt import CONFIGS, GPTConfig
from minigpt.checks import check_heads, check_size
from minigpt.config import MAX_SIZES, configuration
from minigpt.parameters import count_params

SIZES = ("vocab_size", "context_length", "d_model", "n_heads", "n_layers", "d_ff")


def test_attention_dropout_follows_dropout_unless_it_was_set():
    mini = CONFIGS["mini"]
    assert mini.but(dropout=0.1).attention_dropout == 0.1
    assert mini.but(dropout=0.1, attention_dropout=0.0).but(dropout=0.2).attention_dropout == 0.0
    with pytest.raises(ValueError, match="attention_dropout must be at least 0 and less than 1; got 1.5"):
        mini.but(attention_dropout=1.5)


@pytest.mark.parametrize("field", SIZES)
@pytest.mark.parametrize(
    "value, error", [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("8", TypeError), (True, TypeError)]
)
def test_an_impossible_size_is_refused_by_name(field, value, error):
    with pytest.raises(error, match=rf"{field} must .*{value}"):
        CONFIGS["mini"].but(**{field: value})


@pytest.mark.parametrize("field", SIZES[:-1])
def test_none_is_no_size(field):
    with pytest.raises(TypeError, match=field):
        CONFIGS["mini"].but(**{field: None})


@pytest.mark.parametrize(
    "value, error", [(1, ValueError), (1.5, ValueError), (-0.1, ValueError), (math.nan, ValueError)]
)
def test_dropout_outside_its_interval_is_refused(value, error):
    with pytest.raises(error, match=rf"dropout must be at least 0 and less than 1; got {value}"):
        CONFIGS["mini"].but(dropout=value)


@pytest.mark.parametrize("value", ["0.1", None, True])
def test_dropout_must_be_a_number(value):
    with pytest.raises(TypeError, match="dropout must be a number"):
        CONFIGS["mini"].but(dropout=value)


@pytest.mark.parametrize("field", ["bias", "tie_weights"])
@pytest.mark.parametrize("value", [0, 1, "yes", None])
def test_a_switch_is_true_or_false(field, value):
    with pytest.raises(TypeError, match=f"{field} must be True or False"):
        CONFIGS["mini"].but(**{field: value})


def test_heads_must_share_the_width_and_the_error_says_which_numbers_would():
    with pytest.raises(ValueError, match=r"n_heads=10, d_model=768 \(n_heads=8 or 12 would do\)"):
        CONFIGS["gpt2"].but(n_heads=10)
    with pytest.raises(ValueError, match=r"n_heads=7, d_model=6 \(n_heads=6 would do\)"):
        CONFIGS["mini"].but(d_model=6, n_heads=7)


@pytest.mark.parametrize("field", SIZES)
def test_no_size_is_above_its_bound(field):
    most = MAX_SIZES[field]
    assert most >= 10_000
    with pytest.raises(ValueError, match=f"{field} must be at most {most:,}; got {most + 1}$"):
        CONFIGS["mini"].but(**{"d_ff": 1, field: most + 1})
    with pytest.raises(ValueError, match=f"{field} must be at most {most:,}; got an int of 33220 bits$"):
        CONFIGS["mini"].but(**{"d_ff": 1, field: 10**10_000})
    if field not in ("n_heads", "d_model"):
        assert getattr(CONFIGS["mini"].but(**{field: most}), field) == most
    assert CONFIGS["mini"].but(d_model=10**9).d_ff == 4 * 10**9


@pytest.mark.parametrize("number", [np.int32(8), np.int64(8), np.uint8(8)])
def test_numpys_numbers_become_pythons(number):
    config = GPTConfig(
        vocab_size=number, context_length=number, d_model=number, n_heads=number, n_layers=number,
        dropout=np.float32(0.5), bias=np.True_, tie_weights=np.False_,
    )  # fmt: skip
    assert [type(getattr(config, field)) for field in SIZES] == [int] * 6 and config.d_ff == 32
    assert type(config.dropout) is type(config.attention_dropout) is float and config.dropout == 0.5
    assert config.bias is True and config.tie_weights is False
    assert CONFIGS["mini"].but(d_model=np.int32(100_000), n_heads=1).d_ff == 400_000
    with pytest.raises(TypeError, match=r"n_layers must be an int; got 8.0 \(float64\)"):
        config.but(n_layers=np.float64(8))
    with pytest.raises(TypeError, match=r"n_layers must be an int; got True \(bool"):
        config.but(n_layers=np.True_)
    assert type(check_size("x", number)) is int
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and less than 1; got nan"):
        config.but(dropout=np.float32("nan"))


def at_once(call):
    """What a call raises, or returns."""
    with interrupted():
        try:
            return call()
        except (TypeError, ValueError) as error:
            return error


@pytest.mark.parametrize(
    "d_model, n_heads, near",
    [
        (10**8 + 7, 3, "1 or 100000007"),
        (10**9 - 63, 10, "1 or 999999937"),  # a prime
        (2**29, 3, "2 or 4"),
        (2**29, 2**28 + 1, "268435456 or 536870912"),
        (31_607 * 31_627, 31_610, "31607 or 31627"),
        (36, 7, "6 or 9"),
        (36, 37, "36"),
    ],
)
def test_the_nearest_numbers_of_heads_are_found_at_once(d_model, n_heads, near):
    error = at_once(lambda: CONFIGS["mini"].but(d_model=d_model, n_heads=n_heads))
    assert f"(n_heads={near} would do)" in str(error)


def test_heads_of_a_width_beyond_all_bounds_are_answered_too():
    assert "n_heads must divide d_model" in str(at_once(lambda: check_heads(10**30, 7)))
    assert "d_model must be at most" in str(at_once(lambda: CONFIGS["mini"].but(d_model=10**30, n_heads=7)))


@pytest.mark.parametrize("value", [None, 5, {"n_layers": 2}, ["gpt2"], "gpt9", np.int64(3), "x" * 10**6])
def test_what_is_no_configuration_is_refused_in_a_short_sentence(value):
    with pytest.raises((TypeError, ValueError), match="^config must be a GPTConfig or one of tiny, .*; got ") as caught:
        configuration(value)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("value", [["gelu"], "swish" * 1_000])
def test_a_choice_is_one_of_the_choices_whatever_is_given(value):
    with pytest.raises((TypeError, ValueError), match="^activation must be ") as caught:
        CONFIGS["mini"].but(activation=value)
    assert len(str(caught.value)) < 1_000


def test_an_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="activation must be one of gelu_tanh, gelu, relu; got 'swish'"):
        CONFIGS["mini"].but(activation="swish")


def test_d_ff_follows_d_model_unless_it_was_chosen():
    gpt2 = CONFIGS["gpt2"]
    assert gpt2.d_ff == 3072
    assert gpt2.but(d_model=1024, n_heads=16).d_ff == 4096
    assert gpt2.but(d_ff=1000).but(d_model=1536).d_ff == 1000
    assert gpt2.but(d_ff=1000).d_ff == 1000


def test_configurations_are_frozen_hashable_and_the_mapping_is_read_only():
    with pytest.raises(AttributeError):
        CONFIGS["gpt2"].d_model = 1
    with pytest.raises(TypeError):
        CONFIGS["gpt2"] = CONFIGS["mini"]
    assert len({CONFIGS["gpt2"], CONFIGS["gpt2"].but()}) == 1


def test_fields_have_to_be_named():
    with pytest.raises(TypeError):
        GPTConfig(50257, 1024, 768, 12, 12)


# Brown et al. (2020), Table 2.1: layers, d_model, d_head and the size as printed there, in millions.
TABLE = {
    "gpt3-small": (12, 768, 64, 125),
    "gpt3-medium": (24, 1024, 64, 350),
    "gpt3-large": (24, 1536, 96, 760),
    "gpt3-xl": (24, 2048, 128, 1_300),
    "gpt3-2.7b": (32, 2560, 80, 2_700),
    "gpt3-6.7b": (32, 4096, 128, 6_700),
    "gpt3-13b": (40, 5120, 128, 13_000),
    "gpt3-175b": (96, 12288, 128, 175_000),
}


@pytest.mark.parametrize("name", TABLE)
def test_gpt3_family_is_the_papers_table(name):
    layers, width, head, millions = TABLE[name]
    config = CONFIGS[name]
    assert (config.n_layers, config.d_model, config.d_head, config.d_ff) == (layers, width, head, 4 * width)
    assert (config.vocab_size, config.context_length) == (50257, 2048)
    assert count_params(config) / 1e6 == pytest.approx(millions, rel=0.02)


def test_every_family_is_complete():
    gpt2 = {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"}
    assert set(CONFIGS) == {"tiny", "mini", "shakespeare", "homework"} | gpt2 | set(TABLE)
    assert {name: CONFIGS[name].d_head for name in gpt2} == dict.fromkeys(gpt2, 64)
