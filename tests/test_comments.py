"""The comments are claims, and claims are tested: shapes against tensors, explanations for being there."""

import ast
import importlib.util
import inspect
import re
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import minigpt
from minigpt import GPTConfig, MultiHeadAttention, attention, model, sampling
from minigpt.data import Batches
from minigpt.page import shapes
from minigpt.page.annotate import annotate
from minigpt.page.source import find_source
from minigpt.train import TrainConfig, evaluation, trainer

# Every letter has a size of its own, so that no two can be taken for each other.
CONFIG = GPTConfig(vocab_size=31, context_length=17, d_model=6, n_heads=3, n_layers=1, d_ff=13)
LETTERS = {"B": 5, "C": 6, "H": 3, "D": 2, "F": 13, "V": 31, "T_max": 17}
T, PAST, N = 4, 7, 9
MODULES = (attention, model, sampling, evaluation, trainer)


def calls(attention, model, sampling, evaluation, trainer):
    """Calls that run every commented line of these modules, each with its T and S."""
    tokens = torch.randint(CONFIG.vocab_size, (LETTERS["B"], T))
    earlier = torch.randint(CONFIG.vocab_size, (LETTERS["B"], PAST))
    x = torch.randn(LETTERS["B"], T, CONFIG.d_model)
    # Rebuilt from this module's classes, so that a planted copy is what runs.
    gpt, layer = model.GPT(CONFIG).eval(), attention.MultiHeadAttention(CONFIG.d_model, CONFIG.n_heads)
    relu = model.GPT(CONFIG.but(activation="relu")).eval()
    frugal = model.GPT(CONFIG)
    frugal.checkpointing = True

    def cached(**options):
        cache = attention.KVCache(CONFIG.context_length)
        with torch.no_grad():
            layer(torch.randn(LETTERS["B"], PAST, CONFIG.d_model), cache)
            return lambda: torch.no_grad()(layer)(x, cache, **options)

    def cached_gpt():
        cache = gpt.new_cache()
        with torch.no_grad():
            gpt(earlier, cache=cache)
        return lambda: torch.no_grad()(gpt)(tokens, cache=cache)

    yield lambda: model.GPT(CONFIG), T, T
    yield lambda: attention.MultiHeadAttention(CONFIG.d_model, CONFIG.n_heads), T, T
    yield lambda: gpt(tokens, tokens), T, T
    yield lambda: relu(tokens), T, T
    yield lambda: frugal(tokens), T, T
    yield lambda: gpt.attention_weights(tokens), T, T
    yield lambda: layer(x), T, T
    yield cached(), T, PAST + T
    yield cached(return_weights=True), T, PAST + T
    yield cached_gpt(), T, PAST + T
    prompts = torch.randint(CONFIG.vocab_size, (LETTERS["B"], N))
    yield lambda: list(sampling.generate(gpt, prompts, 1, use_cache=False)), N, N
    yield lambda: sampling.next_logits(gpt, prompts), N, N
    full = model.GPT(CONFIG.but(context_length=N))  # its window moves
    yield lambda: list(sampling.generate(full, prompts, 1, temperature=0, stop=0, use_cache=False)), N, N
    yield lambda: list(sampling.generate(gpt, prompts[0], 1, n_samples=LETTERS["B"], use_cache=False)), N, N
    for scores in torch.randn(LETTERS["B"], LETTERS["V"]), torch.randn(LETTERS["V"]):
        yield lambda scores=scores: sampling.next_token_probabilities(scores), N, N
        yield lambda scores=scores: sampling.entropy_bits(scores.softmax(-1)), N, N
        yield lambda scores=scores: sampling.draw(scores.softmax(-1)), N, N
    text = torch.arange(100).remainder(CONFIG.vocab_size).numpy()
    batches, settings = Batches(text, T, LETTERS["B"]), TrainConfig(batch_size=LETTERS["B"])
    training = trainer.Trainer(model.GPT(CONFIG), batches, settings)
    yield training.step, T, T
    lengths, context = torch.ones(CONFIG.vocab_size, dtype=torch.int64), CONFIG.context_length
    yield lambda: evaluation.evaluate(gpt, text, lengths, batch_size=LETTERS["B"]), context, context


def watch_all(*modules):
    seen = []
    for call, read, S in calls(*modules):
        seen += shapes.watch(call, {**LETTERS, "T": read, "S": S, "N": N}, modules)
    return seen


