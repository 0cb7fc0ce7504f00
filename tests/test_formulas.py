"""The formulas of step.toml: their grammar in Python and in JavaScript, and the tables that show them."""

import itertools
import json
import random
import re
import tomllib
import zlib
from pathlib import Path

import pytest
from conftest import ROOT
from hanging import interrupted

from minigpt import CONFIGS, GPTConfig, memory
from minigpt.memory import OPTIMIZERS, PRECISIONS, STEP, Letters, training_memory
from minigpt.memory.formulas import at_once, evaluate, formula
from minigpt.memory.step_table import read_table

FOLDER = Path(training_memory.__code__.co_filename).parent
TEXT = (FOLDER / "step.toml").read_text(encoding="utf-8")
VALUES = {"a": 7, "b": 0, "c": 3, "on": True, "off": False, "kind": "amp-bf16", "x_1": 40}

#: Formulas with what they are for VALUES.
RESULTS = {
    "1 + 2*3": 7,
    "(1 + 2)*3": 9,
    "20 - 5 - 3": 12,
    "20 - (5 - 3)": 18,
    "100//7*3": 42,
    "100*3//7": 42,
    "100//(7*3)": 4,
    "(a - 9)//2": -1,
    "a if on else b": 7,
    "a if off else b if on else c": 0,
    "1 + a if off else c": 3,
    "a if off or on and off else c": 3,
    "a if on or off and off else c": 7,
    "a if not off and on else c": 7,
    "a if not (off or on) else c": 3,
    "a if not a == 7 else c": 3,
    "a if a + 1 > 2*c else c": 7,
    "a if b < c and c < a else 0": 7,
    "max(a, c)": 7,
    "max(b, c + 1, 2*(a if off else c))": 6,
    "a*on + c*off": 7,
    "c*(a > c)": 3,
    "a if kind == 'amp-bf16' else c": 7,
    "a if kind != 'fp32' and kind != '' else c": 7,
    "x_1//a": 5,
    "a*(b or c)": 21,
}

#: What is no formula, or knows more than it should.
REFUSED = [
    "", " ", "a +", "a b", "2a", "(a", "a)", "()", "a,", "a, c", "+a", "-a", "a--c", "a + + c", "a**2", "a/c",
    "a % 2", "a @ c",
    "1.5", "1e3", "0x10", "1_000", "007", "a if on", "if on else c", "a else c", "a or", "not", "a and not",
    "a + not on",
    "a < c < 9", "a == c == 9", "a <= c", "a = 1", "(a := 1)", "a := 1", "a; c", "a # c", "a\nc",
    "unknown", "a + unknown*0",
    "A", "max", "max + 1", "max()", "max(a)", "max(a,)", "max(a, c,)", "max(*a, c)", "max(a, key=c)", "min(a, c)",
    "a(c, 1)", "print(a)", "__import__('os')", "a.real", "a[0]", "[a]", "{a}", "lambda: a", "True", "None", "a is c",
    "a in c",
    "'text'", "'a' == kind", "kind == ('amp-bf16')", "kind == 'amp' 'bf16'", "kind == r'fp32'", "kind == f'fp32'",
    "a + 'x'",
    "a > 'x'", 'kind == "fp32"', "kind == 'FP 32'", "a if on else c if off", "a·c", "α", "open('x')",
    "a " + "x" * 5_000 + "$",
]  # fmt: skip


def result(text):
    return evaluate(at_once([formula(text, VALUES, "here")]), VALUES)[0]


def in_javascript(arithmetic, texts):
    """The results of formulas in the browser, or the errors' messages."""
    body = """const [texts, values] = a;
    return texts.map((text) => {
      try {
        return Number(m.formula(text, new Set(Object.keys(values)), "here")(values));
      } catch (error) {
        return error.message;
      }
    });"""
    return arithmetic(body, [texts, VALUES])


def test_a_formulas_result_is_the_same_in_both_languages(arithmetic):
    assert {text: result(text) for text in RESULTS} == RESULTS
    assert in_javascript(arithmetic, list(RESULTS)) == list(RESULTS.values())


def random_formula(choose, depth):
    if depth == 0 or choose.random() < 0.1:
        return choose.choice(("a", "b", "c", "on", "off", "x_1", "0", "1", "12"))
    one, two, three = (random_formula(choose, depth - 1) for _ in range(3))
    return choose.choice(
        (f"{one} + {two}", f"{one} - {two}", f"{one}*{two}", f"{one} // 7", f"({one})", f"({one})*({two})",
         f"{one} if {two} else {three}", f"{one} or {two}", f"{one} and {two}", f"not {one}", f"{one} < {two}",
         f"{one} > {two}", f"{one} == {two}", f"{one} != {two}", f"max({one}, {two})",
         f"{one} if kind == 'fp32' else {two}")
    )  # fmt: skip


