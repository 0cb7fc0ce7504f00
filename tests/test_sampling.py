"""Sampling against Hugging Face's warpers, against chance, and against every setting that is impossible."""

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from chance import p_value
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import minigpt.model
from minigpt import GPT, GPTConfig, pretrained, sampling
from minigpt.model import evaluating
from minigpt.sampling import (
    RandomNumbers,
    complete,
    draw,
    entropy_bits,
    generate,
    greedy_decode,
    next_logits,
    next_token_probabilities,
    stream,
)

CONFIG = GPTConfig(vocab_size=29, context_length=12, d_model=16, n_heads=2, n_layers=2, dropout=0.5)
KINDS = {
    "spread": lambda B, V: torch.randn(B, V) * 3,
    "peaked": lambda B, V: torch.randn(B, V) * 40,
    "flat": lambda B, V: torch.zeros(B, V),
    "many ties": lambda B, V: torch.randint(0, 4, (B, V)).float(),
    "ruled out": lambda B, V: torch.randn(B, V).masked_fill(torch.rand(B, V) < 0.5, -torch.inf).index_fill(
        1, torch.tensor([0]), 0.0
    ),
}  # fmt: skip


@pytest.fixture
def model():
    return GPT(CONFIG).double().eval()


def warped(logits, temperature, top_k, top_p, min_p):
    """What Hugging Face's generate draws from."""
    logits = TemperatureLogitsWarper(float(temperature))(None, logits)
    if top_k is not None:
        logits = TopKLogitsWarper(top_k)(None, logits)
    if top_p is not None:
        logits = TopPLogitsWarper(top_p)(None, logits)
    if min_p is not None:
        logits = MinPLogitsWarper(min_p)(None, logits)
    return logits.softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("V", [1, 2, 7, 50, 1000])
def test_the_distribution_is_hugging_faces(kind, V):
    """4,000 rows of each kind and size, in double precision so that rounding decides nothing."""
    choice = torch.Generator().manual_seed(V)

    def one_of(*values):
        return values[torch.randint(len(values), (), generator=choice)]

    for _ in range(80):
        logits = KINDS[kind](50, V).double()
        temperature = one_of(0.05, 0.3, 1.0, 1.7, 2.0, 10.0)
        top_k = one_of(None, 1, 2, V, V + 3)
        top_p = one_of(None, 0.1, 0.5, 0.9, 0.999, 1.0, torch.rand((), generator=choice).item())
        min_p = one_of(None, 0.0, 0.05, 0.3, 1.0)
        ours = next_token_probabilities(logits, temperature, top_k, top_p, min_p)
        theirs = warped(logits, temperature, top_k, top_p, min_p)
        if kind in ("flat", "many ties"):  # which of the tied tokens stay is open there, and settled here
            ours, theirs = ours.sort(-1).values, theirs.sort(-1).values
        assert torch.equal(ours > 0, theirs > 0)
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_single_precision_agrees_as_well():
    for top_k, top_p, min_p in ((None, None, None), (40, None, None), (None, 0.9, None), (None, None, 0.1)):
        logits = torch.randn(500, 1000)
        ours, theirs = (f(logits, 0.7, top_k, top_p, min_p) for f in (next_token_probabilities, warped))
        assert ours.dtype == torch.float32
        # A token at the line may fall to either side by rounding, which moves its own small mass.
        assert ((ours > 0) != (theirs > 0)).sum() <= 5
        assert torch.allclose(ours, theirs, rtol=0, atol=2e-3)


def test_ties_at_k_stay_and_ties_at_p_are_settled():
    tied = torch.tensor([1.0, 3.0, 3.0, 3.0, 0.0])
    assert (next_token_probabilities(tied, top_k=2) > 0).tolist() == [False, True, True, True, False]
    flat = torch.zeros(4)
    assert (next_token_probabilities(flat, top_p=0.5) > 0).tolist() == [True, True, False, False]
    assert (next_token_probabilities(tied, top_p=0.5) > 0).tolist() == [False, True, True, False, False]
    assert next_token_probabilities(tied, temperature=0).tolist() == [0, 1, 0, 0, 0]


def test_the_token_that_crosses_p_is_kept():
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    assert [(next_token_probabilities(logits, top_p=p) > 0).sum().item() for p in (0.01, 0.51, 0.74, 0.76, 1.0)] == [
        1, 2, 2, 3, 4,
    ]  # fmt: skip


