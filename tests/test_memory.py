import ast
import math
import re
from contextlib import nullcontext

import gpu_memory as gpu_memory_benchmark
import nbformat
import numpy as np
import pytest
import torch
import training_memory as training_memory_benchmark
from conftest import ROOT
from gpu_operators import gpu_operators, tracked_peak, without_numbers
from hanging import interrupted
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile

from minigpt import CONFIGS, GPT, GPTConfig, KVCache, memory
from minigpt.memory import (
    STAGES,
    inference_memory,
    kv_cache_bytes,
    max_batch_size,
    process_shares,
    training_memory,
)
from minigpt.memory.measured import PHASES, MeasuredStep, saved_by_forward, trace
from minigpt.parameters import count_params, parameter_shapes
from minigpt.results import stored

HOMEWORK = CONFIGS["homework"]


@st.composite
def configs(draw):
    size, heads = st.integers(1, 40), draw(st.integers(1, 4))
    return GPTConfig(
        vocab_size=draw(size),
        context_length=draw(size),
        d_model=heads * draw(st.integers(1, 9)),
        n_heads=heads,
        n_layers=draw(st.integers(1, 3)),
        d_ff=draw(st.none() | size),
        dropout=draw(st.sampled_from([0.0, 0.1])),
        attention_dropout=draw(st.sampled_from([0.0, 0.2])),
        bias=draw(st.booleans()),
        tie_weights=draw(st.booleans()),
        activation=draw(st.sampled_from(["gelu_tanh", "gelu", "relu"])),
    )


@st.composite
def steps(draw, device="cpu"):
    """A configuration and the other arguments of `training_memory`, as far as they concern activations."""
    config = draw(configs())
    precisions = tuple(memory.PRECISIONS) if device == "cuda" else ("fp32", "amp-bf16", "bf16")
    how = {
        "batch_size": draw(st.integers(1, 4)),
        "sequence_length": draw(st.integers(1, config.context_length)),
        "precision": draw(st.sampled_from(precisions)),
        "attention": draw(st.sampled_from(["explicit", "fused"])),
        "checkpointing": draw(st.booleans()),
    }
    if device == "cpu" and (how["precision"] != "fp32" or config.attention_dropout > 0):
        how["attention"] = "explicit"
    return config, how


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(steps())
def test_saved_activations_are_autograds_to_the_byte(drawn):
    config, how = drawn
    assert training_memory(config, **how).saved_bytes == saved_by_forward(MeasuredStep(config, **how))


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(steps("cuda"))
def test_saved_activations_with_a_gpus_operators(drawn):
    config, how = drawn
    predicted = training_memory(config, **how, device="cuda")
    # CPUs, which these tensors pretend to live on, store LayerNorm's two numbers in its input's type.
    norms = 1 if how["checkpointing"] else 2 * config.n_layers + 1
    narrower = 2 * 2 * positions(how) * norms if how["precision"] == "bf16" else 0
    with pytest.MonkeyPatch.context() as patch, without_numbers(patch), gpu_operators(patch):
        assert predicted.saved_bytes - narrower == saved_by_forward(MeasuredStep(config, **how))


def positions(how):
    return how["batch_size"] * how["sequence_length"]


