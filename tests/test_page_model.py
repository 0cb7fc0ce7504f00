"""The model in the page: GPT, tokenizer, weights in 8 bits and the seed, in the browser beside Python's; the worker."""

import base64
import random
import re
from dataclasses import asdict

import pytest
import torch
from conftest import BROWSER
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt import GPT, GPTConfig, pretrained
from minigpt.config import ACTIVATIONS
from minigpt.data import plays
from minigpt.model import KVCache
from minigpt.quantization import VERSION, dequantize, dequantized, page_file, quantize
from minigpt.sampling import RandomNumbers, generate
from minigpt.tokenizer import END_OF_TEXT, train_tokenizer
from minigpt.widgets.explorer import bundle, token_text

SHIPPED = pretrained.WEIGHTS / "shakespeare"
TEXTS = [
    "",
    "ROMEO:\nWhat light",
    "  two  spaces,\n\n\ttabs\u00a0and\u2003others \n",
    "naïve café, 東京, 🙂👨\u200d👩\u200d👧, ½²٣, e\u0301, \ufeffx\u0085y\u200bz\x00\x1f\x7f\u00ad",
    "I'll 'tis can't ''LL '’s",
    f"{END_OF_TEXT}ab{END_OF_TEXT}{END_OF_TEXT} <|endoftext |>",
    "a" * 400 + " " * 50,
    "\N{REPLACEMENT CHARACTER} \U0010ffff",
]


@pytest.fixture(scope="module")
def shipped_pair():
    """The shipped model as it is in the page, and its tokenizer."""
    return dequantized(pretrained.load(SHIPPED)).eval(), pretrained.load_tokenizer(SHIPPED)


@pytest.fixture(scope="module")
def in_page(arithmetic, shipped_pair):
    """`arithmetic`, with the shipped model as model and its tokenizer as tokenizer."""
    put_into_page(arithmetic, page_file(pretrained.load(SHIPPED), shipped_pair[1]))
    return arithmetic


def put_into_page(arithmetic, file: bytes) -> None:
    arithmetic(
        """const bytes = Uint8Array.from(atob(a), (c) => c.charCodeAt(0));
        const file = m.readPageFile(bytes.buffer);
        window.model = new m.GPT(file.config, file.weights);
        window.tokenizer = new m.Tokenizer(file.tokenizer);""",
        base64.b64encode(file).decode(),
    )


# 8 bits


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_weight_is_off_by_half_a_step_at_most(rows, columns, seed):
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 9 - 4)
    numbers, scales = quantize(weight)
    assert numbers.dtype == torch.int8 and numbers.abs().amax(1).tolist() == [127] * rows
    assert ((dequantize(numbers, scales) - weight).abs() <= scales[:, None] * 0.50001).all()


def test_a_row_of_zeros_stays_one_and_what_is_no_number_is_refused():
    assert dequantize(*quantize(torch.zeros(2, 3))).tolist() == [[0.0] * 3] * 2
    for weight in (torch.zeros(3), torch.tensor([[1.0, torch.nan]]), torch.tensor([[torch.inf]])):
        with pytest.raises(ValueError, match="weight must be a matrix of finite numbers"):
            quantize(weight)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(shipped_pair):
    small = GPT(GPTConfig(vocab_size=9, context_length=4, d_model=4, n_heads=2, n_layers=1))
    with pytest.raises(ValueError, match="tokenizer must have at most the model's 9 tokens; got 1024"):
        page_file(small, shipped_pair[1])


def test_the_shipped_file_is_small_enough_for_a_phone(shipped_pair):
    assert len(page_file(*shipped_pair)) < 4_000_000


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda file: b"", "it is cut short"),
        (lambda file: file[:1000], "it is cut short"),
        (lambda file: file[:-1], "its checksum differs"),
        (lambda file: file[:-9] + bytes([file[-9] ^ 1]) + file[-8:], "its checksum differs"),
        (lambda file: file[:8] + b"\xff" + file[9:], "its header can't be read"),
        (lambda file: file.replace(f'"version":"{VERSION}"'.encode(), b'"version":"0"'), "is needed, it is 0"),
    ],
)
def test_a_damaged_file_is_refused(harm, message, arithmetic):
    tokenizer = train_tokenizer(["to be or not to be"], 260)
    model = GPT(GPTConfig(vocab_size=260, context_length=4, d_model=4, n_heads=2, n_layers=1))
    said = arithmetic(
        """const bytes = Uint8Array.from(atob(a), (c) => c.charCodeAt(0));
        try { m.readPageFile(bytes.buffer); } catch (error) { return error.message; }""",
        base64.b64encode(harm(page_file(model, tokenizer))).decode(),
    )
    assert said.startswith("The model's file is damaged or of another version") and message in said