def test_the_order_is_temperature_then_k_then_p_then_min():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.double).log()
    assert (next_token_probabilities(logits, temperature=2, top_p=0.75) > 0).sum() == 3  # 0.43 + 0.33 + 0.24
    assert (next_token_probabilities(logits, top_p=0.75) > 0).sum() == 2
    # Of the two that top-k leaves the first has 0.625: enough for p = 0.6. Of all four it would not be.
    assert (next_token_probabilities(logits, top_k=2, top_p=0.6) > 0).sum() == 1
    assert (next_token_probabilities(logits, top_p=0.6) > 0).sum() == 2
    # Min-p is measured by the likeliest, which no cut before it changes; but it does change what a later top-p sees:
    # 0.5 of the 0.8 that min-p 0.4 leaves would be enough for 0.6. As it is, top-p comes first and keeps two.
    assert (next_token_probabilities(logits, top_p=0.6, min_p=0.4) > 0).sum() == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_computed_in_single(dtype):
    p = next_token_probabilities(torch.randn(3, 100).to(dtype), top_p=0.9)
    assert p.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(p.sum(-1), torch.ones(3, dtype=p.dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_extremes_neither_overflow_nor_vanish(dtype):
    logits = torch.tensor([1e4, -1e4, 1e4 - 8, -math.inf]).to(dtype)
    for temperature in (1e-300, 1e-50, 1e-3, 1, 1e39, 1e300, 10**400):
        p = next_token_probabilities(logits, temperature)
        assert p.isfinite().all() and p.sum() == pytest.approx(1) and p[3] == 0


@pytest.mark.parametrize("V", [20, 1_000, 50_000])
def test_of_equal_tokens_the_smaller_ids_stay_however_many_there_are(V):
    logits = torch.randint(0, 4, (V,)).double()
    kept = next_token_probabilities(logits, top_p=0.5) > 0
    for value in range(4):
        those = kept[logits == value]
        assert those.sum() == those.cumprod(0).sum()  # a run from the beginning


def test_numbers_that_no_tensor_can_hold_are_rounded_to_ones_it_can():
    logits = torch.tensor([0.0, 1.0, 2.0])
    for huge in (10**19, 10**30, 10**38, 10**39, 10**308, 10**309, 10**400):
        assert torch.allclose(next_token_probabilities(logits, huge), torch.full((3,), 1 / 3))
    assert next_token_probabilities(logits, Fraction(1, 10**400)).tolist() == [0, 0, 1]
    assert next_token_probabilities(logits, top_k=10**30).count_nonzero() == 3
    third = Fraction(1, 3)
    for same in (third, float(third), np.float32(third), np.float64(third)):
        expected = next_token_probabilities(logits, 1 / 3, None, 1 / 3, 1 / 3)
        assert torch.allclose(next_token_probabilities(logits, same, None, same, same), expected, atol=1e-6)


@pytest.mark.parametrize("top_p", [1e-20, 1e-9, 1e-300, 5e-324])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_however_little_is_kept_the_likeliest_is(top_p, dtype):
    logits = torch.tensor([[0.1, 0.3, 0.3, 0.2], [5, 0, 0, 0]], dtype=dtype)
    assert next_token_probabilities(logits, top_p=top_p).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


# Thousandths: two that differ still do after the largest was subtracted.
thousandths = st.lists(st.integers(-50_000, 50_000), min_size=2, max_size=40)
rows = thousandths.map(lambda row: torch.tensor(row, dtype=torch.double) / 1000)
temperatures = st.floats(0.05, 20)


@settings(deadline=None, max_examples=200)
@given(rows, temperatures, st.integers(1, 50), st.floats(0.01, 1), st.floats(0, 1))
def test_the_mass_is_one_and_the_order_is_kept(logits, temperature, top_k, top_p, min_p):
    p = next_token_probabilities(logits, temperature, top_k, top_p, min_p)
    assert p.sum().item() == pytest.approx(1)
    kept = p > 0
    assert logits[kept].max() == logits.max()
    if not kept.all():
        assert logits[kept].min() >= logits[~kept].max()
    assert (p[kept][logits[kept].argsort()].diff() >= -1e-15).all()


@settings(deadline=None, max_examples=200)
@given(rows, temperatures, st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted))
def test_a_smaller_p_never_leaves_more(logits, temperature, two):
    small, large = ((next_token_probabilities(logits, temperature, top_p=p) > 0) for p in two)
    assert not (small & ~large).any()


@settings(deadline=None, max_examples=100)
@given(rows, st.tuples(st.integers(1, 40), st.integers(1, 40)).map(sorted), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_smaller_k_and_a_larger_min_p_never_leave_more(logits, ks, min_ps):
    small, large = ((next_token_probabilities(logits, top_k=k) > 0) for k in ks)
    assert not (small & ~large).any()
    strict, mild = ((next_token_probabilities(logits, min_p=m) > 0) for m in (max(min_ps), min(min_ps)))
    assert not (strict & ~mild).any()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=30, unique=True), st.randoms(), st.floats(0.05, 1))
