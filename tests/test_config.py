import math

import pytest

from minigpt import CONFIGS, GPTConfig
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
    assert set(CONFIGS) == {"mini", "shakespeare", "homework"} | gpt2 | set(TABLE)
    assert {name: CONFIGS[name].d_head for name in gpt2} == dict.fromkeys(gpt2, 64)