def test_letters_cannot_be_mistaken_for_each_other():
    sizes = [*LETTERS.values(), T, PAST + T, N]
    assert len(set(sizes)) == len(sizes)


def test_every_shape_comment_is_true():
    assert shapes.wrong(watch_all(*MODULES)) == []


def test_every_shape_comment_in_the_package_was_looked_at():
    seen = {(s.comment.path, s.comment.line, s.target) for s in watch_all(*MODULES) if not s.comment.in_docstring}
    package = Path(minigpt.__file__).parent
    claimed = set()
    for path in package.rglob("*.py"):
        for comment in shapes.read_source(path.read_text(encoding="utf-8"), str(path)):
            claimed |= {(comment.path, comment.line, target) for target in comment.targets}
    assert len(claimed) > 40
    assert claimed - seen == set()


def load(path):
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # inspect finds the source of its classes by this
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("module", MODULES, ids=lambda module: Path(module.__file__).stem)
def test_every_wrong_shape_comment_is_found(module, tmp_path):
    """All at once: each comment's last dimension is another letter, and each comment is named."""
    lines = Path(module.__file__).read_text(encoding="utf-8").splitlines()
    planted = set()
    for comment in shapes.read(module):
        shape = comment.shapes[0]
        if shape:
            # T and S are the likeliest to be taken for each other; S is the attention's alone.
            near = {"T": "S", "S": "T"} if module in (attention, model) else {}
            old, new = shapes.spelled(shape), shapes.spelled([*shape[:-1], near.get(shape[-1], "H")])
            before, spelled, after = lines[comment.line - 1].rpartition(old)
            assert spelled == old
            lines[comment.line - 1] = before + new + after
            planted.add(comment.line)
    path = tmp_path / f"{module.__name__.replace('.', '_')}_planted.py"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    copy = load(path)
    found = shapes.wrong(watch_all(*(copy if other is module else other for other in MODULES)))
    assert {int(re.search(r":(\d+): ", message)[1]) for message in found} == planted
    assert planted


def docstring_claims():
    """Each shape that a docstring of these modules claims, with the claim; none that is in words."""
    for module in MODULES:
        source = find_source(module)
        for claims in shapes.read_docstrings(source.text, source.path).values():
            for claim in claims:
                # No tensor is `generate`'s iterator, nor its number of samples.
                if not claim.code.startswith(("An iterator", "how many")):
                    yield from ((module, claim, shape) for shape in claim.shapes if " " not in "".join(shape))


def test_every_shape_in_a_docstring_was_looked_at():
    held = {
        (s.comment.path, s.comment.line, s.target, s.comment.shapes[0])
        for s in watch_all(*MODULES)
        if s.comment.in_docstring
    }
    claimed = {(c.path, c.line, c.targets[0], shape) for _, c, shape in docstring_claims()}
    assert claimed - held == set() and len(claimed) > 30


def test_a_wrong_shape_in_a_docstring_is_found(tmp_path):
    """All at once: every claim is planted with another last letter, and every one is found."""
    copies, planted_claims = {}, set()
    for module in MODULES:
        lines = Path(module.__file__).read_text(encoding="utf-8").split("\n")
        path = tmp_path / f"{module.__name__.replace('.', '_')}.py"
        for other, claim, shape in docstring_claims():
            if other is module and shape:
                new = shapes.spelled([*shape[:-1], "T_max"])  # of a size that nothing here has
                for n in range(claim.line - 1, claim.line + 1):  # a claim may go on on the next line
                    lines[n] = lines[n].replace(shapes.spelled(shape), new)
                planted_claims.add((str(path), claim.line, claim.targets[0]))
        path.write_text("\n".join(lines), encoding="utf-8")
        copies[module] = load(path)
    seen = [s for s in watch_all(*copies.values()) if s.comment.in_docstring]
    found = {(s.comment.path, s.comment.line, s.target) for s in seen if s.claimed != s.measured}
    assert planted_claims - found == set() and len(planted_claims) > 30
    assert all("but the docstring says" in message for message in shapes.wrong(seen))


def documented(first):
    """Nothing to do with the arguments.

    Args:
        first: a thing (of two parts), called `f(B, T)`, (T,) or (B, T); in (0, 1].
        other, another: (B, T) each.

    Returns:
        The pair of a thing and a number, (B, T).
    """
    return first, first.sum()