def test_tokens_in_another_order_have_the_same_probabilities(logits, random, top_p):
    logits = torch.tensor(logits, dtype=torch.double) / 10**5
    order = torch.tensor(random.sample(range(len(logits)), len(logits)))
    straight = next_token_probabilities(logits, 0.8, 20, top_p, 0.01)
    assert torch.allclose(next_token_probabilities(logits[order], 0.8, 20, top_p, 0.01), straight[order])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30, unique=True))
def test_towards_zero_all_goes_to_the_likeliest_and_towards_infinity_all_are_alike(logits):
    logits = torch.tensor(logits, dtype=torch.double)
    assert torch.allclose(next_token_probabilities(logits, 1e-3), next_token_probabilities(logits, 0))
    assert next_token_probabilities(logits, 0)[logits.argmax()] == 1
    flat = torch.full_like(logits, 1 / len(logits))
    assert torch.allclose(next_token_probabilities(logits, 1e9), flat, rtol=1e-5)


@settings(deadline=None, max_examples=100)
@given(rows, st.tuples(temperatures, temperatures).map(sorted))
def test_entropy_grows_with_temperature_up_to_that_of_equal_tokens(logits, two):
    cold, warm = (entropy_bits(next_token_probabilities(logits, t)) for t in two)
    assert -1e-9 <= cold <= warm + 1e-9 <= math.log2(len(logits)) + 1e-6


def test_entropy_of_what_is_certain_is_zero_and_of_a_batch_a_row_each():
    p = torch.tensor([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    assert entropy_bits(p).tolist() == [0, 2, 1]


def test_one_row_and_a_batch_of_rows_are_treated_alike():
    logits = torch.randn(6, 30)
    together = next_token_probabilities(logits, 0.9, 10, 0.8, 0.05)
    apart = torch.stack([next_token_probabilities(row, 0.9, 10, 0.8, 0.05) for row in logits])
    assert torch.equal(together, apart)


def test_drawn_tokens_are_distributed_as_their_probabilities():
    logits = torch.randn(40)
    for knobs in ({}, {"temperature": 2.0}, {"top_k": 9}, {"top_p": 0.8}, {"min_p": 0.2}):
        p = next_token_probabilities(logits, **knobs)
        counts = draw(p.expand(50_000, -1), torch.Generator().manual_seed(1)).bincount(minlength=40)
        assert p_value(counts, p) > 1e-3
    # The test can fail: the same counts do not pass for a slightly other temperature.
    assert p_value(counts, next_token_probabilities(logits, 1.1, min_p=0.2)) < 1e-6


def test_generated_tokens_are_distributed_as_the_models_probabilities(model):
    prompt = torch.tensor([3, 14, 15])
    p = next_token_probabilities(next_logits(model, prompt[None])[0], 1.3, top_p=0.9)
    batch = next(generate(model, prompt.expand(20_000, 3), 1, temperature=1.3, top_p=0.9, seed=0))
    assert p_value(batch.bincount(minlength=CONFIG.vocab_size), p) > 1e-3


def test_a_token_without_probability_is_never_drawn():
    p = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.5, 0.0])
    assert set(draw(p.expand(10_000, 6)).tolist()) == {2, 4}
    assert draw(torch.tensor([0.0, 1.0])).shape == ()


def test_weights_need_not_sum_to_one():
    p = torch.tensor([0.0, 3.0, 1.0, 4.0, 0.0])
    for scaled in (p, p / 8, p * 1e30, p * 1e-30, p.long()):
        counts = draw(scaled.expand(20_000, -1), torch.Generator().manual_seed(1)).bincount(minlength=5)
        assert p_value(counts, p / 8) > 1e-3


@pytest.mark.parametrize("share, drawn", [(0.0, 1), (0.25, 3), (0.75, 4), (1 - 2**-53, 4)])
def test_a_point_on_a_border_belongs_to_what_begins_there(share, drawn, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, share, dtype=torch.double))
    assert draw(torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])) == drawn
    assert draw(torch.tensor([[0, 1, 0, 2, 1, 0]])).tolist() == [drawn]


NO_DISTRIBUTIONS = [
    *([0, 0], [math.nan, 1], [1, math.nan], [math.inf, 1], [-1, 2], [-1, -2]),
    *([1e-320, 0], [1e308, 1e308]),  # sums that no share can be taken of
]


