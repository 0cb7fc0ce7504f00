"""Training on a slice of a real play: the loop, the schedule, runs that are killed, runs of two processes."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import train_shipped
from safetensors import SafetensorError

import minigpt.train.cli as cli_module
import minigpt.train.trainer as trainer_module
from minigpt import CONFIGS, GPT, GPTConfig, pretrained
from minigpt.data import Batches, plays, prepare
from minigpt.tokenizer import token_bytes
from minigpt.train import RECIPES, TrainConfig, Trainer, adamw, learning_rate, main, train
from minigpt.train.checkpoint import (
    check_facts,
    checksum,
    only_run_in,
    read_checkpoint,
    restore,
    training_state,
    write_checkpoint,
)
from minigpt.train.evaluation import evaluate
from minigpt.train.metrics import COLUMNS, MetricsFile, read_metrics
from minigpt.train.parallel import Processes

TINY = GPTConfig(vocab_size=300, context_length=16, d_model=32, n_heads=2, n_layers=2)
QUICK = TrainConfig(
    steps=12, batch_size=8, warmup_steps=3, log_every=1, evaluate_every=6, checkpoint_every=4, evaluate_tokens=200
)
LOSSES = [name for name in COLUMNS if name != "tokens_per_second"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The first 40,000 characters of a play."""
    path = tmp_path_factory.mktemp("source") / "play.txt"
    path.write_text(plays()[0].text[:40_000], encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(source, tmp_path_factory):
    return prepare(source, tmp_path_factory.mktemp("data") / "data", 300)


def trainer_of(data, config=TINY, settings=QUICK, **changes):
    torch.manual_seed(0)
    settings = replace(settings, **changes)
    return Trainer(GPT(config), Batches(data.train, config.context_length, settings.batch_size), settings)


def losses(rows):
    """What must be the same to the bit: everything but the speed."""
    return [[row[name] for name in LOSSES] for row in rows]


# the loop


def test_a_step_is_what_the_equations_say(data):
    """One step, by hand: AdamW's equations (Loshchilov and Hutter 2019, algorithm 2) on clipped gradients."""
    trainer = trainer_of(data, clip_norm=0.5, weight_decay=0.2)
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    inputs, targets = trainer.batches(0)
    _, loss = trainer.model(inputs, targets)
    gradients = dict(zip(before, torch.autograd.grad(loss, list(trainer.model.parameters())), strict=True))
    norm = math.sqrt(sum(g.double().square().sum() for g in gradients.values()))
    assert norm > 0.5

    step = trainer.step()
    assert step.loss.item() == pytest.approx(loss.item(), abs=1e-6)
    assert step.gradient_norm.item() == pytest.approx(norm, rel=1e-5)
    rate = QUICK.learning_rate / 3
    assert step.learning_rate == pytest.approx(rate)
    for name, p in trainer.model.named_parameters():
        g = gradients[name] * 0.5 / norm
        decay = 0.2 if p.dim() > 1 else 0.0
        expected = before[name] * (1 - rate * decay) - rate * g / (g.abs() + 1e-8)  # m̂ = g, v̂ = g² at first
        assert torch.allclose(p, expected, rtol=0, atol=2e-6), name


def test_accuracy_is_the_share_of_likeliest_tokens_that_came(data):
    trainer = trainer_of(data)
    inputs, targets = trainer.batches(0)
    expected = (trainer.model(inputs).argmax(-1) == targets).float().mean()
    assert trainer.step().accuracy.item() == pytest.approx(expected.item())
    assert trainer.step(score=False).accuracy is None


def test_the_loss_begins_at_ln_v_and_falls(data):
    trained = train(TINY, data, replace(QUICK, steps=60, learning_rate=5e-3, evaluate_tokens=2_000))
    first, last = trained.history[0], trained.history[-1]
    assert first["held_out_loss"] == pytest.approx(math.log(300), abs=0.1)
    assert last["held_out_loss"] < first["held_out_loss"] - 1
    assert last["held_out_accuracy"] > first["held_out_accuracy"] + 0.02


def test_one_batch_can_be_learned_by_heart(data):
    trainer = trainer_of(data, steps=200, learning_rate=1e-2, weight_decay=0.0)
    only = trainer.batches(0)
    trainer.batches = lambda *_: only
    for _ in range(150):
        step = trainer.step()
    assert step.accuracy > 0.95 and step.loss < 0.3


def test_parts_of_a_batch_add_up_to_it(data):
    whole, parts = trainer_of(data), trainer_of(data, accumulate=4)
    for _ in range(3):
        one, other = whole.step(), parts.step()
        assert one.loss.item() == pytest.approx(other.loss.item(), abs=1e-6)
        assert one.accuracy.item() == pytest.approx(other.accuracy.item())
        assert one.gradient_norm.item() == pytest.approx(other.gradient_norm.item(), rel=1e-5)


def test_only_matrices_decay():
    groups = adamw(GPT(TINY), replace(QUICK, weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2} and {p.dim() for p in groups[1]["params"]} == {1}
    assert sum(len(group["params"]) for group in groups) == len(list(GPT(TINY).parameters()))


def test_the_rate_rises_to_its_peak_and_falls_to_its_share():
    settings = TrainConfig(steps=50, warmup_steps=10, learning_rate=2.0, final_share=0.1)
    rates = [learning_rate(step, settings) for step in range(50)]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert max(rates) == rates[9] == 2.0 and rates[-1] == pytest.approx(0.2)
    assert rates[9:] == sorted(rates[9:], reverse=True)
    middle = learning_rate(29, settings)  # 20 of the 40 steps after the warm-up
    assert middle == pytest.approx((2.0 + 0.2) / 2)
    assert learning_rate(0, replace(settings, warmup_steps=0)) < 2.0
    # Behind the last step the cosine would climb again.
    assert [learning_rate(step, settings) for step in (50, 89, 10**6)] == pytest.approx([0.2] * 3)
    assert learning_rate(7, replace(settings, steps=5, warmup_steps=5)) == pytest.approx(0.2)


def test_the_same_seed_gives_the_same_run_and_another_another(data):
    config = TINY.but(dropout=0.2)
    first, second = train(config, data, QUICK), train(config, data, QUICK)
    assert losses(first.history) == losses(second.history)
    assert losses(train(config, data, replace(QUICK, seed=1)).history) != losses(first.history)


def test_dropout_differs_from_step_to_step(data):
    trainer = trainer_of(data, TINY.but(dropout=0.5))
    trainer.settings = replace(QUICK, learning_rate=1e-30, clip_norm=1e-30)
    trainer.batches = lambda *_: Batches(data.train, 16, 8)(0)
    assert trainer.step().loss != trainer.step().loss


def test_bfloat16_learns_nearly_the_same(data):
    exact, half = (train(TINY, data, replace(QUICK, precision=p)).history[-1] for p in ("fp32", "amp-bf16"))
    assert half["loss"] == pytest.approx(exact["loss"], abs=0.05) and half["loss"] != exact["loss"]


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("steps", 0, ValueError, "steps must be at least 1; got 0"),
        ("batch_size", 2.0, TypeError, "batch_size must be an int"),
        ("seed", -1, ValueError, "seed must be at least 0; got -1"),
        ("warmup_steps", True, TypeError, "warmup_steps must be an int"),
        ("learning_rate", 0, ValueError, "learning_rate must be more than 0 and at most 1,000; got 0"),
        ("learning_rate", "fast", TypeError, "learning_rate must be a number; got 'fast'"),
        ("learning_rate", math.nan, ValueError, "learning_rate must be more than 0 and at most 1,000; got nan"),
        ("beta2", 1.0, ValueError, "beta2 must be at least 0 and less than 1; got 1.0"),
        ("final_share", 1.5, ValueError, "final_share must be at least 0 and at most 1; got 1.5"),
        ("precision", "int4", ValueError, "precision must be one of fp32, amp-bf16, amp-fp16; got 'int4'"),
        ("precision", "bf16", ValueError, "precision must be one of fp32, amp-bf16, amp-fp16; got 'bf16'"),
        ("accumulate", 3, ValueError, "accumulate must divide batch_size=32; got 3"),
        ("learning_rate", 1e38, ValueError, r"learning_rate must be more than 0 and at most 1,000; got 1e\+38"),
        ("learning_rate", math.inf, ValueError, "learning_rate must be more than 0 and at most 1,000; got inf"),
        ("weight_decay", 1e38, ValueError, r"weight_decay must be at least 0 and at most 1,000; got 1e\+38"),
        ("clip_norm", 1e38, ValueError, r"clip_norm must be more than 0 and at most 1e30; got 1e\+38"),
        ("batch_size", 10**11, ValueError, "batch_size must be at most 65,536; got 100000000000"),
        ("warmup_steps", 10**30, ValueError, "warmup_steps must be at most 1,000,000,000,000; got 1000"),
        ("steps", 10**30, ValueError, "steps must be at most 1,000,000,000,000; got 1000"),
        ("evaluate_tokens", 10**30, ValueError, "evaluate_tokens must be at most 1,000,000,000,000; got 1000"),
        ("seed", 2**64, ValueError, "seed must be at most 18,446,744,073,709,551,615; got"),
    ],
)
def test_impossible_settings_are_named(field, value, error, message):
    with pytest.raises(error, match=message):
        TrainConfig(**{field: value})