# The model


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias, tie_weights", [(True, True), (False, False)])
def test_scores_and_attention_in_javascript_are_pytorchs(activation, bias, tie_weights, arithmetic):
    """In parts, with a cache; widths that four does not divide included."""
    config = GPTConfig(
        vocab_size=263, context_length=13, d_model=6, n_heads=3, n_layers=2, d_ff=11, bias=bias,
        tie_weights=tie_weights, activation=activation,
    )  # fmt: skip
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    model = dequantized(model).eval()
    put_into_page(arithmetic, page_file(model, train_tokenizer(["to be or not to be"], 260)))
    tokens = torch.randint(config.vocab_size, (13,)).tolist()
    scores, weights = arithmetic(
        """const cache = model.newCache();
        const parts = [a.slice(0, 4), a.slice(4, 5), a.slice(5)].map((part) => [...model.forward(part, cache)]);
        return [parts.flat(), model.attentionWeights(a).map((layer) => [...layer])];""",
        tokens,
    )
    with torch.no_grad():
        expected = model(torch.tensor([tokens])).flatten()
        expected_weights = model.attention_weights(torch.tensor([tokens]))
    assert (torch.tensor(scores) - expected).abs().max() < 1e-4
    for layer, expected in zip(weights, expected_weights, strict=True):
        assert (torch.tensor(layer) - expected.flatten()).abs().max() < 1e-5
    assert KVCache.__name__ in (BROWSER / "model.js").read_text(encoding="utf-8")


def test_what_the_model_cannot_read_is_refused(in_page):
    body = "try { model.forward(a); } catch (error) { return error.message; }"
    assert in_page(body, []) == "tokens must fill 1 to 256 positions; got 0"
    assert in_page(body, [1] * 257) == "tokens must fill 1 to 256 positions; got 257"
    for wrong in (1024, -1, 0.5, "1", None):
        assert in_page(body, [1, wrong]).startswith("tokens must be from 0 to 1023; got ")
    said = in_page("try { new m.GPT(model.config, {}); } catch (error) { return error.message; }")
    assert said == "weights must hold token_embedding.weight, 229376 numbers; got none"