def test_what_is_no_distribution_is_refused():
    for function in (draw, entropy_bits):
        for row in NO_DISTRIBUTIONS:
            for p in (torch.tensor(row, dtype=torch.double), torch.tensor([[0.5, 0.5], row], dtype=torch.double)):
                with pytest.raises(ValueError, match="probabilities must be at least 0, and more than 0 and finite in"):
                    function(p)
        for p in (torch.zeros(0), torch.zeros(()), torch.ones(1, 1, 1), torch.zeros(2, 0), torch.zeros(0, 2)):
            with pytest.raises(ValueError, match=r"probabilities must have the shape \(V,\) or \(B, V\), none of"):
                function(p)
        for p in ([1.0], None, torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.complex64)):
            with pytest.raises(TypeError, match="probabilities must be a tensor of numbers; got"):
                function(p)
    with pytest.raises(ValueError, match=r"probabilities must sum to 1 in each row; got \[2.0\]"):
        entropy_bits(torch.ones(1, 2))
    assert entropy_bits(torch.tensor([0, 1])) == 0
    with pytest.raises(TypeError, match="generator must be a torch.Generator; got 5"):
        draw(torch.ones(2), 5)


def tokens_of(iterator):
    return torch.stack(list(iterator), dim=-1).tolist()


def test_a_seed_reproduces_and_another_does_not(model):
    first, again, other = (tokens_of(generate(model, [1, 2], 20, seed=seed)) for seed in (7, 7, 8))
    assert first == again != other
    given = tokens_of(generate(model, [1, 2], 20, generator=RandomNumbers(7)))
    assert given == first
    torch.manual_seed(7)
    unseeded = [tokens_of(generate(model, [1, 2], 20)) for _ in range(2)]
    assert unseeded[0] != unseeded[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (12,), (40,), (2, 40)])
@pytest.mark.parametrize("knobs", [{"temperature": 0}, {"temperature": 1.2, "top_k": 10, "top_p": 0.9}])
def test_with_cache_and_without_the_tokens_are_the_same(shape, knobs, dtype):
    """Within the context, across its end, and with a prompt that is longer than it."""
    model = GPT(CONFIG).to(dtype).eval()
    prompt = torch.randint(CONFIG.vocab_size, shape)
    with_cache, without = (tokens_of(generate(model, prompt, 30, seed=0, use_cache=u, **knobs)) for u in (True, False))
    assert with_cache == without


def test_a_cache_saves_work(model):
    read = []
    model.register_forward_hook(lambda module, inputs, output: read.append(inputs[0].size(1)))
    list(generate(model, [1, 2, 3], 12, seed=0))
    assert read == [3] + [1] * 9 + [12] * 2  # the context is 12 positions
    read.clear()
    list(generate(model, [1, 2, 3], 4, seed=0, use_cache=False))
    assert read == [3, 4, 5, 6]


def test_of_a_long_prompt_the_end_is_read(model):
    long = torch.randint(CONFIG.vocab_size, (30,))
    assert tokens_of(generate(model, long, 5, seed=0)) == tokens_of(generate(model, long[-12:], 5, seed=0))
    assert torch.allclose(next_logits(model, long[None]), model(long[None, -12:])[:, -1])


def test_greedy_is_the_argmax_at_every_step(model):
    sequence = [5, 6]
    for token in generate(model, [5, 6], 8, temperature=0):
        with torch.no_grad():
            assert token == model(torch.tensor([sequence]))[0, -1].argmax()
        sequence.append(int(token))


def test_tokens_come_one_at_a_time_and_an_interrupted_text_leaves_no_trace(model):
    model.train()
    stream = generate(model, [1, 2], 100, seed=0)
    assert next(stream).shape == () and model.training and torch.is_grad_enabled()
    stream.close()
    assert model.training and all(module.training for module in model.modules())


def test_dropout_is_off_while_generating_and_modes_are_kept(model):
    model.train()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    assert tokens_of(generate(model, [1], 8, seed=0)) == tokens_of(generate(model, [1], 8, seed=0))
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(RuntimeError, match="inside"), evaluating(model.modules()):
        assert not any(module.training for module in model.modules())
        raise RuntimeError("inside")
    assert [module.training for module in model.modules()] == modes


KNOBS = [{"temperature": 0}, {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "min_p": 0.01, "stop": [28], "seed": 0}]


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("use_cache", [True, False])
def test_a_token_more_is_not_a_check_more(knobs, use_cache, model, monkeypatch):
    """Nor a look for the modules. Scores are looked at each time: nothing else says that they leave a choice."""
    calls = []

    def count(where, name):
        function = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *args, **options: calls.append(name) or function(*args, **options))

    for where in (sampling, minigpt.model, GPT):
        for name in vars(where).copy():
            if name.startswith("check_") and name != "check_logits":
                count(where, name)
    count(model, "modules")
    counted = []
    for new_tokens in (1, 5, 30):  # the context is 12 positions
        calls.clear()
        assert len(list(generate(model, [1, 2], new_tokens, use_cache=use_cache, **knobs))) == new_tokens
        counted.append(sorted(calls))
    assert {"check_settings", "check_model", "check_prompt", "check_generator", "modules"} <= set(counted[0])
    assert counted[0] == counted[1] == counted[2]