def test_numpys_numbers_are_numbers():
    settings = TrainConfig(steps=np.int64(5), seed=np.uint8(3), learning_rate=np.float32(0.5), warmup_steps=np.int32(0))
    assert json.loads(json.dumps(asdict(settings))) == asdict(
        TrainConfig(steps=5, seed=3, learning_rate=0.5, warmup_steps=0)
    )


def test_what_does_not_fit_together_is_named(data, tmp_path):
    with pytest.raises(ValueError, match="vocab_size must be the data's, 300; got 1024"):
        train("mini", data, QUICK, tmp_path / "run")
    with pytest.raises(ValueError, match="config must be a GPTConfig or one of tiny, mini"):
        train("maxi", data)
    with pytest.raises(ValueError, match="tokens must be more than context_length=50000"):
        train(TINY.but(context_length=50_000), data, QUICK)
    with pytest.raises(ValueError, match="out must name a folder; got ''"):
        train(TINY, data, QUICK, "")
    with pytest.raises(ValueError, match="trackers must have a folder"):
        train(TINY, data, QUICK, trackers=["wandb"])
    with pytest.raises(ValueError, match="precision must be amp-bf16 or fp32 on a CPU"):
        train(TINY, data, replace(QUICK, precision="amp-fp16"), processes=Processes(device="cpu"))
    assert not (tmp_path / "run").exists()


def test_recipes_are_for_configurations_that_there_are():
    assert set(RECIPES) <= set(CONFIGS)


# evaluation