def test_random_formulas_mean_the_same_in_both_languages(arithmetic):
    """Some are none, as `a < b < c`: both languages say so."""
    choose, texts, ours = random.Random(0), [], []
    while len(texts) < 3_000:
        text = random_formula(choose, choose.randint(1, 4))
        try:
            found = int(result(text))
        except ValueError as error:
            assert str(error).startswith("here must ")
            found = None
        if found is None or abs(found) < 2**53:
            texts.append(text)
            ours.append(found)
    theirs = in_javascript(arithmetic, texts)
    assert [None if isinstance(found, str) else found for found in theirs] == ours
    assert 300 < sum(found is None for found in ours) < 2_000


def test_what_is_no_formula_is_refused_in_both_languages(arithmetic):
    for text, theirs in zip(REFUSED, in_javascript(arithmetic, REFUSED), strict=True):
        with pytest.raises(ValueError, match="^here must "), interrupted():
            formula(text, VALUES, "here")
        assert isinstance(theirs, str) and theirs.startswith("here must have "), (text, theirs)


def planted(old, new):
    assert TEXT.count(old) == 1
    return TEXT.replace(old, new)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('"Z + scratch"', '"Z + scrach"', "'optimizer step', 'update' must use known names only; got 'scrach'"),
        ('"Z + scratch"', '"Z + min(scratch, P)"', "'update' must keep to the grammar of formulas.py; got 'min("),
        ('"Z + scratch"', '"Z + scratch**2"', "step.toml, 'optimizer step', 'update' must keep to the grammar"),
        ('["1", "update", "P"', '["1", "update", "held"', "step.toml, 'optimizer step', 'update' must use known names"),
        ('["1", "update", "P"', '["done", "update", "P"', "step.toml, 'optimizer step', 'update' must use known names"),
        ('N = ["B*T"', 'N = ["B*R"', "step.toml, letters, 'N' must use known names only; got 'R'"),
        ('N = ["B*T"', 'N = ["B*"', "step.toml, letters, 'N' must be a formula"),
        ('N = ["B*T"', 'dropout = ["B*T"', "step.toml, letters: each name must be new; got 'dropout' again"),
        ('tokens = ["8*N"', 'tokens = ["8*kept"', "step.toml, saved of the embedding, 'tokens' must use known names"),
        ('"P", "batch", "Z + scratch"]', '"P", "Z + scratch"]', "'optimizer step', 'update' must have 3 formulas"),
    ],
)  # fmt: skip
def test_a_fault_in_the_table_is_named(old, new, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_table(planted(old, new))


def test_what_is_saved_up_to_an_operation_is_the_sum_of_what_is_saved():
    """Two places say it: the operations of a block, and the letters of the stages."""
    for precision in ("fp32", "amp-bf16", "bf16"):
        for attention in ("explicit", "fused"):
            for config in (CONFIGS["mini"], CONFIGS["mini"].but(dropout=0.1, activation="relu")):
                letters = Letters(config, 3, precision=precision, attention=attention, device="cuda")
                block, sums, so_far = letters.saved["block"], {}, 0
                for operation, size in block.items():
                    sums[operation] = so_far = so_far + size
                assert letters.to_keys == sums["query, key, value"]
                for name in ("attention", "output", "norm2", "expand", "contract"):
                    assert getattr(letters, f"to_{name}") == sums[name]
                assert letters.norm == block["norm1"] == block["norm2"] == letters.saved["head"]["last norm"]


def test_a_shown_formula_has_the_value_it_stands_for():
    """The stages of a step, their formulas evaluated as they are shown."""
    for name, how in (
        ("homework", {"device": "cuda"}),
        ("mini", {"precision": "amp-bf16", "checkpointing": True, "accumulating": True}),
        (CONFIGS["mini"].but(dropout=0.1), {"attention": "explicit", "optimizer": "adamw-fused"}),
    ):
        letters = Letters(name, 2, **how)
        predicted = training_memory(name, 2, **how)
        table = STEP.stage_table(letters.values)
        assert list(dict.fromkeys(row[0] for row in table.rows)) == list(
            dict.fromkeys(f"{stage.name}: {stage.detail}" for stage in predicted.stages)
        )
        said = dict(row[:2] for row in table.rows)
        for stage, row, sizes, here in STEP.stages_of(letters.values):
            texts = said[f"{stage.name}: {row.operation}"].replace("·", "*").split(" | ")
            assert evaluate(at_once(formula(text, here, "shown") for text in texts), here) == sizes
            assert not any(" if " in text or "max(" in text for text in texts)
        assert f"{predicted.peak_bytes / 1e9:.2f}" == max((row[2] for row in table.rows), key=float)
        letter_table = STEP.letter_table(letters.values, table)
        used = set(re.findall(r"[A-Za-z_]\w*", " ".join(said.values())))
        assert used - {"done", "context_length", *STEP.saved} == used & {row[0] for row in letter_table.rows}
        block = STEP.saved_table("block", letters.values)
        assert block.total == sum(letters.saved["block"].values())


def all_kinds_of_steps():
    """Small steps of every kind, as arguments of `training_memory`; sizes are such that no two letters are alike."""
    sizes = [
        (GPTConfig(vocab_size=31, context_length=37, d_model=15, n_heads=3, n_layers=4, d_ff=23), 7, 32),
        (GPTConfig(vocab_size=311, context_length=17, d_model=14, n_heads=1, n_layers=1, d_ff=37), 1, 1),
        (GPTConfig(vocab_size=61, context_length=43, d_model=34, n_heads=2, n_layers=2, d_ff=19), 1, 33),
        (GPTConfig(vocab_size=29, context_length=5, d_model=22, n_heads=2, n_layers=3, d_ff=41), 2, 2),
    ]
    switches = itertools.product((False, True), repeat=8)
    for i, (switch, precision, (config, batch_size, T)) in enumerate(itertools.product(switches, PRECISIONS, sizes)):
        config = config.but(
            dropout=0.1 * switch[0],
            attention_dropout=0.1 * switch[1],
            bias=switch[2],
            tie_weights=switch[3],
            activation="relu" if switch[4] else "gelu",
        )
        how = {
            "precision": precision,
            "optimizer": OPTIMIZERS[i % len(OPTIMIZERS)],
            "attention": "fused" if i % 7 < 3 else "explicit",
            "checkpointing": switch[5],
            "device": "cuda" if switch[6] else "cpu",
            "accumulating": switch[7],
        }
        if how["device"] == "cpu":
            how["attention"] = "explicit" if config.attention_dropout or precision != "fp32" else how["attention"]
        if (how["device"], precision) != ("cpu", "amp-fp16"):
            yield config, batch_size, T, how


def digests():
    """A number for each operation that saves something, and for each stage's operation, of all their sizes."""
    sizes = {}
    for config, batch_size, T, how in all_kinds_of_steps():
        memory = training_memory(config, batch_size, T, **how)
        for layer in ("embedding", "block 0", "head"):
            for operation, size in memory.saved[layer].items():
                sizes.setdefault(f"{layer}, {operation}", []).append(size)
        for stage in memory.stages:
            parts = (stage.parameters_bytes, stage.gradients_bytes, stage.optimizer_bytes)
            parts += (stage.saved_bytes, stage.temporaries_bytes)
            sizes.setdefault(f"{stage.name}: {stage.detail}", []).append(parts)
    return {place: f"{zlib.crc32(repr(found).encode()):08x}" for place, found in sizes.items()}


def test_every_size_is_what_two_programs_said():
    """The sizes that the formulas had in Python and in JavaScript, each written out, before both read one table.

    Measurements hold the stages that can be the fullest; this holds the others. Where a formula is meant to change,
    write the new digests into the file.
    """
    assert digests() == json.loads((Path(__file__).parent / "step_digests.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "old, new, place",
    [
        ('"below + (L - 1)*kept + to_output"', '"below + (L - 1)*kept + to_keys"', "forward of a block: output"),
        ('"L*left + n + R"', '"L*left + n + n"', "forward of a block: sum"),
        ('"held + n + f + e*F*C"', '"held + n + f + r*F*C"', "backward of a block: expand"),
        ('"finished_here + 2*projection_gradient"', '"finished_here"', "backward of a block: query, key, value"),
        ('"others + to_attention + n"', '"others + to_attention"', "backward of a block: fused attention"),
        ('"f + c*F*C"', '"f + e*F*C"', "block 0, contract"),
    ],
)
def test_a_wrong_letter_is_noticed_and_placed(old, new, place, monkeypatch):
    right = digests()
    monkeypatch.setattr(memory.step, "STEP", read_table(planted(old, new)))
    assert place in {name for name, digest in digests().items() if digest != right[name]}


def test_all_data_files_are_part_of_the_package():
    """Tables, style sheets, front ends and weights, which an installed package needs as well."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    listed = set()
    for package, patterns in settings["package-data"].items():
        assert package in settings["packages"]
        listed |= {path for pattern in patterns for path in (ROOT / package.replace(".", "/")).glob(pattern)}
    data = {path for path in (ROOT / "minigpt").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert FOLDER / "step.toml" in data <= listed