def test_a_long_text_is_kept_no_longer_than_it_is_read(model, monkeypatch):
    kept, read = [], sampling.read
    monkeypatch.setattr(
        sampling, "read", lambda ask, sequence, cache: kept.append(sequence) or read(ask, sequence, cache)
    )
    list(generate(model, [1, 2], 30, seed=0))
    assert [sequence.size(1) for sequence in kept] == [*range(2, 12)] + [12] * 20


@pytest.mark.parametrize("knobs", KNOBS)
def test_a_model_may_be_trained_between_two_tokens(knobs, model):
    def train(token):
        model.train()
        tokens = token[None, None]
        model(tokens, tokens)[1].backward()

    expected = tokens_of(generate(model, [1, 2], 20, **knobs))
    drawn = []
    for token in generate(model, [1, 2], 20, **knobs):
        train(token)
        assert all(module.training for module in model.modules())
        drawn.append(int(token))
    assert drawn == expected and model.position_embedding.weight.grad.any()


def test_a_forward_of_ones_own_is_asked(model):
    """Here one for which only one token is possible; as a method, and put in from outside."""

    class Own(GPT):
        def forward(self, tokens, targets=None, cache=None):
            return super().forward(tokens, targets, cache) + 1e3 * torch.eye(29)[7]

    own = Own(CONFIG)
    assert tokens_of(generate(own, [1, 2], 15, seed=0)) == [7] * 15
    model.forward = own.forward
    assert tokens_of(generate(model, [1, 2], 15, seed=0)) == [7] * 15


def test_the_short_way_gives_forwards_logits(model):
    tokens, cache = torch.tensor([[1, 2, 3], [4, 5, 6]]), model.new_cache()
    with torch.no_grad():
        assert torch.allclose(sampling.read(model, tokens, None), model(tokens)[:, -1])
        model(tokens, cache=cache)
        continued = sampling.read(model, tokens.repeat(1, 2), cache)
    assert torch.allclose(continued, model(tokens.repeat(1, 2))[:, -1])


def test_the_likeliest_token_takes_no_random_number(model):
    state, generator = torch.get_rng_state(), torch.Generator().manual_seed(0)
    list(generate(model, [1], 3, temperature=0))
    list(generate(model, [1], 3, temperature=0, generator=generator))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())


@pytest.mark.parametrize("knobs", KNOBS)
def test_scores_that_leave_no_choice_are_refused_whenever_they_come(knobs, model):
    tokens = generate(model, [1, 2], 20, **knobs)
    next(tokens)
    with torch.no_grad():
        model.norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="logits must be finite, .*; got nan"):
        next(tokens)


def test_a_text_ends_with_a_stop_token_and_a_batch_with_its_last(model):
    free = tokens_of(generate(model, [1, 2], 30, seed=0))
    stop = free[4]
    stopped = tokens_of(generate(model, [1, 2], 30, seed=0, stop=stop))
    assert stopped == free[: free.index(stop) + 1]
    assert tokens_of(generate(model, [1, 2], 30, seed=0, stop=[stop, free[0]])) == free[:1]
    assert tokens_of(generate(model, [1, 2], 30, seed=0, stop=torch.tensor([stop]))) == stopped

    prompts = torch.randint(CONFIG.vocab_size, (4, 3))
    batch = tokens_of(generate(model, prompts, 200, seed=3, stop=[0, 1, 2]))
    lengths = []
    for row in batch:
        end = next(i for i, token in enumerate(row) if token in (0, 1, 2))
        assert set(row[end:]) == {row[end]}
        lengths.append(end + 1)
    assert max(lengths) == len(batch[0]) < 200 and min(lengths) < max(lengths)


def test_prompts_may_be_lists_tensors_and_batches(model):
    alone = tokens_of(generate(model, [4, 5], 6, temperature=0))
    assert alone == tokens_of(generate(model, torch.tensor([4, 5]), 6, temperature=0))
    assert [alone] * 2 == tokens_of(generate(model, torch.tensor([[4, 5]] * 2), 6, temperature=0))
    assert tokens_of(generate(model, torch.tensor([4, 5], dtype=torch.int32), 6, temperature=0)) == alone


