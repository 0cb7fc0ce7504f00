"""From scores to a token, and from tokens to a text: temperature, top-k, top-p, min-p, generate.

One more letter than in model.py: N, the number of tokens of a sequence before a step, prompt included.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm

from minigpt.attention import KVCache
from minigpt.checks import check_number, check_size, check_switch, check_text, is_bar_hidden, is_integer
from minigpt.config import GPTConfig
from minigpt.model import GPT, evaluating
from minigpt.tokenizer import END_OF_TEXT


def next_token_probabilities(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Tensor:
    """The distribution that the next token is drawn from.

        p_i = exp(z_i / τ) / Σ_j exp(z_j / τ)        over the tokens j that were not cut off

    There are three cuts, applied in this order. Each looks at the tokens that the cut before it kept, with
    their probabilities rescaled to sum to 1:

    - top_k keeps the k likeliest tokens, and every other token that is exactly as likely as the k-th.
    - top_p keeps the smallest set of likeliest tokens whose probabilities sum to p or more; the token that
      makes the sum reach p is kept. Of equally likely tokens, those with smaller ids are taken first.
    - min_p keeps the tokens that are at least min_p times as likely as the likeliest token.

    Hugging Face's `generate` has the same order, and treats ties at k and the token that reaches p in the
    same way. One thing differs: if several equally likely tokens compete for the last places of top_p, an
    unstable sort decides there; here the smaller id comes first, as at temperature 0.

    Args:
        logits: the model's scores z for every token of the vocabulary, (V,) or (B, V). A token with the
            score -inf is ruled out.
        temperature: τ ≥ 0; the logits are divided by it. 0 means the limit τ → 0: the likeliest token
            has probability 1; if there are several, the one with the smallest id.
        top_k: how many tokens to keep, at least 1; None keeps all, and so does any number above V.
        top_p: the probability to keep, in (0, 1]; None and 1 keep all.
        min_p: the fraction of the largest probability that a token needs to be kept, in [0, 1]; None
            and 0 keep all.

    Returns:
        Probabilities, shaped like logits; 0 for tokens that were cut off. Each row sums to 1. The type is
        float64 if that of logits is, else float32.

    Raises:
        TypeError, ValueError: an argument has the wrong type or an impossible value; the message names
            the argument, its value and what would be right.

    Source: temperature, Hinton et al. (2015), equation 1; top-k, Fan et al. (2018); top-p, Holtzman et al.
    (2020), section 3.1; min-p, Nguyen et al. (2025).

    >>> next_token_probabilities(torch.tensor([2.0, 1.0, 0.0]), top_k=2)
    tensor([0.7311, 0.2689, 0.0000])
    """
    check_settings(temperature, top_k, top_p, min_p)
    check_logits(logits)
    return distribution(logits, temperature, top_k, top_p, min_p)


def distribution(logits: Tensor, temperature, top_k, top_p, min_p) -> Tensor:
    """`next_token_probabilities` for arguments that are checked already."""
    # Half precision is too coarse to add up a thousand probabilities.
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    # The limit τ → 0: the likeliest token gets the probability 1.
    if temperature == 0:
        return F.one_hot(scores.argmax(-1), scores.size(-1)).to(scores.dtype)
    # The largest score is subtracted from all scores. That changes no probability, and no score becomes
    # +inf when the temperature is tiny. A temperature too small or too large for this precision is replaced
    # by the smallest or largest one that it can hold.
    limits = torch.finfo(scores.dtype)
    temperature = float(min(max(temperature, limits.tiny), limits.max))
    scores = (scores - scores.amax(-1, keepdim=True)) / temperature
    # Each cut sets scores to -inf; the next cut sees only the tokens that are left.
    if top_k is not None:
        scores = cut_below_top_k(scores, top_k)
    if top_p is not None:
        scores = cut_below_top_p(scores, float(top_p))
    if min_p is not None:
        scores = cut_below_min_p(scores, float(min_p))
    return scores.softmax(-1)


def cut_below_top_k(scores: Tensor, top_k: int) -> Tensor:
    """Rule out the tokens that are less likely than the k-th: their scores become -inf."""
    kth = scores.topk(min(top_k, scores.size(-1))).values[..., -1:]
    return scores.masked_fill(scores < kth, -torch.inf)


def cut_below_top_p(scores: Tensor, top_p: float) -> Tensor:
    """Rule out the tail: the least likely tokens, as many as have a probability of 1 - p or less together."""
    if top_p == 1:
        return scores
    # Sort: the likeliest first, and of equals the smallest id. The tail is then the end of each row.
    descending, order = scores.sort(dim=-1, descending=True, stable=True)
    # For each token: its probability plus those of all tokens after it.
    held = descending.flip(-1).softmax(-1).cumsum(-1).flip(-1)
    # The likeliest token stays, whatever p is.
    tail = held <= 1 - top_p
    tail[..., 0] = False
    # Go back from the sorted order to the order of the vocabulary.
    return scores.masked_fill(tail.scatter(-1, order, tail), -torch.inf)


def cut_below_min_p(scores: Tensor, min_p: float) -> Tensor:
    """Rule out the tokens with less than min_p times the largest probability."""
    probabilities = scores.softmax(-1)
    return scores.masked_fill(probabilities < min_p * probabilities.amax(-1, keepdim=True), -torch.inf)


def entropy_bits(probabilities: Tensor) -> Tensor:
    """How open a choice is: H = -Σ p·log₂ p, in bits; n equally likely tokens have log₂ n.

    Args:
        probabilities: (V,) or (B, V), each row summing to 1.

    Returns:
        () or (B,). Source: Shannon (1948), section 6.

    Raises:
        TypeError, ValueError: these are not probabilities, or the sum of a row differs from 1 by more than 0.01.

    >>> entropy_bits(torch.full((8,), 1 / 8))
    tensor(3.)
    """
    sums = check_probabilities(probabilities).sum(-1)
    if ((sums - 1).abs() > 0.01).any():
        raise ValueError(f"probabilities must sum to 1 in each row; got {sums.flatten().tolist()[:9]}")
    probabilities = probabilities.to(torch.promote_types(probabilities.dtype, torch.float32))
    surprise_bits = -probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log2()
    return (probabilities * surprise_bits).sum(-1)


class RandomNumbers:
    """Random numbers that follow from a seed alone: SplitMix, with 64 bits of state.

    A page in a browser computes the same ones (minigpt/browser/sampling.js), so that one seed gives one text, here and
    there. Each call returns the next number in [0, 1), a multiple of 2⁻⁵³.

    Args:
        seed: an int; two that differ by a multiple of 2⁶⁴ give the same numbers.

    Source: Steele, Lea and Flood (2014), figures 16 and 17; the constants are Stafford's variant 13.

    >>> random = RandomNumbers(0)
    >>> [round(random(), 4) for _ in range(3)]
    [0.8833, 0.4315, 0.0264]
    """

    def __init__(self, seed: int):
        self.state = seed % 2**64

    def __call__(self) -> float:
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (self.state ^ self.state >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return ((mixed ^ mixed >> 31) >> 11) / 2**53


def draw(probabilities: Tensor, generator: torch.Generator | RandomNumbers | None = None) -> Tensor:
    """Draw one token from each row.

    The probabilities are laid end to end as pieces of a line. A random point is chosen on the line, and
    the token is drawn on whose piece the point lies. This is done on the CPU in double precision, so that
    a seed gives the same random points on every device. A token of probability 0 has a piece of length 0
    and is never drawn.

    Args:
        probabilities: (V,) or (B, V), each row summing to 1, or to any positive number.
        generator: the source of the random numbers, PyTorch's or `RandomNumbers`; None: PyTorch's global generator.

    Returns:
        Token ids, () or (B,).

    Raises:
        TypeError, ValueError: these are not probabilities, a row has nothing to choose from, or
            generator is not a torch.Generator.
    """
    check_generator(generator)
    return throw(check_probabilities(probabilities), generator).to(probabilities.device)


def throw(probabilities: Tensor, generator: torch.Generator | RandomNumbers | None) -> Tensor:
    """`draw` for probabilities that are checked already, on the CPU and in double precision."""
    ends = probabilities.cumsum(-1)
    shape = (*ends.shape[:-1], 1)
    if isinstance(generator, RandomNumbers):
        share = torch.tensor([generator() for _ in range(math.prod(shape))], dtype=torch.double).view(shape)
    else:
        device = generator.device if generator else "cpu"
        share = torch.rand(shape, generator=generator, dtype=torch.double, device=device).cpu()
    point = share * ends[..., -1:]
    return torch.searchsorted(ends, point, right=True).squeeze(-1)


def generate(
    model: GPT,
    tokens: Tensor | Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    stop: int | Iterable[int] = (),
    n_samples: int | None = None,
    use_cache: bool = True,
    progress: bool | None = None,
) -> Iterator[Tensor]:
    """Let the model continue a text, token by token. Each token is yielded as soon as it is drawn.

        for piece in stream(tokenizer, generate(model, tokens, 100, temperature=0.8, seed=0)):
            print(piece, end="", flush=True)

    The model sees at most the last `context_length` tokens, the window. As long as the whole text fits
    into it, each step reads one new position; a key-value cache holds the others. After that, every step
    moves all tokens by one position. Keys and values depend on the positions, so the cache is of no use
    any more, and each step reads its whole window.

    To stop at certain letters, gather the pieces in the loop above, and leave the loop once the letters
    are there. To find out how likely the drawn tokens were, call the model once more:

        logits = model(torch.tensor([prompt + drawn]))[0, len(prompt) - 1 : -1]
        chances = next_token_probabilities(logits, temperature=0.8).gather(1, torch.tensor(drawn)[:, None])

    Args:
        model: it runs without dropout, as after `eval()`, and is afterwards as it was before.
        tokens: the prompt, at least one token: (T,), a list of ids, or (B, T) for several prompts of equal
            length at once. To begin without any text, give the id of `END_OF_TEXT`.
        max_new_tokens: after how many tokens to stop, at least 1. The text is simply cut off there: the
            model does not know the number.
        temperature, top_k, top_p, min_p: see `next_token_probabilities`.
        seed: where `RandomNumbers` start, an int of 64 bits: the same seed gives the same text, here and in the page.
        generator: the source of the random numbers, instead of a seed.
        stop: ids that end a sequence. In a batch, a sequence that has ended repeats its last token until
            all others have ended, too.
        n_samples: how many texts to draw after one prompt (T,). With a cache, the prompt is read once for
            all of them.
        use_cache: False reads the whole window at every step: the same tokens, but slower.
        progress: whether to show a bar with tokens/s. None shows it in a terminal, if it takes over 2 s.

    Returns:
        An iterator over token ids: each () for a prompt (T,), (B,) for prompts (B, T), or (n_samples,) if
        n_samples is given.

    Raises:
        TypeError, ValueError: an argument has the wrong type or an impossible value. The error comes at
            the call, not at the first token.
    """
    check_settings(temperature, top_k, top_p, min_p)
    check_size("max_new_tokens", max_new_tokens)
    check_switch("use_cache", use_cache)
    check_model(model)
    tokens = check_prompt(tokens, model)
    stop = check_stop(stop, model.config.vocab_size).to(tokens.device)
    if n_samples is not None:
        check_size("n_samples", n_samples)
        if tokens.dim() != 1:
            raise ValueError(f"n_samples must be None for several prompts at once; got {n_samples}")
    check_generator(generator)
    if seed is not None:
        if generator is not None:
            raise ValueError(f"seed and generator must not be given both; got seed={seed!r} and a generator")
        seed = check_size("seed", seed, most=2**64 - 1, least=-(2**63))
        generator = RandomNumbers(seed)
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    cache = model.new_cache() if use_cache else None
    bar = {"disable": is_bar_hidden(progress), "delay": 2 if progress is None else 0}
    return steps(model, tokens, max_new_tokens, settings, generator, stop, n_samples, cache, **bar)


def steps(model, tokens, max_new_tokens, settings, generator, stop, n_samples, cache, **bar) -> Iterator[Tensor]:
    """The loop of `generate`, for arguments that are checked already."""
    # A single prompt is made a batch of one. For several samples, the prompt is read once and repeated.
    is_batch = tokens.dim() == 2 or n_samples is not None
    prompt = tokens if tokens.dim() == 2 else tokens[None]
    sequence = prompt if n_samples is None else read_once(prompt, n_samples, model, cache)  # (B, N)

    # The window: only the last tokens will be read. No sequence has ended yet.
    context_length, modules = model.config.context_length, list(model.modules())
    window = sequence[:, -context_length:]  # (B, N)
    ended = torch.zeros(len(window), dtype=torch.bool, device=window.device)  # (B,)
    if sequence.size(1) > context_length:
        cache = None

    for _ in tqdm(range(max_new_tokens), unit=" tokens", **bar):
        # Ask the model for scores, and draw a token for each sequence as the settings say.
        with torch.inference_mode(), evaluating(modules):
            logits = read(model, window, cache)  # (B, V)
        drawn = choose(logits, settings, generator)  # (B,)

        # A sequence that has ended repeats its last token, so that all sequences stay equally long.
        if len(stop):
            drawn = torch.where(ended, window[:, -1], drawn)  # (B,)
            ended = torch.isin(drawn, stop)  # (B,)

        # The drawn tokens become part of the text, and are handed to the caller.
        window = torch.cat([window, drawn[:, None]], dim=1)  # (B, N + 1)
        if window.size(1) > context_length:
            # Too long: the window moves on by one token. Every token in it has a new position, so the
            # cache is of no use any more.
            window = window[:, 1:]  # (B, N)
            cache = None
        yield drawn if is_batch else drawn[0]
        if len(stop) and ended.all():
            return


def read_once(prompt: Tensor, times: int, model: GPT, cache: list[KVCache] | None) -> Tensor:
    """(1, N) -> (B, N): repeat a prompt `times` times. All its tokens but the last are read into the cache, once."""
    if cache is not None and 1 < prompt.size(1) <= model.config.context_length:
        next_logits(model, prompt[:, :-1], cache)
        for layer in cache:
            layer.repeat(times)
    return prompt.expand(times, -1)


def read(model: GPT, window: Tensor, cache: list[KVCache] | None) -> Tensor:
    """The scores for the next token after a window (B, N) of at most context_length tokens: (B, V)."""
    # Only the tokens that the cache does not hold have to be read.
    start = 0 if cache is None else cache[0].length
    unread = window[:, start:]  # (B, T)
    if has_own_forward(model):
        return model(unread, cache=cache)[:, -1]
    # As forward does it, without its checks, and with scores for the last position only.
    return model.head(model.hidden_states(unread, start, cache)[:, -1])  # (B, V)


def has_own_forward(model: GPT) -> bool:
    """Whether calling the model does more than `GPT.forward`: a subclass, a replaced method, hooks."""
    replaced = type(model).forward is not GPT.forward or "forward" in vars(model)
    return replaced or bool(model._forward_hooks or model._forward_pre_hooks)


def choose(logits: Tensor, settings: dict, generator: torch.Generator | None) -> Tensor:
    """Choose a token for each row of scores (B, V), at temperature 0 the likeliest, else a drawn one: (B,)."""
    check_logits(logits)
    if settings["temperature"] == 0:
        return logits.argmax(-1)
    probabilities = distribution(logits, **settings)  # (B, V)
    return throw(probabilities.cpu().double(), generator).to(logits.device)


@torch.no_grad()
def next_logits(model: GPT, sequence: Tensor, cache: list[KVCache] | None = None) -> Tensor:
    """The scores for the next token after a sequence. Only its last context_length tokens are read.

    Args:
        model: it runs without dropout, as after `eval()`, and is afterwards as it was before.
        sequence: all tokens from the first one on, at least one more than the cache holds, (B, N).
        cache: the model's cache, with the tokens of the sequence that earlier calls have read.

    Returns:
        Logits, (B, V).

    Raises:
        TypeError, ValueError: sequence is not (B, N), one of its tokens is not in the vocabulary, or the
            cache is not the model's.
    """
    check_model(model)
    if not isinstance(sequence, Tensor) or sequence.dim() != 2:
        got = tuple(sequence.shape) if isinstance(sequence, Tensor) else type(sequence).__name__
        raise ValueError(f"sequence must be a tensor of token ids (B, N); got {got}")
    context_length = model.config.context_length
    sequence = sequence.to(model.head.weight.device)
    start = model.check_cache(cache)
    # Too long: only the last tokens are read. Each has a new position, so the cache is of no use any more.
    if sequence.size(1) > context_length:
        sequence, cache, start = sequence[:, -context_length:], None, 0
    with evaluating(model.modules()):
        return model(sequence[:, start:], cache=cache)[:, -1]


def complete(model: GPT, tokenizer: Tokenizer, text: str, max_new_tokens: int = 50, **settings) -> str:
    """Let the model continue a text, and return the continuation, without the text itself.

    Args:
        model: the model that writes.
        tokenizer: the tokenizer that the model was trained with.
        text: the text to continue; must hold at least one token.
        max_new_tokens: after how many tokens to stop.
        settings: further arguments of `generate`.

    The token `END_OF_TEXT` stands for no letters: if it is drawn, it does not show in what is returned.
    """
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(f"tokenizer must be a tokenizers.Tokenizer; got {tokenizer!r} ({type(tokenizer).__name__})")
    ids = tokenizer.encode(check_text("text", text)).ids
    if not ids:
        raise ValueError(f"text must hold at least one token, if only {END_OF_TEXT} to begin with; got {text!r}")
    return "".join(stream(tokenizer, generate(model, ids, max_new_tokens, **settings)))


def stream(tokenizer: Tokenizer, tokens: Iterable[int | Tensor]) -> Iterator[str]:
    """Turn tokens into text while they come, in pieces of whole characters.

    A character that English does not have often takes several tokens; it is yielded with the last of them.
    Joined together, the pieces are what `tokenizer.decode` makes of all tokens at once, whatever they are.

    Args:
        tokenizer: a byte-level tokenizer, as all in this package are.
        tokens: ids of one sequence, as `generate` yields them.

    Raises:
        ValueError: a token is not one id but several, as from a batch.
    """
    held: list[int] = []
    for token in tokens:
        if isinstance(token, Tensor) and token.numel() != 1:
            raise ValueError(f"tokens must be of one sequence, one id at a time; got {tuple(token.shape)}")
        held.append(int(token))
        text = tokenizer.decode(held)
        # A character whose last bytes are still missing is decoded as a replacement character.
        if text and not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text
            held = []
    if rest := tokenizer.decode(held):
        yield rest


def greedy_decode(
    model: GPT, tokenizer: Tokenizer, text: str, max_new_tokens: int = 50, stop: int | Iterable[int] = ()
) -> str:
    """Let the model continue a text with the likeliest token at every step, and return the continuation.

    There is no temperature among the arguments: dividing all scores by the same positive number does
    not change which of them is the largest. The result is that of `complete` at temperature 0.
    """
    return complete(model, tokenizer, text, max_new_tokens, temperature=0, stop=stop)


def check_settings(temperature, top_k, top_p, min_p) -> None:
    """Raise unless these four settings have possible values."""
    check_number("temperature", temperature, "at least 0 and finite", lambda t: 0 <= t < math.inf)
    if top_k is not None:
        check_size("top_k", top_k, note=" (None keeps all)")
    if top_p is not None:
        check_number("top_p", top_p, "above 0 and at most 1 (None keeps all)", lambda p: 0 < p <= 1)
    if min_p is not None:
        check_number("min_p", min_p, "at least 0 and at most 1", lambda p: 0 <= p <= 1)


def check_model(model) -> None:
    """Raise unless `model` is a GPT, also one that is wrapped by torch.compile."""
    if not isinstance(getattr(model, "config", None), GPTConfig):
        raise TypeError(f"model must be a GPT; got an object of type {type(model).__name__}")


def check_generator(generator) -> None:
    """Raise unless `generator` is a torch.Generator or None."""
    if generator is not None and not isinstance(generator, torch.Generator | RandomNumbers):
        raise TypeError(f"generator must be a torch.Generator; got {generator!r} ({type(generator).__name__})")


def check_probabilities(probabilities) -> Tensor:
    """Return the probabilities on the CPU in double precision; raise unless every row allows a draw."""
    is_tensor = isinstance(probabilities, Tensor)
    if not is_tensor or not (probabilities.is_floating_point() or holds_integers(probabilities)):
        kind = probabilities.dtype if is_tensor else type(probabilities).__name__
        raise TypeError(f"probabilities must be a tensor of numbers; got {kind}")
    if probabilities.dim() not in (1, 2) or probabilities.numel() == 0:
        shape = tuple(probabilities.shape)
        raise ValueError(f"probabilities must have the shape (V,) or (B, V), none of them 0; got {shape}")
    p = probabilities.detach().cpu().double()
    least, sums = p.amin(-1), p.sum(-1)
    bad = ~((least >= 0) & (sums >= 1e-300) & sums.isfinite())
    if bad.any():
        row = f"a row from {least[bad][0].item():g}, with the sum {sums[bad][0].item():g}"
        raise ValueError(f"probabilities must be at least 0, and more than 0 and finite in sum; got {row}")
    return p


def holds_integers(x: Tensor) -> bool:
    """Whether a tensor holds integers of any width; True and False don't count as integers."""
    return not (x.is_floating_point() or x.is_complex() or x.dtype == torch.bool)


