import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minigpt import KVCache, MultiHeadAttention

B, T, C, H = 3, 7, 24, 4


def layer_and_input(dtype=torch.double, **options):
    return MultiHeadAttention(C, H, **options).to(dtype).eval(), torch.randn(B, T, C, dtype=dtype)


@pytest.mark.parametrize("dtype, atol", [(torch.float, 1e-5), (torch.double, 1e-12)])
@pytest.mark.parametrize("bias", [True, False])
def test_explicit_equals_fused(dtype, atol, bias):
    layer, x = layer_and_input(dtype, bias=bias)
    explicit, weights = layer(x, return_weights=True)
    assert torch.allclose(layer(x), explicit, atol=atol, rtol=0)
    assert weights.shape == (B, H, T, T)
    assert torch.allclose(weights.sum(-1), torch.ones(B, H, T, dtype=dtype))
    assert (weights.triu(1) == 0).all()


def test_fused_can_be_switched_off(monkeypatch):
    layer, x = layer_and_input()
    expected = layer(x)
    monkeypatch.setattr(F, "scaled_dot_product_attention", None)
    with pytest.raises(TypeError):
        layer(x)
    layer.fused = False
    assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype, atol", [(torch.float, 1e-5), (torch.double, 1e-12)])
def test_equals_pytorchs_module_with_the_same_weights(dtype, atol):
    layer, x = layer_and_input(dtype)
    theirs = nn.MultiheadAttention(C, H, batch_first=True, dtype=dtype).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]))
        theirs.out_proj.load_state_dict(layer.output.state_dict())
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    out, weights = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    ours, our_weights = layer(x, return_weights=True)
    assert torch.allclose(ours, out, atol=atol, rtol=0)
    assert torch.allclose(our_weights, weights, atol=atol, rtol=0)


@pytest.mark.parametrize("fused", [True, False])
def test_causal_to_the_bit(fused):
    layer, x = layer_and_input()
    layer.fused = fused
    before = layer(x)
    for t in range(T):
        disturbed = x.clone()
        disturbed[:, t:] += torch.randn(B, T - t, C, dtype=torch.double)
        after = layer(disturbed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t:], before[:, t:])


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cuts", [[1] * T, [3, 4], [4, 1, 2], [T]])
def test_with_a_cache_as_without(fused, cuts):
    layer, x = layer_and_input()
    layer.fused = fused
    cache, start, outs = KVCache(T), 0, []
    with torch.no_grad():
        for length in cuts:
            outs.append(layer(x[:, start : start + length], cache))
            start += length
            assert cache.length == start
    assert torch.allclose(torch.cat(outs, 1), layer(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_gradients(fused):
    layer = MultiHeadAttention(4, 2).double()
    layer.fused = fused
    x = torch.randn(2, 3, 4, dtype=torch.double, requires_grad=True)
    names, weights = zip(*layer.named_parameters(), strict=True)

    def function(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))

    assert torch.autograd.gradcheck(function, (x, *weights))


@pytest.mark.parametrize("fused", [True, False])
def test_dropout_drops_in_training_and_only_there(fused):
    layer, x = layer_and_input(dropout=0.5)
    layer.fused = fused
    assert torch.equal(layer(x), layer(x))
    layer.train()
    assert not torch.allclose(layer(x), layer(x))


def test_what_was_seen_before_a_wrong_call_is_kept():
    layer, x = layer_and_input(context_length=T)
    cache = KVCache(T)
    with torch.no_grad():
        layer(x, cache)
        with pytest.raises(ValueError, match=f"x may show {T} positions at most; got {T + 1}"):
            layer(x[:, :1], cache)
    assert cache.length == T


@pytest.mark.parametrize("shape", [(T, C), (B, T, C + 1), (B, T, C, 1)])
def test_a_wrong_shape_is_named(shape):
    layer, _ = layer_and_input()
    with pytest.raises(ValueError, match=r"x must be \(B, T, 24\); got"):
        layer(torch.zeros(shape, dtype=torch.double))


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"n_heads": 5}, ValueError, "n_heads must divide d_model"),
        ({"d_model": 0}, ValueError, "d_model must be at least 1"),
        ({"n_heads": 2.0}, TypeError, "n_heads must be an int"),
        ({"context_length": 0}, ValueError, "context_length must be at least 1"),
        ({"dropout": 1.0}, ValueError, "dropout must be"),
        ({"bias": 1}, TypeError, "bias must be True or False"),
    ],
)
def test_an_impossible_argument_is_named(change, error, message):
    with pytest.raises(error, match=message):
        MultiHeadAttention(**{"d_model": C, "n_heads": H, **change})


def test_a_cache_refuses_gradients_other_batches_and_overflow():
    layer, x = layer_and_input()
    with pytest.raises(RuntimeError, match="torch.no_grad"):
        layer(x, KVCache(T))
    with torch.no_grad():
        cache = KVCache(T)
        layer(x[:, :3], cache)
        with pytest.raises(ValueError, match=r"\(B, H, D\) = \(3, 4, 6\); got \(1, 4, 6\)"):
            layer(x[:1, 3:4], cache)
        with pytest.raises(ValueError, match=f"fit into {T} positions"):
            layer(x, cache)
        assert cache.length == 3
        fresh = KVCache(2)
        with pytest.raises(ValueError, match="fit into 2 positions"):
            layer(x, fresh)
        layer(x[:1, :1], fresh)  # the failure left nothing behind
    with pytest.raises(ValueError, match="context_length must be at least 1; got 0"):
        KVCache(0)