def test_seeds_and_prompts_may_be_numpys(model):
    expected = tokens_of(generate(model, [4, 5], 6, seed=7))
    for seed in (np.int64(7), np.uint8(7)):
        assert tokens_of(generate(model, [4, 5], 6, seed=seed)) == expected
    assert tokens_of(generate(model, np.array([4, 5], dtype=np.uint16), 6, seed=7)) == expected
    assert tokens_of(generate(model, [4, 5], 6, seed=7, stop=np.array([28, 27]))) == tokens_of(
        generate(model, [4, 5], 6, seed=7, stop=[28, 27])
    )
    assert tokens_of(generate(model, [4], 1, seed=2**64 - 1)) and tokens_of(generate(model, [4], 1, seed=-(2**63)))


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("length", [1, 5, 12, 20])
def test_several_samples_of_a_prompt_are_those_of_a_batch_and_read_it_once(length, use_cache, model):
    prompt, read = torch.randint(CONFIG.vocab_size, (length,)), []
    batch = tokens_of(generate(model, prompt.expand(4, -1), 9, seed=0))
    model.register_forward_hook(lambda module, inputs, output: read.append(tuple(inputs[0].shape)))
    samples = tokens_of(generate(model, prompt, 9, seed=0, n_samples=4, use_cache=use_cache))
    assert samples == batch and len(set(map(tuple, samples))) > 1
    if length == 5 and use_cache:
        assert read[:3] == [(1, 4), (4, 1), (4, 1)]
    assert tokens_of(generate(model, prompt, 9, seed=0, n_samples=1)) == [tokens_of(generate(model, prompt, 9, seed=0))]


def test_how_likely_the_drawn_tokens_were_is_computed_as_the_docstring_says(model):
    prompt, knobs = [3, 4], {"temperature": 0.8, "top_p": 0.9}
    drawn = tokens_of(generate(model, prompt, 9, seed=0, **knobs))
    logits = model(torch.tensor([prompt + drawn]))[0, len(prompt) - 1 : -1]
    chances = next_token_probabilities(logits, **knobs).gather(1, torch.tensor(drawn)[:, None])
    for n, (token, chance) in enumerate(zip(drawn, chances, strict=True)):
        step = next_token_probabilities(next_logits(model, torch.tensor([prompt + drawn[:n]])), **knobs)
        assert chance.item() == pytest.approx(step[0, token].item())


ODD_TEXTS = ["naïve 🙂🙃", "👩‍👩‍👧 family", "漢字, кириллица", "a real \N{REPLACEMENT CHARACTER} in it", "🙂", "", "é"]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_a_streamed_text_never_shows_half_a_character(text, shipped):
    tokenizer = shipped[1]
    ids = tokenizer.encode(text).ids
    pieces = list(stream(tokenizer, ids))
    assert "".join(pieces) == text and "" not in pieces
    assert "".join(pieces).count("\N{REPLACEMENT CHARACTER}") == text.count("\N{REPLACEMENT CHARACTER}")
    # Token by token there would be many: else this would show nothing.
    assert text == "" or "\N{REPLACEMENT CHARACTER}" in "".join(tokenizer.decode([token]) for token in ids)


def test_an_emoji_of_four_tokens_comes_with_the_last(shipped):
    tokenizer = shipped[1]
    ids = tokenizer.encode("O 🙂!").ids
    came = []
    said = stream(tokenizer, (came.append(i) or i for i in ids))
    assert [(piece, len(came)) for piece in said] == [("O", 1), (" ", 2), ("🙂", 6), ("!", 7)]


@settings(deadline=None, max_examples=300)
@given(ids=st.lists(st.integers(0, 1023) | st.integers(100, 260), max_size=40))
def test_streamed_pieces_are_together_what_is_decoded_together(ids):
    tokenizer = pretrained.load_tokenizer("shakespeare")
    assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)
    assert "".join(stream(tokenizer, torch.tensor(ids, dtype=torch.long))) == tokenizer.decode(ids)


def test_only_one_sequence_can_be_streamed(shipped):
    with pytest.raises(ValueError, match=r"tokens must be of one sequence, one id at a time; got \(2,\)"):
        list(stream(shipped[1], torch.zeros(3, 2, dtype=torch.long)))


@pytest.mark.parametrize("progress, seen", [(True, True), (False, False), (None, False)])
def test_a_bar_is_shown_when_asked_for(progress, seen, model, capfd):
    list(generate(model, [1], 5, progress=progress))
    out, err = capfd.readouterr()
    assert ("5/5" in err) == seen and ("tokens/s" in err) == seen and out == ""


def test_text_in_text_out(shipped):
    model, tokenizer = shipped
    text = complete(model, tokenizer, "I thank you, good my", 3, temperature=0)
    assert text.startswith(" lord") and len(tokenizer.encode(text).ids) == 3
    assert greedy_decode(model, tokenizer, "I thank you, good my", 3) == text
    assert "temperature" not in inspect.signature(greedy_decode).parameters
    assert complete(model, tokenizer, "O", 9, seed=1) == complete(model, tokenizer, "O", 9, seed=1)


LOGITS = torch.zeros(5)
NAN, INF = torch.tensor([0.0, math.nan]), torch.tensor([math.inf, 0.0])