def test_shapes_in_the_comments_are_those_of_the_arrays(arithmetic):
    """Every `name = ...; // (T, C)` of model.js is held against the array's length when its line has run."""
    source = bundle("../browser/model.js") + "export { GPT };"
    line = re.compile(r"^( *)((?:const |let )?)([\w.]+)( = .*;) // (\([\w, ]+\))$", re.M)
    claims = len(line.findall(source))
    watched = line.sub(r'\1\2\3\4 window.seen.push([`\3`, "\5", \3.length]);', source)
    C, H, F, V, L, T, S = 6, 3, 11, 263, 2, 4, 7
    config = GPTConfig(vocab_size=V, context_length=17, d_model=C, n_heads=H, n_layers=L, d_ff=F, tie_weights=False)
    model = GPT(config)
    weights = {name: parameter.flatten().tolist() for name, parameter in model.named_parameters()}
    seen = arithmetic(
        """window.seen = [];
        return import(`data:text/javascript,${encodeURIComponent(a.source)}`).then((watched) => {
          const weights = Object.fromEntries(Object.entries(a.weights).map(([k, w]) => [k, Float32Array.from(w)]));
          const model = new watched.GPT(a.config, weights);
          const made = window.seen.splice(0).map((claim) => claim[1]);
          const cache = model.newCache();
          model.forward([1, 2, 3], cache);
          window.seen = [];
          model.forward([4, 5, 6, 7], cache);
          return [made, window.seen];
        });""",
        {"source": watched, "weights": weights, "config": asdict(config)},
    )
    letters = {"C": C, "H": H, "F": F, "V": V, "L": L, "T": T, "S": S, "D": C // H}
    assert claims >= 15 and len(seen[0]) >= 6
    for name, claim, length in seen[1]:
        dimensions = re.findall(r"\w+", claim)
        if "O" in dimensions:  # of a linear layer, whose outputs have many sizes
            assert length % T == 0, (name, claim)
            continue
        product = 1
        for letter in dimensions:
            product *= letters[letter]
        assert length == product, (name, claim, length)
    assert len({name for name, _, _ in seen[1]}) >= 9


@pytest.mark.long
def test_greedy_texts_are_pytorchs_token_for_token(in_page, shipped_pair):
    model, tokenizer = shipped_pair
    starts = ["ROMEO:\n", "The king", "To be, or not", "🙂", "東京", "ACT I", "\n\n", "Enter", "O", "My lord,", ""]
    starts += ["KING HENRY:\nOnce more " * 3, "naïve", "I", "Thou", "What", "[Exit", "1606", "DUKE", "love " * 30]
    prompts = [tokenizer.encode(text).ids or [tokenizer.token_to_id(END_OF_TEXT)] for text in starts]
    theirs = in_page(
        """return a.map((prompt) => {
          const how = { temperature: 0, maxNewTokens: 200, seed: 0 };
          return Array.from(m.generate(model, prompt, how), ({ token }) => token);
        });""",
        prompts,
    )
    ours = [[int(t) for t in generate(model, p, 200, temperature=0, progress=False)] for p in prompts]
    assert theirs == ours and len(prompts) == 20


def test_beyond_the_context_the_window_moves_as_in_python(in_page, shipped_pair):
    model, tokenizer = shipped_pair
    prompt = tokenizer.encode("To be, or not to be: that is the question. " * 30).ids
    assert len(prompt) > model.config.context_length
    body = """return Array.from(m.generate(model, a.prompt, a.how), ({ token }) => token);"""
    how = {"temperature": 0.9, "topK": 50, "maxNewTokens": 5, "seed": 1}
    ours = [int(t) for t in generate(model, prompt, 5, temperature=0.9, top_k=50, seed=1, progress=False)]
    assert in_page(body, {"prompt": prompt, "how": how}) == ours


# Products of matrices: where WebAssembly runs, and where it does not


@pytest.mark.parametrize("T, rows, columns", [(1, 1, 1), (2, 3, 5), (1, 8, 16), (3, 7, 31), (5, 33, 18), (2, 224, 896)])
def test_both_loops_multiply_as_pytorch_does(T, rows, columns, arithmetic):
    """Rows that four does not divide included. The second matrix lies where what was read too far would be seen."""
    x, *matrices = torch.randn(T, columns), torch.randn(rows, columns), torch.randn(rows + 1, columns) + 1e4
    found = arithmetic(
        """const [x, W, other] = a.tables.map((numbers) => Float32Array.from(numbers));
        const fast = m.inSimdMemory({ W, other }, a.longest);
        const longer = Float32Array.from({ length: a.longest }, () => 1e9);
        m.products(longer, fast.W.subarray(0, a.longest), a.longest); // what it leaves behind is to do no harm
        return [W, fast.W, other, fast.other].map((weight) => [m.isSimd(weight), [...m.products(x, weight, a.I)]]);""",
        {
            "tables": [table.flatten().tolist() for table in (x, *matrices)],
            "I": columns,
            "longest": max(rows + 1, columns),
        },
    )
    assert [simd for simd, _ in found] == [False, True, False, True]
    for (_, plain), (_, fast), matrix in zip(found[::2], found[1::2], matrices, strict=True):
        expected = (x.double() @ matrix.double().T).flatten()
        size = (x.abs().double() @ matrix.abs().double().T).flatten()
        for numbers in (plain, fast):
            assert ((torch.tensor(numbers, dtype=torch.float64) - expected).abs() / size).max() < 1e-6
        assert ((torch.tensor(plain) - torch.tensor(fast)).abs() / size).max() < 1e-6


REFUSALS = {
    "a policy": """document.head.innerHTML =
        '<meta http-equiv="Content-Security-Policy" content="script-src blob:">'""",
    "a browser without SIMD": "WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError(); } }",
    "a browser without WebAssembly": "delete globalThis.WebAssembly",
    "too little memory": "WebAssembly.Memory = class { constructor() { throw new RangeError(); } }",
    "nobody": "",
}


@pytest.mark.parametrize("refuses", REFUSALS)
def test_where_webassembly_is_refused_the_loop_in_javascript_writes_the_same(refuses, browser, shipped_pair):
    model, tokenizer = shipped_pair
    page = browser.new_page()
    if refuses == "a policy":
        page.evaluate(REFUSALS[refuses])
    loaded, tokens = page.evaluate(
        """([source, file]) => new Promise((resolve, reject) => {
          const { buffer } = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
          const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
          const [tokens, settings] = [[], { temperature: 0, maxNewTokens: 9, seed: 0 }];
          let loaded;
          worker.onerror = reject;
          worker.onmessage = ({ data }) => {
            if (data.token !== undefined) tokens.push(data.token);
            if (!data.done) return;
            if (loaded) return resolve([loaded.isSimd, tokens]);
            loaded = data;
            worker.postMessage({ id: 2, name: "write", prompt: "ROMEO:", settings });
          };
          worker.postMessage({ id: 1, name: "load", buffer }, [buffer]);
        })""",
        [
            ("" if refuses == "a policy" else f"{REFUSALS[refuses]};") + bundle("../browser/worker.js"),
            base64.b64encode(page_file(pretrained.load(SHIPPED), tokenizer)).decode(),
        ],
    )
    page.close()
    assert loaded == (refuses == "nobody")
    ids = tokenizer.encode("ROMEO:").ids
    assert tokens == [int(t) for t in generate(model, ids, 9, temperature=0, progress=False)]


# One seed, one text


def test_random_numbers_in_javascript_are_pythons(arithmetic):
    seeds = [0, 1, 7, -1, 2**31, 2**53 + 1, 2**63, 2**64 - 1, -(2**63)]
    theirs = arithmetic(
        "return a.map((seed) => { const r = m.randomNumbers(BigInt(seed)); return Array.from({ length: 9 }, r); });",
        [str(seed) for seed in seeds],
    )
    assert theirs == [[random_numbers() for _ in range(9)] for random_numbers in map(RandomNumbers, seeds)]


@pytest.mark.long
def test_one_seed_gives_one_text_here_and_there(in_page, shipped_pair):
    model, tokenizer = shipped_pair
    choose = random.Random(0)
    asked = []
    for seed in range(50):
        prompt = tokenizer.encode(choose.choice(("ROMEO:\n", "The", "🙂 is", "My gracious lord, "))).ids
        choices = (0, 0.3, 0.8, 1, 1.7), (None, 1, 10, 200), (None, 0.5, 0.9), (None, 0.05)
        knobs = [choose.choice(values) for values in choices]
        asked.append((prompt, knobs, seed))
    theirs = in_page(
        """return a.map(([prompt, [temperature, topK, topP, minP], seed]) => {
          const how = { temperature, topK, topP, minP, maxNewTokens: 60, seed };
          return Array.from(m.generate(model, prompt, how), ({ token }) => token);
        });""",
        asked,
    )
    ours = []
    for prompt, (temperature, top_k, top_p, min_p), seed in asked:
        knobs = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        ours.append([int(t) for t in generate(model, prompt, 60, seed=seed, progress=False, **knobs)])
    assert theirs == ours


def test_a_text_ends_with_a_stop_token_in_both(in_page, shipped_pair):
    model, tokenizer = shipped_pair
    prompt, stop = tokenizer.encode("ROMEO:\n").ids, tokenizer.encode("\n").ids
    ours = [int(t) for t in generate(model, prompt, 99, seed=3, stop=stop, progress=False)]
    body = (
        "return Array.from(m.generate(model, a[0], { maxNewTokens: 99, seed: 3, stop: a[1] }), ({ token }) => token);"
    )
    assert in_page(body, [prompt, stop]) == ours and ours[-1] in stop


# The tokenizer


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_tokens_in_javascript_are_the_librarys(text, in_page, shipped_pair):
    tokenizer = shipped_pair[1]
    ids = tokenizer.encode(text).ids
    body = """const piece = tokenizer.stream();
    return [tokenizer.encode(a), tokenizer.decode(tokenizer.encode(a)),
            tokenizer.encode(a).map((id) => piece(id))];"""
    theirs, decoded, pieces = in_page(body, text)
    assert theirs == ids and decoded == tokenizer.decode(ids)
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces) or "\N{REPLACEMENT CHARACTER}" in text