def test_what_a_docstring_claims_is_read():
    claims = shapes.read_docstrings(inspect.getsource(documented), "here")[1]
    assert [(c.line, c.targets[0], c.shapes) for c in claims] == [
        (5, "first", (("T",), ("B", "T"))),
        (6, "other", (("B", "T"),)),
        (6, "another", (("B", "T"),)),
        (9, "return", (("B", "T"),)),
    ]
    right, wrong = torch.zeros(2, 3), torch.zeros(3, 2)
    letters = {"B": 2, "T": 3}
    assert shapes.wrong(shapes.watch(lambda: documented(right), letters, [documented])) == []
    found = shapes.wrong(shapes.watch(lambda: documented(wrong), letters, [documented]))
    assert len(found) == 2 and "first is (3, 2), but the docstring says (T,) = (3,)" in found[0]
    assert shapes.watch(lambda: documented(wrong), {"B": 2}, [documented]) == []  # T is nobody's letter


def test_the_cells_of_a_notebook_can_be_checked():
    cell = (
        "x = torch.zeros(2, 3)  # (B, T)\ny, z = x, x.sum(0)  # (B, T), (T,)\n"
        "for _ in range(2):\n    w = x[:1]  # (1, T)\nx = x.flatten()  # (B·T,)\nn = 3\nv = x\n"
    )
    values = {"torch": torch}
    exec(cell, values)  # noqa: S102
    seen = shapes.check_cell(cell, values, {"B": 2, "T": 3})
    assert [(s.target, s.measured) for s in seen] == [("y", (2, 3)), ("z", (3,)), ("w", (1, 3)), ("x", (6,))]
    assert shapes.wrong(seen) == []
    found = shapes.wrong(shapes.check_cell(cell.replace("(T,)", "(B,)"), values, {"B": 2, "T": 3}))
    assert found == ["cell:2: z is (3,), but the comment says (B,) = (2,)"]
    assert shapes.wrong(shapes.check_cell(cell, values)) == []
    found = shapes.wrong(shapes.check_cell(cell.replace("(T,)", "(B,)"), values))
    assert found == ["cell:2: z is (3,), but the comment says (B,) = (2,)"]
    with pytest.raises(ValueError, match="can't be checked"):
        shapes.check_cell("f(x)  # (B, T)", {}, {})


@pytest.mark.parametrize("owner", [MultiHeadAttention, model.FeedForward, model.Block, model.GPT])
def test_parameter_comments_count_what_the_module_holds(owner):
    assert miscounted(owner) == []


@pytest.mark.parametrize("old, new", [("C·C + C", "C·C"), ("C·C + C", "4·C·C + C")])
def test_a_parameter_comment_that_miscounts_is_found(old, new, tmp_path):
    source = Path(attention.__file__).read_text(encoding="utf-8")
    path = tmp_path / "miscounted.py"
    path.write_text(source.replace(f"bias (C,): {old}", f"bias (C,): {new}", 1), encoding="utf-8")
    assert len(miscounted(load(path).MultiHeadAttention)) == 1


def miscounted(owner):
    """Comments of a class whose count is not what its module holds."""
    is_attention = owner.__name__ == "MultiHeadAttention"
    built = owner(CONFIG.d_model, CONFIG.n_heads) if is_attention else owner(CONFIG)
    found = []
    for comment in shapes.read(owner):
        if comment.count:
            module = built.get_submodule(comment.targets[0].removeprefix("self.").rpartition(".")[0])
            if shapes.evaluate(comment.count, LETTERS) != sum(p.numel() for p in module.parameters()):
                found.append(comment)
    return found


def test_the_comments_of_the_attention_sum_to_the_homeworks_number():
    assert shapes.commented_params(MultiHeadAttention, {"C": 768}).total == 2_362_368


def bare_lines(source):
    """Code of an annotated class that no comment speaks of."""
    found = []
    for section in annotate(source).sections:
        signature = section.code.lstrip().startswith(("class ", "def "))
        if not section.note and not signature:
            found.append(section.code)
        if "\n\n" in section.code:
            found.append(section.code.split("\n\n", 1)[1])
        if signature and len(ast.parse(textwrap.dedent(section.code) + "\n  pass").body) != 1:
            found.append(section.code)
    return found


def test_every_line_of_the_attention_is_explained():
    assert bare_lines(MultiHeadAttention) == []