@pytest.mark.parametrize(
    "logits, knobs, error, message",
    [
        (LOGITS, {"temperature": -1}, ValueError, "temperature must be at least 0 and finite; got -1"),
        (LOGITS, {"temperature": math.inf}, ValueError, "temperature must be at least 0 and finite; got inf"),
        (LOGITS, {"temperature": math.nan}, ValueError, "temperature must be at least 0 and finite; got nan"),
        (LOGITS, {"temperature": "1"}, TypeError, "temperature must be a number; got '1' (str)"),
        (LOGITS, {"temperature": None}, TypeError, "temperature must be a number; got None (NoneType)"),
        (LOGITS, {"temperature": True}, TypeError, "temperature must be a number; got True (bool)"),
        (LOGITS, {"top_k": 0}, ValueError, "top_k must be at least 1 (None keeps all); got 0"),
        (LOGITS, {"top_k": 2.0}, TypeError, "top_k must be an int; got 2.0 (float)"),
        (LOGITS, {"top_p": 0}, ValueError, "top_p must be above 0 and at most 1 (None keeps all); got 0"),
        (LOGITS, {"top_p": 1.01}, ValueError, "top_p must be above 0 and at most 1 (None keeps all); got 1.01"),
        (LOGITS, {"top_p": math.nan}, ValueError, "top_p must be above 0 and at most 1 (None keeps all); got nan"),
        (LOGITS, {"min_p": -0.1}, ValueError, "min_p must be at least 0 and at most 1; got -0.1"),
        (LOGITS, {"min_p": 2}, ValueError, "min_p must be at least 0 and at most 1; got 2"),
        (NAN, {}, ValueError, "logits must be finite, or -inf for tokens that are ruled out; got nan"),
        (INF, {}, ValueError, "logits must be finite, or -inf for tokens that are ruled out; got inf"),
        (-torch.full((2, 2), math.inf), {}, ValueError, "ruled out; got only -inf in a row"),
        (torch.stack([LOGITS, LOGITS * math.nan]), {"temperature": 0}, ValueError, "ruled out; got nan"),
        (torch.zeros(0), {}, ValueError, "logits must have the shape (V,) or (B, V), none of them 0; got (0,)"),
        (torch.zeros(2, 0), {}, ValueError, "none of them 0; got (2, 0)"),
        (torch.zeros(()), {}, ValueError, "none of them 0; got ()"),
        (torch.zeros(1, 2, 3), {}, ValueError, "none of them 0; got (1, 2, 3)"),
        (torch.arange(3), {}, TypeError, "logits must be a tensor of floating-point numbers; got torch.int64"),
        ([0.0, 1.0], {}, TypeError, "logits must be a tensor of floating-point numbers; got list"),
    ],
)
def test_an_impossible_setting_is_named(logits, knobs, error, message):
    with pytest.raises(error) as caught:
        next_token_probabilities(logits, **knobs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "tokens, limit, options, error, message",
    [
        ([], 5, {}, ValueError, "tokens must hold a prompt of at least one token; got shape (0,)"),
        (torch.zeros(2, 0, dtype=torch.long), 5, {}, ValueError, "at least one token; got shape (2, 0)"),
        ([3, 29], 5, {}, ValueError, "tokens must be from 0 to 28; got 3 to 29"),
        ([-1], 5, {}, ValueError, "tokens must be from 0 to 28; got -1 to -1"),
        ([28] + [-1] + [0] * 20, 5, {}, ValueError, "tokens must be from 0 to 28; got -1 to 28"),
        ([0.5], 5, {}, ValueError, "tokens must be integers of shape (T,) or (B, T); got torch.float32 (1,)"),
        (torch.zeros(1, 1, 1).long(), 5, {}, ValueError, "got torch.int64 (1, 1, 1)"),
        ([1], 0, {}, ValueError, "max_new_tokens must be at least 1; got 0"),
        ([1], 1.5, {}, TypeError, "max_new_tokens must be an int; got 1.5 (float)"),
        ([1], 5, {"top_p": 0}, ValueError, "top_p must be above 0 and at most 1 (None keeps all); got 0"),
        ([1], 5, {"seed": 1.0}, TypeError, "seed must be an int; got 1.0 (float)"),
        ([1], 5, {"seed": 1, "generator": torch.Generator()}, ValueError, "seed and generator must not be given both"),
        ([1], 5, {"stop": 29}, ValueError, "stop must hold token ids from 0 to 28; got 29"),
        ([1], 5, {"stop": None}, TypeError, "stop must hold token ids; got None (NoneType)"),
        ([1], 5, {"stop": 1.5}, TypeError, "stop must hold token ids; got 1.5 (float)"),
        ([1], 5, {"seed": 2**70}, ValueError, "18,446,744,073,709,551,615; got 1180591620717411303424"),
        ([1], 5, {"generator": 5}, TypeError, "generator must be a torch.Generator; got 5 (int)"),
        ([1], 5, {"progress": "x"}, TypeError, "progress must be True or False; got 'x' (str)"),
        (None, 5, {}, TypeError, "tokens must be a tensor or a list of token ids; got None"),
        ([[1, 2], [3]], 5, {}, TypeError, "tokens must be a tensor or a list of token ids; got [[1, 2], [3]]"),
        ("ab", 5, {}, TypeError, "tokens must be a tensor or a list of token ids; got 'ab'"),
        ([[]], 5, {}, ValueError, "tokens must hold a prompt of at least one token; got shape (1, 0)"),
        ([1], 5, {"stop": ["x"]}, TypeError, "stop must hold token ids; got 'x' (str)"),
        ([1], 5, {"stop": ""}, TypeError, "stop must hold token ids; got '' (str)"),
        ([1], 5, {"stop": b"\1"}, TypeError, "stop must hold token ids; got b'\\x01' (bytes)"),
        ([], 5, {}, ValueError, "a text that begins with nothing begins with the id of <|endoftext|>"),
        ([True], 5, {}, ValueError, "tokens must be integers of shape (T,) or (B, T); got torch.bool (1,)"),
        (torch.zeros(2, device="meta").long(), 5, {}, ValueError, "tokens must hold ids; got a meta tensor"),
        ([1], 5, {"seed": True}, TypeError, "seed must be an int; got True (bool)"),
        ([1], 5, {"seed": 2**64}, ValueError, "18,446,744,073,709,551,615; got 18446744073709551616"),
        ([1], 5, {"seed": -(2**63) - 1}, ValueError, "at least -9223372036854775808; got -9223372036854775809"),
        ([1], 5, {"n_samples": 0}, ValueError, "n_samples must be at least 1; got 0"),
        ([[1]], 5, {"n_samples": 2}, ValueError, "n_samples must be None for several prompts at once; got 2"),
    ],
)
def test_what_cannot_be_generated_is_refused_at_the_call(tokens, limit, options, error, message, model):
    with pytest.raises(error) as caught:
        generate(model, tokens, limit, **options)
    assert message in str(caught.value)