def test_tokens_of_the_held_out_plays_are_the_librarys(in_page, shipped_pair):
    held_out = [play.text for play in plays() if play.held_out]
    assert len(held_out) == 3
    for text in held_out:
        theirs = in_page("const ids = tokenizer.encode(a); return [ids, tokenizer.decode(ids) === a];", text)
        assert theirs == [shipped_pair[1].encode(text).ids, True]


def test_bytes_that_make_no_character_are_replaced_as_in_python(in_page, shipped_pair):
    tokenizer = shipped_pair[1]
    choose = random.Random(1)
    for ids in [[choose.randrange(1, 257) for _ in range(30)] for _ in range(50)]:
        assert in_page("return tokenizer.decode(a);", ids) == tokenizer.decode(ids)


def test_another_kind_of_tokenizer_is_refused(arithmetic):
    body = "try { new m.Tokenizer(a); } catch (error) { return error.message; }"
    for description in ({}, {"model": {"type": "WordPiece"}, "pre_tokenizer": {"type": "ByteLevel"}}):
        assert "tokenizer must be a byte-level BPE without a normalizer" in arithmetic(body, description)


# The worker


def test_the_worker_reads_writes_and_stops(browser, shipped_pair):
    model, tokenizer = shipped_pair
    page = browser.new_page()
    page.evaluate(
        """(source) => {
        window.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
        window.answers = [];
        worker.onmessage = ({ data }) => {
          window.answers.push(data);
          if (data.token !== undefined && answers.filter((a) => a.token !== undefined).length === window.stopAt) {
            worker.postMessage({ id: 99, name: "stop", writer: data.id });
          }
        };
        window.ask = (request, ends) => new Promise((resolve) => {
          worker.postMessage(request);
          const timer = setInterval(() => {
            const last = window.answers.find((answer) => answer.id === request.id && answer.done);
            if (last) { clearInterval(timer); resolve(last); }
          }, 5);
        });
        }""",
        bundle("../browser/worker.js"),
    )
    ask = lambda request: page.evaluate("(request) => ask(request)", request)  # noqa: E731
    assert ask({"id": 1, "name": "look", "tokens": [1]})["error"] == "The model has not been loaded."
    file = base64.b64encode(page_file(pretrained.load(SHIPPED), tokenizer)).decode()
    loaded = page.evaluate(
        """(file) => {
          const bytes = Uint8Array.from(atob(file), (character) => character.charCodeAt(0));
          return ask({ id: 2, name: "load", buffer: bytes.buffer });
        }""",
        file,
    )
    assert loaded["config"] == asdict(model.config)
    assert loaded["names"] == [token_text(tokenizer, token) for token in range(model.config.vocab_size)]
    how = {"temperature": 0.8, "maxNewTokens": 20, "seed": 5}
    assert ask({"id": 3, "name": "write", "prompt": "ROMEO:\n", "settings": how})["text"] == ""
    answers = page.evaluate("answers.filter((a) => a.id === 3).map(({ token, text, tokens }) => [token, text, tokens])")
    ids = tokenizer.encode("ROMEO:\n").ids
    ours = [int(t) for t in generate(model, ids, 20, temperature=0.8, seed=5, progress=False)]
    assert answers[0][2] == ids and [token for token, *_ in answers[1:-1]] == ours
    assert "".join(text for _, text, _ in answers[1:-1]) == tokenizer.decode(ours)
    # Stop: the message is read before the next token but one.
    page.evaluate("window.answers = []; window.stopAt = 7;")
    stopped = ask({"id": 4, "name": "write", "prompt": "", "settings": {**how, "maxNewTokens": 10_000}})
    assert stopped["stopped"] and 7 <= page.evaluate("answers.filter((a) => a.token !== undefined).length") <= 8
    seen = ask({"id": 5, "name": "look", "tokens": ids})
    assert seen["tokens"] == ids and len(seen["weights"]) == model.config.n_layers == len(seen["lens"]) - 1
    # Two texts at once: each gets its own tokens.
    both = page.evaluate(
        """(asked) => Promise.all(asked.map((request) => ask(request))).then(() =>
          asked.map(({ id }) => answers.filter((a) => a.id === id && a.token !== undefined).map((a) => a.token)))""",
        [{"id": n, "name": "write", "prompt": "ROMEO:\n", "settings": {**how, "seed": n}} for n in (7, 8)],
    )
    for seed, tokens in zip((7, 8), both, strict=True):
        ours = [int(t) for t in generate(model, ids, 20, temperature=0.8, seed=seed, progress=False)]
        assert tokens == ours
    assert "error" in ask({"id": 6, "name": "write", "prompt": None, "settings": how})
    page.close()