def check_logits(logits) -> None:
    """Raise unless `logits` are scores, and every row leaves at least one token to choose."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"logits must be a tensor of floating-point numbers; got {kind}")
    if logits.dim() not in (1, 2) or logits.numel() == 0:
        raise ValueError(f"logits must have the shape (V,) or (B, V), none of them 0; got {tuple(logits.shape)}")
    largest = logits.amax(-1)
    if not largest.isfinite().all():
        bad = largest[~largest.isfinite()].flatten()[0].item()
        what = "only -inf in a row" if bad == -math.inf else bad
        raise ValueError(f"logits must be finite, or -inf for tokens that are ruled out; got {what}")


def check_prompt(tokens, model: GPT) -> Tensor:
    """Return the prompt as a tensor on the model's device; raise unless the model can read it."""
    if not isinstance(tokens, Tensor):
        try:
            converted = torch.tensor(tokens)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"tokens must be a tensor or a list of token ids; got {tokens!r} ({error})") from error
        tokens = converted if converted.numel() else converted.long()
    if tokens.dim() not in (1, 2) or not holds_integers(tokens):
        raise ValueError(f"tokens must be integers of shape (T,) or (B, T); got {tokens.dtype} {tuple(tokens.shape)}")
    if tokens.is_meta:
        raise ValueError("tokens must hold ids; got a meta tensor, which has none")
    tokens = tokens.long()  # token ids on disk, for instance, have 16 bits
    if tokens.numel() == 0:
        raise ValueError(
            f"tokens must hold a prompt of at least one token; got shape {tuple(tokens.shape)} "
            f"(a text that begins with nothing begins with the id of {END_OF_TEXT})"
        )
    V = model.config.vocab_size
    if not 0 <= tokens.min() <= tokens.max() < V:
        raise ValueError(f"tokens must be from 0 to {V - 1}; got {tokens.min()} to {tokens.max()}")
    return tokens.to(model.head.weight.device)


def check_stop(stop, vocab_size: int) -> Tensor:
    """Return the ids of `stop` as a tensor; raise unless they are in the vocabulary."""
    if isinstance(stop, str | bytes):
        raise TypeError(f"stop must hold token ids; got {stop!r} ({type(stop).__name__})")
    ids = list(stop) if isinstance(stop, Iterable) and not isinstance(stop, Tensor) else [stop]
    ids = [token for one in ids for token in (one.flatten().tolist() if isinstance(one, Tensor) else [one])]
    for token in ids:
        if not is_integer(token):
            raise TypeError(f"stop must hold token ids; got {token!r} ({type(token).__name__})")
        if not 0 <= token < vocab_size:
            raise ValueError(f"stop must hold token ids from 0 to {vocab_size - 1}; got {token}")
    return torch.tensor(ids, dtype=torch.int64)