def test_it_prints_how_the_width_is_shared():
    assert "4 heads of 6" in repr(MultiHeadAttention(C, H))


@pytest.mark.parametrize(
    "x, error, message",
    [
        ([[1.0]], TypeError, "x must be a tensor of floating-point numbers; got list"),
        (torch.zeros(B, T, C).numpy(), TypeError, "x must be a tensor of floating-point numbers; got ndarray"),
        (torch.zeros(B, T, C), ValueError, "x must hold numbers like the weights', torch.float64; got torch.float32"),
        (torch.zeros(B, T, C).long(), ValueError, "torch.float64; got torch.int64"),
        (torch.zeros(B, T, C, dtype=torch.double, device="meta"), ValueError, "x must hold numbers.*a meta tensor"),
    ],
)
def test_what_cannot_be_read_is_named(x, error, message):
    layer, _ = layer_and_input()
    with pytest.raises(error, match=message):
        layer(x)


def test_autocast_takes_what_it_converts_and_only_that():
    layer, x = layer_and_input(torch.float)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x.bfloat16()).dtype == layer(x).dtype == torch.bfloat16
        for wrong in (x.long(), x.double()):
            with pytest.raises(ValueError, match="x must hold numbers like the weights', torch.float32"):
                layer(wrong)


def test_a_projection_of_another_kind_is_left_alone():
    layer, x = layer_and_input(torch.float)
    expected = layer(x)
    layer.query = nn.Sequential(layer.query)
    assert torch.equal(layer(x), expected)


def test_shapes_alone_can_be_computed():
    layer = MultiHeadAttention(C, H).to("meta")
    assert layer(torch.zeros(B, T, C, device="meta")).shape == (B, T, C)


@torch.no_grad()
@pytest.mark.parametrize("first", [True, False])
def test_a_cache_is_filled_with_autocast_and_used_without_and_the_other_way_round(first):
    layer, x = layer_and_input(torch.float)
    cache, expected = KVCache(T), layer(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=first):
        layer(x[:, :3], cache)
    for fused, part in ((True, slice(3, 5)), (False, slice(5, T))):
        layer.fused = fused
        with torch.autocast("cpu", torch.bfloat16, enabled=not first):
            out = layer(x[:, part], cache)
        assert out.dtype == (torch.float if first else torch.bfloat16)
        assert torch.allclose(out.float(), expected[:, part], rtol=0, atol=0.02)
    assert cache.keys.dtype == (torch.bfloat16 if first else torch.float)


def test_what_is_no_cache_is_named():
    layer, x = layer_and_input()
    with pytest.raises(TypeError, match="cache must be a KVCache or None; got list"):
        layer(x, [])
    with pytest.raises(ValueError, match=r"same shape \(B, H, T, D\); got \(1, 2, 3, 4\) and \(1, 2, 3, 5\)"):
        KVCache(T).append(torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 5))


@torch.no_grad()
def test_a_cache_goes_back_to_an_earlier_position_and_to_its_beginning():
    layer, x = layer_and_input()
    cache = KVCache(T)
    layer(x, cache)
    cache.truncate(4)
    assert cache.length == 4 and torch.allclose(layer(x[:, 4:], cache), layer(x)[:, 4:], rtol=0, atol=1e-12)
    for length in (T + 1, -1, 1.5, None):
        with pytest.raises(ValueError, match=f"length must be an int from 0 to {T}, the positions held; got {length}"):
            cache.truncate(length)
    cache.truncate(0)
    assert torch.allclose(layer(x[:1].float().double(), cache), layer(x[:1]), rtol=0, atol=1e-6)


@torch.no_grad()
def test_what_was_read_once_goes_on_in_several_ways():
    layer, x = layer_and_input()
    both = x.repeat_interleave(2, dim=0)
    both[:, 4:] = torch.randn(2 * B, T - 4, C, dtype=torch.double)
    cache = KVCache(T)
    cache.repeat(5)  # nothing is held yet
    layer(x[:, :4], cache)
    cache.repeat(2)
    assert torch.allclose(layer(both[:, 4:], cache), layer(both)[:, 4:], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="times must be at least 1; got 0"):
        cache.repeat(0)


def test_the_context_is_gpt2s_unless_another_is_given():
    assert MultiHeadAttention(C, H).context_length == 1_024
    assert MultiHeadAttention(C, H, context_length=9).context_length == 9


@pytest.mark.parametrize("dtype, is_explicit", [(torch.float32, False), (torch.bfloat16, True), (torch.float16, True)])
def test_a_cpu_takes_the_formula_in_16_bits_and_the_kernel_in_32(dtype, is_explicit, monkeypatch):
    layer, x = layer_and_input(dtype)
    taken = []

    def noted(*_):
        taken.append(True)
        return torch.ones(B, H, T, T, dtype=dtype)

    monkeypatch.setattr(layer, "attention_weights", noted)
    layer(x)
    assert bool(taken) == is_explicit