def test_every_token_but_the_first_is_predicted_once_from_half_a_context(data):
    torch.manual_seed(1)
    model, tokens = GPT(TINY).eval(), data.held_out[:75]
    nats = right = 0
    ids = torch.tensor(tokens.astype("int64"))
    for first in range(0, 74, 8):  # each by itself, from all that its window shows
        for i in range(first, min(first + 8, 74)):
            seen = ids[max(0, first - 8) : i + 1]
            logits = model(seen[None])[0, -1]
            nats += F.cross_entropy(logits, ids[i + 1]).item()
            right += (logits.argmax() == ids[i + 1]).item()
    found = evaluate(model, tokens, token_bytes(data.tokenizer), batch_size=3)
    n_bytes = len(data.tokenizer.decode(tokens[1:].tolist()).encode())
    assert (found.tokens, found.bytes) == (74, n_bytes)
    assert found.loss == pytest.approx(nats / 74, rel=1e-5) and found.accuracy == pytest.approx(right / 74)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / 74), rel=1e-5)


def test_evaluation_leaves_the_model_as_it_was(data):
    model = GPT(TINY.but(dropout=0.5)).train()
    lengths = token_bytes(data.tokenizer)
    first, second = (evaluate(model, data.held_out, lengths, max_tokens=50) for _ in range(2))
    assert first == second and first.tokens == 50 and model.training
    with pytest.raises(ValueError, match="tokens must be at least 2"):
        evaluate(model, data.held_out[:1], lengths)
    with pytest.raises(ValueError, match="token_bytes must have one for each of 300 tokens; got 299"):
        evaluate(model, data.held_out, lengths[:-1])


def test_an_untrained_model_needs_log2_v_bits_a_token(data):
    found = evaluate(GPT(TINY), data.held_out, token_bytes(data.tokenizer))
    assert found.bits_per_byte == pytest.approx(math.log2(300) * found.tokens / found.bytes, rel=0.02)


# a run on disk


def test_a_run_leaves_a_model_that_loads_and_says_how_it_came(data, tmp_path):
    trained = train(TINY, data, QUICK, tmp_path)
    model = pretrained.load(tmp_path)
    tokens = torch.randint(300, (2, 9))
    assert torch.equal(model(tokens), trained.model(tokens)) and not trained.model.training
    assert pretrained.load_tokenizer(tmp_path).to_str() == data.tokenizer.to_str()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["held_out"] == asdict(trained.held_out) | {"perplexity": trained.held_out.perplexity}
    assert results["settings"] == asdict(QUICK) and results["tokens_read"] == 12 * 8 * 16
    rows = read_metrics(tmp_path / "metrics.csv")
    assert rows == trained.history and [row["step"] for row in rows] == list(range(13))
    assert [row["step"] for row in rows if row["held_out_loss"] is not None] == [0, 6, 12]
    with (tmp_path / "metrics.csv").open() as file:
        assert tuple(next(csv.reader(file))) == COLUMNS


@pytest.mark.parametrize("stop", [1, 4, 7, 12])
def test_a_run_that_was_stopped_goes_on_to_the_same_losses(stop, data, tmp_path, monkeypatch):
    config = TINY.but(dropout=0.2)
    straight = train(config, data, QUICK, tmp_path / "straight")

    class Stopped(Exception):
        pass

    real, done = Trainer.step, []

    def step(self, **options):
        if len(done) == stop:
            raise Stopped
        done.append(1)
        return real(self, **options)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Trainer, "step", step)
        train(config, data, replace(QUICK, steps=12), tmp_path / "stopped")
        raise Stopped  # it had come to its end
    resumed = train(config, data, QUICK, tmp_path / "stopped")
    assert losses(resumed.history) == losses(straight.history)
    for name, weight in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], weight), name


def command(source, out, *more, config="mini"):
    return [
        *("-m", "minigpt.train", "--config", config, "--data", str(source), "--out", str(out), "--quiet"),
        *("--vocab-size", "300", "--context-length", "16", "--d-model", "32", "--n-heads", "2", "--n-layers", "2"),
        *("--batch-size", "8", "--warmup-steps", "3", "--log-every", "1", "--evaluate-every", "50"),
        *("--checkpoint-every", "5", "--evaluate-tokens", "200", "--dropout", "0.1", "--device", "cpu", *more),
    ]


def in_process(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(process, expected=0):
    output = process.communicate(timeout=120)[0]
    assert process.returncode == expected, output[-3000:]
    return output


@pytest.mark.long
def test_a_run_killed_again_and_again_has_the_losses_of_one_that_was_not(source, tmp_path):
    finished(in_process(command(source, tmp_path / "straight", "--steps", "300")))
    arguments, kills = command(source, tmp_path / "killed", "--steps", "300"), 0
    table = tmp_path / "killed" / "metrics.csv"
    # While Python starts or the text is prepared, and then with so many rows in the table.
    for seconds, rows in [(2.5, 999), (3.5, 999), (99, 1), (99, 60), (99, 61), (99, 140), (99, 220)]:
        process = in_process(arguments)
        began = time.monotonic()
        while process.poll() is None and time.monotonic() < began + 120:
            if time.monotonic() > began + seconds or table.is_file() and table.read_text().count("\n") > rows:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills >= 5
    finished(in_process(arguments))
    straight, killed = (read_metrics(tmp_path / name / "metrics.csv") for name in ("straight", "killed"))
    assert losses(killed) == losses(straight) and len(straight) == 301
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "killed")]
    assert weights[0] == weights[1]