def test_a_sequence_that_is_none_is_refused(model):
    for sequence, got in (([[1]], "list"), (torch.tensor([1]), r"\(1,\)"), (None, "NoneType")):
        with pytest.raises(ValueError, match=rf"sequence must be a tensor of token ids \(B, N\); got {got}"):
            next_logits(model, sequence)
    for cache in (5, []):
        with pytest.raises((TypeError, ValueError), match="cache must"):
            next_logits(model, torch.tensor([[1]]), cache)
    with pytest.raises(ValueError, match="tokens must be from 0 to 28; got 99"):
        next_logits(model, torch.tensor([[99]]))


def test_what_is_no_model_and_no_tokenizer_is_refused(shipped):
    with pytest.raises(TypeError, match="model must be a GPT; got an object of type str"):
        generate("gpt2", [1], 5)
    with pytest.raises(TypeError, match="model must be a GPT; got an object of type Linear"):
        next_logits(torch.nn.Linear(1, 1), torch.tensor([[1]]))
    with pytest.raises(TypeError, match=r"tokenizer must be a tokenizers.Tokenizer; got 'utf-8' \(str\)"):
        complete(shipped[0], "utf-8", "O")


def test_text_that_is_none_is_refused(shipped):
    with pytest.raises(ValueError, match=r"text must hold at least one token, if only <\|endoftext\|> .*; got ''"):
        complete(*shipped, "")
    with pytest.raises(TypeError, match=r"text must be a str; got \[1\] \(list\)"):
        greedy_decode(*shipped, [1])


def test_what_chapter_6_says_of_hugging_faces_defaults_is_so():
    config = GPT2Config(n_embd=8, n_head=2, n_layer=1, vocab_size=97, n_positions=4, bos_token_id=0, eos_token_id=0)
    theirs = GPT2LMHeadModel(config).eval()
    prompts, options = torch.ones(4_000, 1, dtype=torch.long), {"max_new_tokens": 1, "pad_token_id": 0}
    prompts = {"inputs": prompts, "attention_mask": torch.ones_like(prompts)}

    def kinds(**settings):
        return len(theirs.generate(**prompts, **options, **settings)[:, -1].unique())

    assert kinds() == kinds(temperature=0.0) == 1
    assert kinds(do_sample=True) == 50 and kinds(do_sample=True, top_k=0) == 97
    with pytest.raises(ValueError, match="temperature.*strictly positive"):
        kinds(do_sample=True, temperature=0.0)