@pytest.mark.parametrize(
    "old, new",
    [
        ("        # 6. Mix", "        surprise = 1\n\n        # 6. Mix"),
        ("        # /√D: D random", "        surprise = 1\n        # /√D: D random"),
        ("        # A view: ", "        surprise = 1\n        # A view: "),
        ("        self.dropout = dropout\n", "        self.dropout = dropout\n\n        surprise = 1\n"),
    ],
)
def test_a_bare_line_is_found(old, new, tmp_path):
    source = Path(attention.__file__).read_text(encoding="utf-8")
    assert source.count(old) == 1
    path = tmp_path / "bare.py"
    path.write_text(source.replace(old, new), encoding="utf-8")
    copy = load(path)
    found = bare_lines(copy.MultiHeadAttention)
    assert len(found) == 1 and "surprise" in found[0]


def test_every_tensor_of_the_attention_has_its_shape_behind_it():
    tree = ast.parse(textwrap.dedent(inspect.getsource(MultiHeadAttention)))
    commented = {comment.code for comment in shapes.read(MultiHeadAttention)}
    silent = set()
    for function in tree.body[0].body:
        if isinstance(function, ast.FunctionDef) and function.name not in ("__init__", "extra_repr"):
            for node in ast.walk(function):
                if isinstance(node, ast.Assign | ast.Return):
                    code = " ".join(ast.unparse(node).split())
                    if code not in commented:
                        silent.add(code.partition(" = ")[0].strip("()"))
    # Numbers, what is None or False, and the one return whose parts have their shapes above it.
    assert silent == {
        "T, S",
        "mask, is_causal",
        "is_causal",
        "dropout",
        "return (out, weights) if return_weights else out",
    }


def test_a_name_in_the_attention_never_changes_shape():
    shape_of = {}
    for call, _, S in calls(*MODULES):
        for seen in shapes.watch(call, {**LETTERS, "T": T, "S": S}, [MultiHeadAttention]):
            if seen.target != "return" and not seen.comment.in_docstring:
                name = (seen.comment.path, seen.target)
                assert shape_of.setdefault(name, shapes.shape_text(seen)) == shapes.shape_text(seen), seen.target


@pytest.mark.parametrize(
    "source, message",
    [
        ("x = f()  # (B, T\n", "can't be checked"),
        ("x += y  # (B, T)\n", "can't be checked"),
        ("f(x)  # (B, T)\n", "can't be checked"),
        ("for x in y:  # (B, T)\n    pass\n", "can't be checked"),
        ("if x: y = x  # (B, T)\n", "can't be checked"),
        ("x = 1; y = x  # (B, T)\n", "can't be checked"),
        ("x = f(\n    y,  # (B, T)\n)\n", "can't be checked"),
        ("def f():\n    with x:\n        return y  # (B, T)\n", "can't be checked"),
        ("def f():\n    try:\n        return y  # (B, T)\n    finally:\n        pass\n", "can't be checked"),
        ("a, b, c = f()  # (B, T), (B,)\n", "2 shapes for 3 results"),
    ],
)
def test_a_comment_that_only_looks_like_a_shape_is_an_error(source, message):
    with pytest.raises(ValueError, match=message):
        shapes.read_source(source, "some.py")


def test_formulas_are_computed_and_nothing_else():
    assert shapes.evaluate("C·C + C", {"C": 768}) == 590_592
    assert shapes.evaluate("4·(C² + C)", {"C": 768}) == 2_362_368
    with pytest.raises(ValueError, match="letters must give F a value"):
        shapes.evaluate("F·C", {"C": 2})
    for formula in ("C(2)", "C / 2", "C << 2", "2 ** 3", "'C'", "", "C +", "[C]"):
        with pytest.raises(ValueError, match="formula must hold letters"):
            shapes.evaluate(formula, {"C": 2})
    for formula in ("print(C)", "True", "see above"):
        with pytest.raises(ValueError, match="letters must give"):
            shapes.evaluate(formula, {"C": 2})


def test_a_decorated_function_is_read_from_its_own_file():
    assert {comment.path for comment in shapes.read(model.GPT.attention_weights)} == {model.__file__}


def test_a_method_with_a_string_at_the_margin_is_read(tmp_path):
    path = tmp_path / "margin.py"
    path.write_text('class A:\n    def f(self, x):\n        s = """\nat the margin"""\n        return x  # (B, T)\n')
    (comment,) = shapes.read(load(path).A.f)
    assert (comment.line, comment.targets) == (5, ("return",))