def test_another_configuration_or_text_is_refused_and_nothing_changed(source, data, tmp_path):
    train(TINY, data, QUICK, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(ValueError, match=r"is of a run with n_layers=2, not 3. It was left as it is"):
        train(TINY.but(n_layers=3), data, QUICK, tmp_path / "run")
    with pytest.raises(ValueError, match="learning_rate=0.001, not 0.002; other data"):
        other = tmp_path / "other.txt"
        other.write_text(source.read_text(encoding="utf-8")[::-1], encoding="utf-8")
        train(TINY, prepare(other, tmp_path / "data", 300), replace(QUICK, learning_rate=2e-3), tmp_path / "run")
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_what_is_said_of_a_run_may_change_when_it_goes_on(data, tmp_path):
    train(TINY, data, QUICK, tmp_path)
    again = train(TINY, data, replace(QUICK, log_every=5, checkpoint_every=3, evaluate_tokens=100), tmp_path)
    assert again.history == read_metrics(tmp_path / "metrics.csv") and len(again.history) == 13


def test_a_run_of_before_names_changed_goes_on(data, tmp_path):
    settings = replace(QUICK, precision="amp-bf16")
    expected = train(TINY, data, settings, tmp_path).history
    tensors, facts = read_checkpoint(tmp_path / "checkpoint.safetensors")
    facts["settings"]["precision"] = "bf16"
    column, old_column = "held_out_bits_per_byte", "held_out_bits_a_byte"
    old_table = (tmp_path / "metrics.csv").read_text().replace(column, old_column)
    assert old_column in old_table
    (tmp_path / "metrics.csv").write_text(old_table)
    tensors["metrics.csv"] = torch.frombuffer(bytearray(old_table.encode()), dtype=torch.uint8)
    write_checkpoint(tmp_path / "checkpoint.safetensors", tensors, facts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train(TINY, data, settings, tmp_path).history == expected
    assert read_metrics(tmp_path / "metrics.csv") == expected
    assert column in (tmp_path / "metrics.csv").read_text()


# checkpoints


@pytest.fixture
def checkpoint(data, tmp_path):
    trainer = trainer_of(data)
    trainer.step()
    trainer.save(tmp_path / "checkpoint.safetensors", {"seconds": 1.5})
    return tmp_path / "checkpoint.safetensors"


def test_a_checkpoint_holds_parameters_and_both_averages(checkpoint, data):
    tensors, facts = read_checkpoint(checkpoint)
    assert facts["step"] == 1 and facts["seconds"] == 1.5
    n = len(list(GPT(TINY).parameters()))
    assert len([name for name in tensors if name.startswith("model/")]) == n
    assert len([name for name in tensors if name.endswith(("/exp_avg", "/exp_avg_sq"))]) == 2 * n


@pytest.mark.parametrize("where", ["tensors", "facts"])
def test_a_flipped_bit_is_seen(where, checkpoint):
    raw = bytearray(checkpoint.read_bytes())
    place = len(raw) - 1000 if where == "tensors" else raw.index(b"seconds") + len(b'seconds\\": ')
    raw[place] ^= 1
    checkpoint.write_bytes(raw)
    with pytest.raises(ValueError, match="is damaged: its content doesn't fit its checksum. It was left as it is"):
        read_checkpoint(checkpoint)
    assert checkpoint.read_bytes() == raw


@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_cut_off_checkpoint_is_seen(checkpoint, length):
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])
    with pytest.raises(ValueError, match="it is damaged"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": -1}, "step must be a whole number of at least 0; got -1"),
        ({"step": 1.5}, "step must be a whole number of at least 0; got 1.5"),
        ({"step": 99, "settings": {"steps": 12}}, "step must be at most steps=12; got 99"),
        ({"seconds": -1}, "seconds must be a number of at least 0; got -1"),
        ({"seconds": math.nan}, "seconds must be a number of at least 0; got nan"),
        ({"scaler": [1]}, r"scaler must be an object; got \[1\]"),
    ],
)
def test_facts_that_cannot_be_are_named(changed, message, checkpoint):
    tensors, facts = read_checkpoint(checkpoint)
    write_checkpoint(checkpoint, tensors, facts | changed)
    with pytest.raises(ValueError, match=f"checkpoint.safetensors must be a checkpoint; .*{message}"):
        read_checkpoint(checkpoint)


def test_tensors_that_cannot_be_are_named_and_nothing_changed(checkpoint, data):
    tensors, facts = read_checkpoint(checkpoint)
    trainer = trainer_of(data)
    before = [p.clone() for p in trainer.model.parameters()]
    for changed, message in [
        ({"model/norm.bias": torch.full((32,), math.nan)}, "must hold finite numbers; model/norm.bias"),
        ({"model/norm.bias": torch.zeros(32, dtype=torch.int64)}, "must hold finite numbers; model/norm.bias"),
        ({"optimizer/norm.bias/exp_avg": torch.zeros(31)}, "must hold finite numbers; optimizer/norm.bias/exp_avg"),
        ({"optimizer/norm.bias/speed": torch.zeros(32)}, "the model's and AdamW's; got optimizer/norm.bias/speed"),
        ({"optimizer/nothing/exp_avg": torch.zeros(32)}, "the model's and AdamW's; got optimizer/nothing/exp_avg"),
        ({"optimizer/norm.bias/exp_avg": None}, "step, exp_avg and exp_avg_sq of all parameters; not of norm.bias"),
    ]:
        planted = {name: tensor for name, tensor in (tensors | changed).items() if tensor is not None}
        with pytest.raises(ValueError, match=message):
            trainer.resume(planted, facts)
    with pytest.raises(ValueError, match="facts must say step and scaler; they say seconds"):
        trainer.resume(tensors, {"seconds": 1})
    assert all(torch.equal(p, q) for p, q in zip(before, trainer.model.parameters(), strict=True))
    assert not trainer.optimizer.state and trainer.done == 0