@st.composite
def medium_steps(draw):
    """Steps in 32 bits that are large enough for the bytes of a few scalars not to matter."""
    heads = draw(st.sampled_from([1, 2, 4]))
    attention_dropout = draw(st.sampled_from([0.0, 0.2]))
    attention = "explicit" if attention_dropout else draw(st.sampled_from(["explicit", "fused"]))
    config = GPTConfig(
        # The fused kernel's own memory, which is not predicted, shows where the vocabulary is small.
        vocab_size=draw(st.sampled_from([1_009, 4_001] if attention == "fused" else [31, 200, 1_009, 4_001])),
        context_length=draw(st.sampled_from([128, 160])),
        d_model=heads * draw(st.sampled_from([16, 32, 48])),
        n_heads=heads,
        n_layers=draw(st.integers(1, 4)),
        d_ff=draw(st.none() | st.sampled_from([40, 333])),
        dropout=draw(st.sampled_from([0.0, 0.1])),
        attention_dropout=attention_dropout,
        bias=draw(st.booleans()),
        tie_weights=draw(st.booleans()),
        activation=draw(st.sampled_from(["gelu_tanh", "gelu", "relu"])),
    )
    how = {
        "batch_size": draw(st.integers(1, 6)),
        "sequence_length": draw(st.sampled_from([9, 64, 101, 128])),
        "optimizer": draw(st.sampled_from(memory.OPTIMIZERS)),
        "attention": attention,
        "checkpointing": draw(st.booleans()),
        "accumulating": draw(st.booleans()),
    }
    return config, how


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(medium_steps())
def test_peak_is_the_cpu_allocators(drawn):
    config, how = drawn
    predicted, real = training_memory(config, **how), trace(MeasuredStep(config, **how))
    assert predicted.peak_bytes == pytest.approx(real.peak_bytes, rel=1e-3, abs=100)
    standing = predicted.parameters_bytes + predicted.optimizer_bytes
    standing += how["accumulating"] * predicted.gradients_bytes
    assert standing == real.start_bytes - 16 * positions(how)


@settings(max_examples=100, deadline=None)
@given(steps(), st.sampled_from(memory.OPTIMIZERS), st.booleans())
def test_a_toys_peak_is_the_cpu_allocators_but_for_two_thousand_bytes(drawn, optimizer, accumulating):
    config, how = drawn
    how |= {"precision": "fp32", "attention": "explicit", "optimizer": optimizer, "accumulating": accumulating}
    # Mostly a few hundred bytes are missing; at a vocabulary of one token a few can be too many.
    predicted = training_memory(config, **how).peak_bytes
    assert -100 < trace(MeasuredStep(config, **how)).peak_bytes - predicted < 1e-3 * predicted + 2_000


