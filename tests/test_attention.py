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