def test_what_lies_in_a_checkpoints_place_is_not_trained_over(data, tmp_path):
    (tmp_path / "checkpoint.safetensors").symlink_to(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="checkpoint.safetensors must be a checkpoint"):
        train(TINY, data, QUICK, tmp_path)
    pretrained.save(GPT(TINY), tmp_path / "other")
    (tmp_path / "checkpoint.safetensors").unlink()
    write_checkpoint(tmp_path / "checkpoint.safetensors", {}, {"step": 1})
    with pytest.raises(ValueError, match="must be a run's; it doesn't say config, settings, data, seconds, scaler"):
        train(TINY, data, QUICK, tmp_path)


def test_a_longer_run_is_another_and_the_reason_is_said(data, tmp_path):
    train(TINY, data, replace(QUICK, steps=1), tmp_path)
    with pytest.raises(
        ValueError, match="steps=1, not 12.*A run of 1 steps can't become one of 12: how fast the learn"
    ):
        train(TINY, data, QUICK, tmp_path)
    with pytest.raises(ValueError, match=r"choose another folder$"):
        train(TINY, data, replace(QUICK, steps=1, seed=5), tmp_path)


def test_a_run_whose_lock_was_deleted_takes_it_again_or_stops(tmp_path):
    with only_run_in(tmp_path) as stay_alone:
        (tmp_path / ".lock").unlink()
        stay_alone()  # nobody else was there: it holds the lock again
        with pytest.raises(RuntimeError, match="another process is training into it"), only_run_in(tmp_path):
            pass
        (tmp_path / ".lock").unlink()
        with only_run_in(tmp_path), pytest.raises(RuntimeError, match="another process is training into it"):
            stay_alone()
    with only_run_in(tmp_path):
        pass


def test_a_second_run_after_the_lock_was_deleted_stops_the_first(data, tmp_path, monkeypatch):
    real, finished_by_other = Trainer.step, []

    def step(self, **options):
        if self.done == 5 and not finished_by_other:
            finished_by_other.append(True)
            (tmp_path / ".lock").unlink()
            finished_by_other.append(only_run_in(tmp_path))
            finished_by_other[1].__enter__()
        return real(self, **options)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(RuntimeError, match="another process is training into it"):
        train(TINY, data, QUICK, tmp_path)
    assert read_metrics(tmp_path / "metrics.csv")[-1]["step"] == 5
    finished_by_other[1].__exit__(None, None, None)