#: The proportions of GPT-2 XL, a sixteenth as wide.
XL = CONFIGS["gpt2-xl"].but(vocab_size=3_141, d_model=100, context_length=64, n_layers=3)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("accumulating", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("optimizer", ["adamw", "adamw-fused", "sgd"])
def test_tied_weights_under_autocast_are_the_cpu_allocators(tied, accumulating, checkpointing, optimizer):
    """Few positions: what is fullest are the embedding's gradients, where oneDNN needs nothing for itself."""
    how = {"batch_size": 1, "sequence_length": 9, "precision": "amp-bf16", "optimizer": optimizer}
    how |= {"checkpointing": checkpointing, "accumulating": accumulating}
    config = XL.but(tie_weights=tied)
    predicted, real = training_memory(config, **how), trace(MeasuredStep(config, **how))
    assert predicted.peak_bytes == pytest.approx(real.peak_bytes, rel=1e-5)


SMALL = GPTConfig(vocab_size=1_009, context_length=128, d_model=64, n_heads=4, n_layers=2)
SHORT = {"batch_size": 1, "sequence_length": 9}
FEW_TOKENS = GPTConfig(vocab_size=31, context_length=32, d_model=64, n_heads=1, n_layers=1, d_ff=40)
#: A step for each stage that can be the fullest.
FULLEST = {
    "forward of a block": (SMALL.but(vocab_size=31, d_model=16, n_heads=1), {"batch_size": 1, "optimizer": "sgd"}),
    "end of forward": (FEW_TOKENS, {"batch_size": 12, "precision": "amp-bf16", "optimizer": "sgd"}),
    "start of backward": (SMALL, {"batch_size": 4}),
    "backward of the head": (FEW_TOKENS, {"batch_size": 12, "optimizer": "sgd"}),
    "backward of a block": (SMALL.but(vocab_size=100), {"batch_size": 2, "sequence_length": 64}),
    "end of backward": (SMALL, SHORT | {"optimizer": "adamw-fused"}),
    "optimizer step": (SMALL, SHORT | {"optimizer": "adamw-foreach"}),
}


@pytest.mark.parametrize("name", STAGES)
def test_each_moment_can_be_the_fullest(name, monkeypatch):
    config, how = FULLEST[name]
    predicted = training_memory(config, **how)
    assert predicted.peak.name == name
    if "precision" not in how:  # oneDNN allocates for itself in 16 bits
        real = trace(MeasuredStep(config, **how))
        assert predicted.peak_bytes == pytest.approx(real.peak_bytes, rel=1e-3)
        assert real.peak_phase == predicted.peak.phase
    with without_numbers(monkeypatch):
        assert predicted.peak_bytes == pytest.approx(tracked_peak(MeasuredStep(config, **how)), rel=1e-3)


def test_dropped_attention_weights_can_be_the_fullest_on_a_gpu(monkeypatch):
    config = SMALL.but(vocab_size=31, d_model=16, n_heads=4, n_layers=1, attention_dropout=0.2, tie_weights=False)
    how = {"batch_size": 2, "precision": "amp-bf16", "optimizer": "sgd"}
    predicted = training_memory(config, **how, device="cuda")
    assert predicted.peak.detail == "attention dropout"
    with without_numbers(monkeypatch), gpu_operators(monkeypatch):
        assert predicted.peak_bytes == pytest.approx(tracked_peak(MeasuredStep(config, **how)), rel=1e-3)


@pytest.mark.parametrize("vocab_size", [9, 90])
def test_the_embeddings_gradients_meet_as_the_allocator_says(vocab_size):
    """What flows is larger than the embedding, and smaller."""
    config, how = SMALL.but(vocab_size=vocab_size), {"batch_size": 20, "sequence_length": 2, "optimizer": "sgd"}
    (predicted,) = (m for m in training_memory(config, **how).stages if m.name == "end of backward")
    real = trace(MeasuredStep(config, **how))
    meeting = zip(real.live_bytes, real.operations, strict=True)
    fullest = max(live for live, names in meeting if any("EmbeddingBackward0" in name for name in names))
    assert predicted.total_bytes == pytest.approx(fullest, abs=100)


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(medium_steps(), st.sampled_from(tuple(memory.PRECISIONS)), st.sampled_from(["explicit", "fused"]))
def test_peak_with_a_gpus_operators(drawn, precision, attention):
    config, how = drawn
    how |= {"precision": precision, "attention": attention}
    if how["optimizer"] == "adamw":
        how["optimizer"] = "adamw-foreach"  # what it is on a GPU
    if precision.startswith("amp"):
        # Real tensors are added in place where the two gradients of a tied embedding meet, these are not.
        config = config.but(tie_weights=False)
    predicted = training_memory(config, **how, device="cuda")
    # As above, LayerNorm's numbers are narrower in this simulation.
    norms = 2 * config.n_layers + 1
    narrower = 2 * 2 * positions(how) * norms if how["precision"] == "bf16" else 0
    with pytest.MonkeyPatch.context() as patch, without_numbers(patch), gpu_operators(patch):
        tracked = tracked_peak(MeasuredStep(config, **how))
    assert tracked * 0.999 < predicted.peak_bytes < tracked * 1.001 + narrower


@pytest.mark.long
@pytest.mark.parametrize(
    "how, on_gpu, peak",
    [
        ({}, False, "start of backward"),
        ({"attention": "fused", "optimizer": "adamw-foreach"}, True, "optimizer step"),
        ({"checkpointing": True, "optimizer": "adamw-fused"}, False, "end of backward"),
    ],
)
def test_the_homeworks_step(how, on_gpu, peak, monkeypatch):
    predicted = training_memory(HOMEWORK, 1, **how, device="cuda" if on_gpu else "cpu")
    assert predicted.peak.name == peak
    operators = gpu_operators(monkeypatch) if on_gpu else nullcontext()
    with without_numbers(monkeypatch), operators:
        assert predicted.peak_bytes == pytest.approx(tracked_peak(MeasuredStep(HOMEWORK, 1, **how)), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", training_memory_benchmark.CASES)
def test_the_homeworks_real_step(name):
    row = training_memory_benchmark.measure(name)
    assert row["predicted_peak_bytes"] == pytest.approx(row["measured_peak_bytes"], rel=1e-3)


def test_the_stored_measurement_is_todays_prediction():
    results = stored("training_memory")["results"]
    assert "explicit attention" in [row["case"] for row in results]
    for row in results:
        dropout, how = training_memory_benchmark.CASES[row["case"]]
        predicted = training_memory(HOMEWORK.but(dropout=dropout), 1, **how)
        assert row["predicted_peak_bytes"] == predicted.peak_bytes
        assert row["predicted_stage"] == predicted.peak.name
        assert row["predicted_peak_bytes"] == pytest.approx(row["measured_peak_bytes"], rel=1e-3)
        # Two stages can be as full: AdamW in a loop ends up where backward did.
        as_full = [stage.phase for stage in predicted.stages if stage.total_bytes == predicted.peak_bytes]
        assert row["measured_phase"] in as_full


def test_gpu_benchmark_predicts_every_case():
    cases = list(gpu_memory_benchmark.cases())
    assert len({tuple(case.items()) for case in cases}) == len(cases) >= 64 + 8
    assert {case["batch_size"] for case in cases} == {1, 2, 4, 8}
    for case in cases:
        assert gpu_memory_benchmark.row(case, None)["fits"] is False
        assert gpu_memory_benchmark.predict(case).peak_bytes > 0


def test_gpu_benchmarks_row_accounts_for_all_bytes():
    case = next(gpu_memory_benchmark.cases())
    predicted = gpu_memory_benchmark.predict(case).peak_bytes
    # Made up, to see the arithmetic: 100 bytes of workspace, 20 idle, 3 of context.
    measured = {"workspace_bytes": 100, "allocated_bytes": predicted + 100}
    measured |= {"reserved_bytes": predicted + 120, "driver_bytes": predicted + 123}
    row = gpu_memory_benchmark.row(case, measured)
    assert (row["error"], row["fragmentation_bytes"], row["context_bytes"]) == (0, 20, 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_benchmark_says_that_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu_memory.py"])
    with pytest.raises(SystemExit, match="there must be a GPU that PyTorch can use"):
        gpu_memory_benchmark.main()


def test_a_trace_ends_where_it_began_and_meets_all_phases():
    real = trace(MeasuredStep(SMALL, 2))
    assert list(dict.fromkeys(real.phases)) == list(PHASES)
    assert real.live_bytes[-1] == pytest.approx(real.start_bytes, abs=100)
    assert len(real.live_bytes) == len(real.phases) == len(real.operations)


@settings(max_examples=200, deadline=None)
@given(steps() | steps("cuda"), st.sampled_from(memory.OPTIMIZERS), st.data())
def test_parts_sum_to_the_whole(drawn, optimizer, data):
    config, how = drawn
    device = "cuda" if how["precision"] == "amp-fp16" or how["attention"] == "fused" else "cpu"
    found = training_memory(config, **how, optimizer=optimizer, device=device)
    assert found.saved_bytes == sum(found.saved_by_layer.values()) == sum(found.saved_by_operation.values())
    assert list(found.saved) == ["embedding", *(f"block {i}" for i in range(config.n_layers)), "head"]
    assert found.peak_bytes == found.table.total == max(m.total_bytes for m in found.stages)
    for stage in found.stages:
        parts = [getattr(stage, f"{part}_bytes") for part in ("gradients", "saved", "temporaries")]
        assert stage.total_bytes == found.parameters_bytes + found.optimizer_bytes + sum(parts)
        assert all(part >= 0 for part in parts)
        assert parts[0] <= found.gradients_bytes and stage.name in STAGES
    order = [list(STAGES).index(stage.name) for stage in found.stages]
    assert order == sorted(order)


@settings(max_examples=200, deadline=None)
@given(steps())
def test_more_sequences_or_positions_need_more(drawn):
    config, how = drawn
    here = training_memory(config, **how).peak_bytes
    assert here < training_memory(config, **how | {"batch_size": how["batch_size"] + 1}).peak_bytes
    if how["sequence_length"] < config.context_length:
        longer = how | {"sequence_length": how["sequence_length"] + 1}
        assert here < training_memory(config, **longer).peak_bytes


@settings(max_examples=200, deadline=None)
@given(steps(), st.integers(1, 10**8))
def test_max_batch_size_is_the_largest_that_fits(drawn, memory_bytes):
    config, how = drawn
    how = {name: value for name, value in how.items() if name != "batch_size"}
    found = max_batch_size(config, memory_bytes, **how)
    assert training_memory(config, found + 1, **how).peak_bytes > memory_bytes
    assert found == 0 or training_memory(config, found, **how).peak_bytes <= memory_bytes
    exact = training_memory(config, found + 1, **how).peak_bytes
    assert max_batch_size(config, exact, **how) == found + 1
    assert max_batch_size(config, exact - 1, **how) == found


@settings(max_examples=100, deadline=None)
@given(steps(), st.sampled_from(memory.OPTIMIZERS), st.booleans(), st.integers(3, 9))
def test_the_fullest_block_is_the_first_or_the_last(drawn, optimizer, accumulating, layers):
    """With a loop over all of them instead, nothing is fuller."""
    config, how = drawn
    how |= {"optimizer": optimizer, "accumulating": accumulating}
    found = training_memory(config.but(n_layers=layers), **how)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory.step_table, "turns", range)
        every = training_memory(config.but(n_layers=layers), **how)
    assert len(every.stages) > len(found.stages) and every.peak == found.peak


def test_no_size_makes_anything_wait():
    deep = CONFIGS["gpt3-175b"].but(n_layers=10_000)
    for call in (
        lambda: training_memory(deep, 1, checkpointing=True),
        lambda: max_batch_size(deep, 10**18),
        lambda: max_batch_size("mini", 10**18),
        lambda: inference_memory(deep),
        lambda: kv_cache_bytes(deep, 10**18),
        lambda: process_shares(deep, 100_000, "ddp"),
        lambda: process_shares(deep, 10_000, "fsdp"),
    ):
        with interrupted():
            assert call()
    for call, message in (
        (lambda: process_shares("mini", 10**9, "ddp"), "processes must be at most 100,000; got 1000000000"),
        (lambda: max_batch_size("mini", 10**30), f"memory_bytes must be at most {10**18:,}; got {10**30}"),
        (lambda: training_memory("mini", 10**30), f"batch_size must be at most {10**18:,}; got {10**30}"),
        (lambda: training_memory("mini", 1, 10**5_000), "sequence_length must be .* got an int of 16610 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("number", [np.int32, np.int64, np.uint16])
def test_numpys_ints_count_exactly(number):
    for found, expected in (
        (training_memory("homework", number(4), number(512)), training_memory(HOMEWORK, 4, 512)),
        (kv_cache_bytes("homework", number(3), number(9)), kv_cache_bytes(HOMEWORK, 3, 9)),
        (inference_memory("homework", number(300)), inference_memory(HOMEWORK, 300)),
        (process_shares("homework", number(3), "fsdp"), process_shares(HOMEWORK, 3, "fsdp")),
        (max_batch_size("homework", np.int64(10**11)), max_batch_size(HOMEWORK, 10**11)),
    ):
        assert found == expected
    assert type(kv_cache_bytes("homework", number(3))) is type(training_memory("mini", number(1)).saved_bytes) is int


OF_A_CONFIGURATION = {
    "training_memory": lambda config: training_memory(config, 1),
    "max_batch_size": lambda config: max_batch_size(config, 10**9),
    "kv_cache_bytes": kv_cache_bytes,
    "inference_memory": inference_memory,
    "process_shares": lambda config: process_shares(config, 2, "ddp"),
    "MeasuredStep": lambda config: MeasuredStep(config, 1),
}


@pytest.mark.parametrize("name", OF_A_CONFIGURATION)
@pytest.mark.parametrize("config", [None, 5, {}, "gpt9", ["mini"]])
def test_what_is_no_configuration_is_named(name, config):
    with pytest.raises((TypeError, ValueError), match="config must be a GPTConfig or one of"):
        OF_A_CONFIGURATION[name](config)


@pytest.mark.parametrize("value", [-1, 0, float("nan"), 2.5, True, "8", [1]])
def test_what_is_no_size_is_named(value):
    for name, call in (
        ("batch_size", lambda: training_memory("mini", value)),
        ("sequence_length", lambda: training_memory("mini", 1, value)),
        ("batch_size", lambda: kv_cache_bytes("mini", value)),
        ("length", lambda: kv_cache_bytes("mini", 1, value)),
        ("batch_size", lambda: inference_memory("mini", value)),
        ("memory_bytes", lambda: max_batch_size("mini", value)),
        ("processes", lambda: process_shares("mini", value, "ddp")),
        ("batch_size", lambda: MeasuredStep("mini", value)),
        ("sequence_length", lambda: MeasuredStep("mini", 1, value)),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
            call()


@pytest.mark.parametrize(
    "name, value",
    [("precision", "fp8"), ("optimizer", "lion"), ("attention", "flash"), ("device", "tpu"), ("checkpointing", 1),
     ("accumulating", "yes")],
)  # fmt: skip
def test_a_steps_settings_are_named(name, value):
    for call in (MeasuredStep, training_memory):
        with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
            call("mini", 1, **{name: value})


@pytest.mark.parametrize("value", ["8", None, True, float("nan"), float("inf"), 10**400, [1]])
def test_only_numbers_are_bytes(value):
    with pytest.raises((TypeError, ValueError), match="size_bytes must be a "):
        memory.in_gigabytes(value)
    assert memory.in_gigabytes(np.int64(2 * 10**9)) == memory.in_gigabytes(2e9) == "2.00 GB (1.86 GiB)"


@settings(max_examples=50, deadline=None)
@given(configs(), st.integers(1, 3), st.sampled_from(["fp32", "bf16"]))
def test_kv_cache_is_the_tensors(config, batch_size, precision):
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    total = 0
    for _ in range(config.n_layers):
        layer = KVCache(config.context_length)
        one = torch.zeros(batch_size, config.n_heads, 1, config.d_head, dtype=dtype)
        layer.append(one, one)
        total += layer.keys.nbytes + layer.values.nbytes
    assert kv_cache_bytes(config, batch_size, precision=precision) == total
    assert kv_cache_bytes(config, batch_size, 1, precision) * config.context_length == total


@pytest.mark.parametrize(
    "attention, vocab_size, d_ff",
    # The fused kernel's own memory, which is not predicted, shows where the rest is small.
    [("explicit", 31, None), ("explicit", 31, 20), ("explicit", 4_001, None), ("fused", 4_001, None)],
)
@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("batch_size, T", [(1, 128), (3, 101), (3, 9)])
def test_inference_is_the_cpu_allocators(attention, vocab_size, d_ff, cache, batch_size, T):
    config = SMALL.but(vocab_size=vocab_size).but(d_ff=d_ff, dropout=0.1)
    model = GPT(config).eval()
    for block in model.blocks:
        block.attention.fused = attention == "fused"
    tokens = torch.randint(vocab_size, (batch_size, T))
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        kept = model(tokens, cache=model.new_cache() if cache else None)
    changes = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    live = peak = sum(p.nbytes for p in model.parameters()) + tokens.nbytes
    for change in sorted(changes, key=lambda e: e.start_ns()):
        live += change.nbytes()
        peak = max(peak, live)
    assert kept.shape == (batch_size, T, vocab_size)
    predicted = inference_memory(config, batch_size, T, attention=attention, cache=cache)
    assert predicted.peak_bytes == pytest.approx(peak, rel=1e-3)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(configs())
def test_parameter_shapes_are_the_models(config):
    with torch.device("meta"):
        model = GPT(config)
    assert parameter_shapes(config) == {name: tuple(p.shape) for name, p in model.named_parameters()}


@settings(max_examples=100, deadline=None)
@given(configs(), st.integers(1, 9), st.sampled_from(memory.STRATEGIES), st.sampled_from(memory.OPTIMIZERS))
def test_shares_add_up(config, processes, strategy, optimizer):
    assume(strategy != "tensor" or (config.n_heads % processes == 0 and config.d_ff % processes == 0))
    shares = process_shares(config, processes, strategy, optimizer=optimizer)
    whole = process_shares(config, 1, strategy, optimizer=optimizer)[0]
    assert len(shares) == processes
    sharded = {
        "ddp": (),
        "zero1": ("optimizer",),
        "zero2": ("optimizer", "gradients"),
        "zero3": ("optimizer", "gradients", "parameters"),
        "fsdp": ("optimizer", "gradients", "parameters"),
        "tensor": (),
    }[strategy]
    for part in ("parameters", "gradients", "optimizer"):
        sizes = [getattr(share, f"{part}_bytes") for share in shares]
        if part in sharded:
            assert sum(sizes) == getattr(whole, f"{part}_bytes")
            assert sizes == sorted(sizes, reverse=True)
        elif strategy != "tensor":
            assert sizes == [getattr(whole, f"{part}_bytes")] * processes
    if strategy == "tensor":
        # What is in every process is there N times; the rest once.
        in_all = [prod for name, prod in numbers(config).items() if is_in_all(name)]
        total = sum(share.parameters_bytes for share in shares)
        assert total == whole.parameters_bytes + 4 * sum(in_all) * (processes - 1)


def numbers(config):
    return {name: torch.Size(shape).numel() for name, shape in parameter_shapes(config).items()}


def is_in_all(name):
    return "norm" in name or "position" in name or name.endswith(("output.bias", "contract.bias"))


@settings(max_examples=50, deadline=None)
@given(configs(), st.integers(1, 7))
def test_fsdps_shares_are_torch_chunks(config, processes):
    with torch.device("meta"):
        model = GPT(config)
    chunks = [p.chunk(processes) for p in model.parameters()]
    for rank, share in enumerate(process_shares(config, processes, "fsdp")):
        held = sum(c[rank].numel() for c in chunks if rank < len(c))
        assert share.parameters_bytes == share.gradients_bytes == 4 * held
        assert share.optimizer_bytes == 8 * held


@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "sgd-momentum"])
def test_one_process_holds_what_a_step_holds(precision, optimizer):
    found = training_memory(SMALL, 1, precision=precision, optimizer=optimizer, device="cuda")
    for strategy in memory.STRATEGIES:
        (share,) = process_shares(SMALL, 1, strategy, precision, optimizer)
        assert share.parameters_bytes == found.parameters_bytes
        assert share.gradients_bytes == found.gradients_bytes
        assert share.optimizer_bytes == found.optimizer_bytes


@pytest.mark.parametrize(
    "how, error, message",
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1; got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an int; got 1.5 (float)"),
        ({"sequence_length": 129}, ValueError, "sequence_length must be at most context_length=128; got 129"),
        ({"sequence_length": 0}, ValueError, "sequence_length must be at least 1; got 0"),
        ({"precision": "fp8"}, ValueError, "precision must be one of fp32, amp-bf16, amp-fp16, bf16; got 'fp8'"),
        ({"precision": "amp-fp16"}, ValueError, "precision must be fp32, amp-bf16 or bf16 on a CPU; got 'amp-fp16'"),
        ({"optimizer": "adam"}, ValueError, "optimizer must be one of adamw, adamw-fused"),
        ({"attention": "flash"}, ValueError, "attention must be one of explicit, fused; got 'flash'"),
        ({"device": "mps"}, ValueError, "device must be one of cpu, cuda; got 'mps'"),
        ({"checkpointing": 1}, TypeError, "checkpointing must be True or False; got 1 (int)"),
        ({"attention": "fused", "precision": "bf16"}, ValueError, "attention must be 'explicit' on a CPU in 16 bits"),
    ],
)
def test_impossible_arguments_are_named(how, error, message):
    with pytest.raises(error, match=re.escape(message)):
        training_memory(SMALL, **{"batch_size": 1} | how)


def test_other_impossible_arguments_are_named():
    with pytest.raises(ValueError, match=r"got 'fused' with precision='fp32', attention_dropout=0.2"):
        training_memory(SMALL.but(attention_dropout=0.2), 1, attention="fused")
    with pytest.raises(ValueError, match="memory_bytes must be at least 1; got 0"):
        max_batch_size(SMALL, 0)
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16; got 'amp-bf16'"):
        inference_memory(SMALL, precision="amp-bf16")
    with pytest.raises(TypeError, match="cache must be True or False; got None"):
        inference_memory(SMALL, cache=None)
    with pytest.raises(ValueError, match="^length must be at most context_length=128; got 999"):
        kv_cache_bytes(SMALL, length=999)
    with pytest.raises(ValueError, match="strategy must be one of ddp, zero1, zero2, zero3, fsdp, tensor; got 'pp'"):
        process_shares(SMALL, 2, "pp")
    with pytest.raises(ValueError, match="processes must divide n_heads=4 under 'tensor'; got 3"):
        process_shares(SMALL, 3, "tensor")
    with pytest.raises(ValueError, match="processes must be at least 1; got 0"):
        process_shares(SMALL, 0, "ddp")


def test_the_estimates_of_others_are_what_their_programs_say():
    """Chapter 4 computes them by formula; benchmarks/memory_estimates.py ran the programs."""
    config = CONFIGS["homework"]
    T, H = config.context_length, config.n_heads
    names = {"math": math, "P": count_params(config), "N": T, "T": T, "H": H, "A": H * T**2, "L": config.n_layers,
             "C": config.d_model, "F": config.d_ff, "V": config.vocab_size}  # fmt: skip
    notebook = nbformat.read(ROOT / "book" / "04_memory.ipynb", as_version=4)
    cell = next(c.source for c in notebook.cells if "def accelerate_estimate" in c.source)
    for function in ast.parse(cell).body:
        if isinstance(function, ast.FunctionDef):
            exec(ast.unparse(function), names)  # noqa: S102 (the chapter's own)
    measured = {row["program"]: row for row in stored("memory_estimates")["results"]}
    for program in ("accelerate", "torchinfo", "gpu-estimator", "deepspeed"):
        assert names[f"{program.replace('-', '_')}_estimate"]() == measured.pop(program)["bytes"]
    for program, weight_bytes in (("mixed", 2), ("32 bits", 4)):
        gib = measured.pop(f"EleutherAI's calculator, {program}")["gib"]
        assert f"{names['eleuther_estimate'](weight_bytes) / 2**30:.2f}" == f"{gib:.2f}"
    assert not measured


@pytest.mark.parametrize("name", memory.PRECISIONS)
def test_a_number_takes_as_many_bytes_as_training_gives_it(name):
    """The table of formulas says it in letters, `minigpt.precision` by PyTorch's types."""
    letters = memory.Letters(SMALL, 1, None, name, device="cuda")
    precision = memory.PRECISIONS[name]
    assert (letters.r, letters.e) == (precision.parameters.itemsize, precision.products.itemsize)