def test_a_link_in_the_locks_place_is_refused_and_its_target_kept(data, tmp_path):
    (tmp_path / "precious").write_text("text")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=".lock must be an empty file; it is a link"):
        train(TINY, data, QUICK, tmp_path / "run")
    (tmp_path / "run" / ".lock").unlink()
    os.mkfifo(tmp_path / "run" / ".lock")
    with pytest.raises(OSError, match=".lock must be an empty file; it is a link, a folder or a device"):
        train(TINY, data, QUICK, tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "text"


def test_of_two_starts_at_once_one_wins_and_the_other_says_so(source, tmp_path):
    both = [in_process(command(source, tmp_path / "run", "--steps", "40")) for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], outputs
    refused = next(o for o, process in zip(outputs, both, strict=True) if process.returncode)
    assert "must be free; another process is training into it" in refused and "Traceback" not in refused


def test_a_process_that_waits_for_the_text_says_so(source, tmp_path):
    process = in_process(
        ["-u", *command(source, tmp_path / "run")], RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", PYTHONUNBUFFERED="1"
    )
    try:
        said = next(line for line in process.stdout if "waiting" in line)
        assert "waiting for the process of rank 0 to prepare" in said and "/run/data" in said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with pytest.raises(TimeoutError, match="must be prepared by the process of rank 0; it isn't after 0 hours"):
        cli_module.waited_for(tmp_path / "nothing", hours=0)


def test_a_folder_is_one_runs_at_a_time(data, tmp_path):
    with only_run_in(tmp_path), pytest.raises(RuntimeError, match="another process is training into it"):
        train(TINY, data, QUICK, tmp_path)
    train(TINY, data, QUICK, tmp_path)


def test_a_model_that_is_lost_does_not_replace_a_good_checkpoint(data, tmp_path, monkeypatch):
    """A rate of 10^30 makes the loss nan within the first four steps, before the first checkpoint."""
    monkeypatch.setattr(trainer_module, "learning_rate", lambda *_: 1e30)
    with pytest.raises(FloatingPointError, match="the loss of step 4 is (nan|inf); the last checkpoint is kept"):
        train(TINY, data, replace(QUICK, clip_norm=1e30), tmp_path)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def spoil(monkeypatch, at, how):
    """Let something happen to the trainer behind the step of that number; the loss knows nothing of it."""
    real = Trainer.step

    def step(self, **options):
        done = real(self, **options)
        if self.done == at:
            with torch.no_grad():
                how(self)
        return done

    monkeypatch.setattr(Trainer, "step", step)


@pytest.mark.parametrize(
    ("what", "number"),
    [
        ("parameter", math.nan),
        ("parameter", -math.inf),
        ("parameter", 1e38),
        ("exp_avg", math.nan),
        ("exp_avg_sq", math.inf),
    ],
)
def test_a_number_that_is_lost_in_the_step_itself_is_seen_before_anything_is_written(
    what, number, data, tmp_path, monkeypatch
):
    def lose(trainer):
        last = list(trainer.model.parameters())[-1]
        (last if what == "parameter" else trainer.optimizer.state[last][what])[3] = number

    spoil(monkeypatch, 5, lose)
    with pytest.raises(FloatingPointError, match="after step 5 norm.bias, .* the last checkpoint is kept"):
        train(TINY, data, replace(QUICK, checkpoint_every=1), tmp_path)
    assert read_checkpoint(tmp_path / "checkpoint.safetensors")[1]["step"] == 4
    monkeypatch.undo()
    assert train(TINY, data, replace(QUICK, checkpoint_every=1), tmp_path).history[-1]["step"] == 12


@pytest.mark.parametrize("number", [math.nan, 1e38])
def test_a_model_that_is_lost_at_the_end_is_not_written_and_leaves_the_one_before(number, data, tmp_path, monkeypatch):
    train(TINY, data, QUICK, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.suffix in (".json", ".safetensors")}
    real = Trainer.resume

    def resume(self, *saved):
        real(self, *saved)
        with torch.no_grad():
            self.model.blocks[0].attention.query.bias[0] = number

    monkeypatch.setattr(Trainer, "resume", resume)
    with pytest.raises(FloatingPointError, match="after step 12 blocks.0.attention.query.bias"):
        train(TINY, data, QUICK, tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_loss_on_held_out_text_that_is_no_number_is_not_written(data, tmp_path, monkeypatch):
    lost = replace(evaluate(GPT(TINY), data.held_out, data.token_bytes, 50), loss=math.nan)
    monkeypatch.setattr(Trainer, "evaluate", lambda *_: lost)
    with pytest.raises(FloatingPointError, match="the loss on held-out text is nan; the last checkpoint is kept"):
        train(TINY, data, QUICK, tmp_path)
    assert not (tmp_path / "results.json").exists() and not (tmp_path / "model.safetensors").exists()


def test_results_are_json_even_where_there_is_nothing_to_measure(tmp_path):
    """The one token that is predicted ends the document, and stands for no bytes: there are no bits per byte."""
    for i in range(10):
        (tmp_path / f"{i}.txt").write_text("ab" * 300 if i < 9 else "abab", encoding="utf-8")
    data = prepare(tmp_path, tmp_path / "data", 258)
    assert data.held_out.tolist()[2:] == [0]
    single = replace(data, held_out=data.held_out[1:])
    settings = replace(QUICK, steps=1, batch_size=1)
    trained = train(TINY.but(vocab_size=258), single, settings, tmp_path / "run")
    assert math.isnan(trained.held_out.bits_per_byte)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    results = json.loads((tmp_path / "run" / "results.json").read_text(), parse_constant=refuse)
    assert results["held_out"]["bits_per_byte"] is None and results["held_out"]["bytes"] == 0


def test_a_run_is_shipped_in_half_precision_with_what_was_measured(data, tmp_path):
    run, shipped = tmp_path / "run", tmp_path / "shipped"
    trained = train(TINY, data, QUICK, run)
    train_shipped.ship(run, shipped)
    assert {path.name for path in shipped.iterdir()} == {"config.json", "model.safetensors", *train_shipped.TEXTS}
    for name in train_shipped.TEXTS:
        assert (shipped / name).read_bytes() == (run / name).read_bytes()
    theirs = pretrained.load(shipped).state_dict()
    assert all(torch.equal(theirs[name], w.half().float()) for name, w in trained.model.state_dict().items())
    assert read_metrics(shipped / "metrics.csv") == trained.history


def test_a_full_disk_at_the_end_leaves_the_model_that_was_there(data, tmp_path, monkeypatch):
    train(TINY, data, QUICK, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(pretrained, "save_file", full)
    with pytest.raises(OSError, match="could not be written: I/O error: No space left"):
        train(TINY, data, QUICK, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_files_are_no_checkpoints(tmp_path):
    pretrained.save(GPT(TINY), tmp_path)
    with pytest.raises(ValueError, match="holds tensors and nothing about a run"):
        read_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_checkpoint(tmp_path / "none.safetensors")


def test_a_pickle_is_never_loaded(tmp_path):
    """torch.save's files, which could run any program, are refused unread."""
    torch.save({"model/head.weight": torch.ones(3)}, tmp_path / "evil.safetensors")
    with pytest.raises(ValueError, match="it is damaged"):
        read_checkpoint(tmp_path / "evil.safetensors")


def test_another_models_tensors_are_named(checkpoint, data):
    tensors, facts = read_checkpoint(checkpoint)
    trainer = trainer_of(data, TINY.but(d_ff=100))
    before = [p.clone() for p in trainer.model.parameters()]
    with pytest.raises(ValueError, match=r"tensors must be the model's; blocks.0.* must be \(32, 100\), got \(32, 128"):
        trainer.resume(tensors, facts)
    assert all(torch.equal(p, q) for p, q in zip(before, trainer.model.parameters(), strict=True))


def test_the_checksum_depends_on_names_and_numbers():
    base = {"a": torch.arange(3.0), "b": torch.tensor(1)}
    assert checksum(base, "") == checksum(dict(reversed(base.items())), "")
    assert checksum(base, "") != checksum({"a": base["a"], "c": base["b"]}, "")
    assert checksum(base, "") != checksum({"a": base["a"] + 1, "b": base["b"]}, "")
    assert checksum(base, "") != checksum(base, "{}")


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from minigpt.train import main
main(sys.argv[1:])
"""


@pytest.mark.long
def test_on_a_full_disk_the_last_checkpoint_is_kept(source, tmp_path):
    """A limit on the size of a file stands for the full disk: the system refuses to write, really."""
    arguments = command(source, tmp_path / "run", "--steps", "20")
    finished(in_process(arguments))
    tensors, facts = read_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    facts["step"] = 15
    write_checkpoint(tmp_path / "run" / "checkpoint.safetensors", tensors, facts)
    before = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    assert len(before) > 100_000
    output = finished(in_process(["-c", FULL_DISK, *arguments[2:]]), expected=1)
    assert "checkpoint.safetensors could not be written" in output and "what was there before is untouched" in output
    assert "Traceback" not in output
    assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == before
    assert not list((tmp_path / "run").glob("*.partial"))


# metrics


def test_numbers_are_read_back_to_the_bit_and_a_half_written_line_is_dropped(tmp_path):
    file = MetricsFile(tmp_path / "metrics.csv")
    rows = [dict.fromkeys(COLUMNS) | {"step": n, "loss": math.pi / (n + 1), "accuracy": 1e-20} for n in range(3)]
    for row in rows:
        file.write(row)
    assert read_metrics(tmp_path / "metrics.csv") == rows
    with (tmp_path / "metrics.csv").open("a") as raw:
        raw.write("3,128,0.0")
    assert read_metrics(tmp_path / "metrics.csv") == rows
    MetricsFile(tmp_path / "metrics.csv", step=1)
    assert read_metrics(tmp_path / "metrics.csv") == rows[:2]
    MetricsFile(tmp_path / "metrics.csv")
    assert read_metrics(tmp_path / "metrics.csv") == []


@pytest.mark.parametrize("harm", ["deleted", "cut", "emptied", "changed", "a link"])
def test_rows_that_were_lost_beside_a_checkpoint_are_restored_and_it_is_said(harm, data, tmp_path, monkeypatch):
    short = replace(QUICK, steps=6)
    straight = train(TINY, data, short, tmp_path).history
    path, text = tmp_path / "metrics.csv", (tmp_path / "metrics.csv").read_text()
    path.unlink()
    if harm == "a link":
        (tmp_path / "precious").write_text("precious")
        path.symlink_to(tmp_path / "precious")
    elif harm != "deleted":
        path.write_text({"cut": text[: len(text) // 2], "emptied": "", "changed": text.replace("1", "2")}[harm])
    with pytest.warns(UserWarning, match="metrics.csv was not as it was left; its rows up to step 6 were restored"):
        again = train(TINY, data, short, tmp_path)
    assert again.history == straight and path.read_text() == text and not path.is_symlink()
    if harm == "a link":
        assert (tmp_path / "precious").read_text() == "precious"


def test_a_checkpoint_that_has_no_metrics_goes_on_with_those_beside_it_or_says_that_they_are_missing(data, tmp_path):
    short = replace(QUICK, steps=6)
    straight = train(TINY, data, short, tmp_path).history
    tensors, facts = read_checkpoint(tmp_path / "checkpoint.safetensors")
    del tensors["metrics.csv"]
    write_checkpoint(tmp_path / "checkpoint.safetensors", tensors, facts)
    assert train(TINY, data, short, tmp_path).history == straight
    text = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text.replace("\n0,", "\n1,", 1))
    with pytest.raises(
        ValueError, match="goes on at step 6 and needs its metrics, but .* must begin with the row of st"
    ):
        train(TINY, data, short, tmp_path)
    (tmp_path / "metrics.csv").unlink()
    with pytest.raises(ValueError, match="goes on at step 6 and needs its metrics, but .*metrics.csv must be a file"):
        train(TINY, data, short, tmp_path)


@pytest.mark.parametrize("harm", ["deleted", "cut", "a link", "a pipe"])
def test_rows_that_are_lost_meanwhile_come_back_with_the_next(harm, tmp_path):
    path = tmp_path / "metrics.csv"
    file, rows = MetricsFile(path), [dict.fromkeys(COLUMNS) | {"step": n, "loss": 1 / (n + 1)} for n in range(4)]
    for row in rows[:3]:
        file.write(row)
    text = path.read_text()
    path.unlink()
    (tmp_path / "precious").write_text(text)  # as long as the table, so that its length says nothing
    if harm == "cut":
        path.write_text(text[:50])
    elif harm == "a link":
        path.symlink_to(tmp_path / "precious")
    elif harm == "a pipe":
        os.mkfifo(path)
    file.write(rows[3])
    assert read_metrics(path) == rows and (tmp_path / "precious").read_text() == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the first line must name the columns"),
        ("a,b\n1,2\n", "line 1: the first line must name the columns"),
        ("step,loss\n0,1.5\n1\n", "line 3: there must be 2 values; got 1"),
        ("step,loss\n0,1.5\n1,high\n", "line 3: could not convert string to float: 'high'"),
        ("step,loss\n,1.5\n", "line 2: step must be a whole number; got None"),
    ],
)
def test_a_damaged_table_is_named_with_the_line(text, message, tmp_path):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=f"metrics.csv is damaged in {message}"):
        read_metrics(tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="metrics.csv must be UTF-8"):
        read_metrics(tmp_path / "metrics.csv")


def test_tensorboard_gets_the_rows(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = train(TINY, data, QUICK, tmp_path, trackers=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = {event.step: event.value for event in events.Scalars("loss")}
    expected = {row["step"]: row["loss"] for row in trained.history if row["loss"] is not None}
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(events.Scalars("held_out_bits_per_byte")) == 3


@pytest.mark.long
def test_weights_and_biases_gets_the_rows_offline(data, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(TINY, data, replace(QUICK, steps=3), tmp_path, trackers=["wandb"])
    (record,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 60
    while b"held_out_bits_per_byte" not in record.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)  # a process of wandb's own writes the file, at its leisure
    assert b"held_out_bits_per_byte" in record.read_bytes() and b"batch_size" in record.read_bytes()


def test_an_unknown_tracker_is_named(data, tmp_path):
    with pytest.raises(ValueError, match="trackers must be among tensorboard, wandb; got 'paper'"):
        train(TINY, data, QUICK, tmp_path, trackers=["paper"])


# the command line


@pytest.mark.long
def test_the_command_line_says_what_is_wrong_without_a_traceback(tmp_path):
    for arguments, message in [
        (["--config", "maxi"], "error: --config must be one of tiny, mini"),
        (["--config", "mini", "--data", "nowhere.txt"], 'error: source must be "shakespeare", a file'),
        (["--config", "mini", "--steps", "0"], "error: steps must be at least 1; got 0"),
        (["--config", "mini", "--parallel", "ddp"], "error: parallel='ddp' must be started by torchrun"),
        (["--config", "mini", "--device", "gpu"], "error: device must be one of"),
        (["--config", "mini", "--n-heads", "5"], "error: n_heads must divide d_model"),
        (["--config", "mini", "--data", "hf:"], "error: source must be hf:NAME or hf:NAME:CONFIG"),
        (["--config", "mini", "--data", "hf:a?shard=1"], "error: source must be hf:NAME or hf:NAME:CONFIG"),
        (["--config", "mini", "--data", ""], 'error: source must be "shakespeare", a file'),
        (["--config", "mini", "--data", "/proc/kmsg"], "error: source must be a file or a folder on disk"),
        (["--config", "mini", "--data", "/proc"], "error: source must be a file or a folder on disk"),
        (["--config", "mini", "--data", "/dev/zero"], "error: source must be a file or a folder; got '/dev/zero'"),
        (["--config", "mini", "--device", "cpu:99"], "error: device must be one of"),
        (["--config", "mini", "--device", "cpu:x"], "error: device must be one of"),
        (["--config", "mini", "--warmup-steps", "1" + "0" * 30], "error: warmup_steps must be at most"),
        (["--config", "mini", "--batch-size", "100000000000"], "error: batch_size must be at most"),
        (["--config", "mini", "--learning-rate", "1e38"], "error: learning_rate must be more than 0 and at most"),
        (["--config", "mini", "--out", ""], "error: --out must name a folder; got ''"),
        (["--config", "mini", "--out", str(tmp_path / "file")], "error: out must be a folder; got"),
    ]:
        (tmp_path / "file").touch()
        with pytest.raises(SystemExit) as caught:
            main(["--out", str(tmp_path / "out"), *arguments])
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()


def test_training_can_be_imported_where_there_is_no_fcntl():
    """Windows has none."""
    finished(in_process(["-W", "ignore", "-c", "import sys; sys.modules['fcntl'] = None; import minigpt.train"]))


def test_every_setting_has_an_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"--{field.name.replace('_', '-')}" in shown for field in fields(TrainConfig))


# many processes


def torchrun(arguments, n=2):
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(n), *arguments]


@pytest.fixture(scope="module")
def alone(source, tmp_path_factory):
    """One process's run, without dropout: processes draw it each for themselves."""
    out = tmp_path_factory.mktemp("alone")
    finished(in_process(command(source, out, "--steps", "12", "--dropout", "0")))
    return out


@pytest.mark.long
@pytest.mark.parametrize("accumulate", ["1", "2"])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_of_one(parallel, accumulate, alone, source, tmp_path):
    more = ("--steps", "12", "--dropout", "0", "--parallel", parallel, "--accumulate", accumulate)
    finished(in_process(torchrun(command(source, tmp_path, *more))))
    ours, theirs = (read_metrics(out / "metrics.csv") for out in (tmp_path, alone))
    assert len(ours) == len(theirs) == 13
    for name in ("loss", "accuracy", "gradient_norm", "held_out_loss", "held_out_bits_per_byte"):
        for one, other in zip(ours, theirs, strict=True):
            if other[name] is None:
                assert one[name] is None
                continue
            assert one[name] == pytest.approx(other[name], rel=1e-6, abs=1e-6), name
    one, other = pretrained.load(tmp_path).state_dict(), pretrained.load(alone).state_dict()
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-5


STOP = """
import sys
from minigpt import train

last, step = int(sys.argv[1]), train.Trainer.step
train.Trainer.step = lambda self, **options: sys.exit("stopped") if self.done == last else step(self, **options)
train.main(sys.argv[2:])
"""


@pytest.mark.long
def test_a_sharded_run_goes_on_in_one_process_and_the_other_way_round(alone, source, tmp_path):
    (tmp_path / "stop.py").write_text(STOP)
    arguments = command(source, tmp_path / "run", "--steps", "12", "--dropout", "0", "--checkpoint-every", "2")[2:]
    stopping = lambda n: [str(tmp_path / "stop.py"), str(n), *arguments]  # noqa: E731
    finished(in_process(torchrun([*stopping(4), "--parallel", "fsdp"])), expected=1)
    finished(in_process(stopping(8)), expected=1)
    finished(in_process(torchrun([*stopping(99), "--parallel", "fsdp"])))
    ours, theirs = (read_metrics(out / "metrics.csv") for out in (tmp_path / "run", alone))
    assert [row["step"] for row in ours] == list(range(13))
    assert [row["loss"] for row in ours[1:]] == pytest.approx([row["loss"] for row in theirs[1:]], abs=1e-6)


def test_a_checkpoint_of_the_first_moment_says_step_0():
    check_facts({"step": 0, "seconds": 0.0})


@pytest.mark.parametrize("facts", [{"step": -1}, {"step": True}, {"seconds": True}, {"seconds": "1"}])
def test_a_checkpoint_that_says_what_cannot_be_is_refused(facts):
    with pytest.raises(ValueError, match=f"{next(iter(facts))} must be a .*number of at least 0"):
        check_facts(facts)


def test_a_checkpoint_of_before_the_first_step_leaves_no_optimizer_states(data):
    trainer = trainer_of(data)
    untrained = training_state(trainer.model, trainer.optimizer)
    assert not any(name.startswith("optimizer/") for name in untrained)
    trainer.step()
    assert trainer.optimizer.state
    restore(trainer.model, trainer.optimizer, untrained)
    assert not trainer.optimizer.state
