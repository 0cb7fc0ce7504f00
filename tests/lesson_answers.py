"""A second right answer to each exercise of the lessons, of another structure than the masters' solutions."""

import math

import torch
import torch.nn.functional as F

from minigpt import CONFIGS, GPT, MultiHeadAttention
from minigpt.parameters import count


def on_meta(make):
    with torch.device("meta"):
        return count(make())


# Attention


def one_head(x, w_q, w_k, w_v):
    rows = []
    for position in x:
        powers = [math.exp((position @ w_q) @ (other @ w_k) / w_k.size(1) ** 0.5) for other in x]
        rows.append(sum(power / sum(powers) * (other @ w_v) for power, other in zip(powers, x, strict=True)))
    return torch.stack(rows)


def masked_head(x, w_q, w_k, w_v):
    return torch.cat([one_head(x[: t + 1], w_q, w_k, w_v)[-1:] for t in range(len(x))])


def many_heads(x, w_q, w_k, w_v, w_o, n_heads):
    """What each head finds goes through its rows of w_o, and the results are added up."""
    columns = torch.arange(len(w_o)).chunk(n_heads)
    return sum(masked_head(x, w_q[:, c], w_k[:, c], w_v[:, c]) @ w_o[c] for c in columns)


def fast(x, weights, n_heads):
    x = x.double()
    weights = {name: weight.double() for name, weight in weights.items()}
    q, k, v = (
        torch.einsum("btc,hdc->bhtd", x, weights[f"{name}.weight"].unflatten(0, (n_heads, -1)))
        + weights[f"{name}.bias"].unflatten(0, (n_heads, 1, -1))
        for name in ("query", "key", "value")
    )
    powers = torch.einsum("bhtd,bhsd->bhts", q, k).div(q.size(-1) ** 0.5).exp().tril()
    found = torch.einsum("bhts,bhsd->bthd", powers / powers.sum(-1, keepdim=True), v)
    return found.flatten(2) @ weights["output.weight"].mT + weights["output.bias"]


# GPT


def layer_norm(x, scale, shift):
    flat = x.reshape(-1, x.shape[-1])
    rows = [(row - row.mean()) / torch.sqrt(row.var(correction=0) + 1e-5) * scale + shift for row in flat]
    return torch.stack(rows).reshape(x.shape)


def feed_forward(x, weights):
    h = x @ weights["expand.weight"].T + weights["expand.bias"]
    h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    return h @ weights["contract.weight"].T + weights["contract.bias"]


def beginning(weights, prefix):
    return {name[len(prefix) :]: weight for name, weight in weights.items() if name.startswith(prefix)}


def block(x, weights, n_heads):
    branches = (
        ("norm1", lambda x: fast(x, beginning(weights, "attention."), n_heads).float()),
        ("norm2", lambda x: feed_forward(x, beginning(weights, "feed_forward."))),
    )
    for norm, branch in branches:
        x = branch(layer_norm(x, weights[f"{norm}.weight"], weights[f"{norm}.bias"])) + x
    return x


def embed(tokens, token_embedding, position_embedding):
    return F.embedding(tokens, token_embedding) + position_embedding.narrow(0, 0, tokens.size(1))[None]


def gpt(tokens, weights, n_heads):
    """Each text by itself."""
    layers = sorted({int(name.split(".")[1]) for name in weights if name.startswith("blocks.")})
    logits = []
    for text in tokens:
        x = embed(text[None], weights["token_embedding.weight"], weights["position_embedding.weight"])
        for i in layers:
            x = block(x, beginning(weights, f"blocks.{i}."), n_heads)
        x = layer_norm(x, weights["norm.weight"], weights["norm.bias"])
        logits.append(F.linear(x, weights["token_embedding.weight"])[0])
    return torch.stack(logits)


# Counting

attention_768 = on_meta(lambda: MultiHeadAttention(768, 12))


def block_params(d_model):
    return 12 * d_model**2 + 13 * d_model


def gpt_params(vocab_size, context_length, d_model, n_layers):
    return d_model * (vocab_size + context_length + n_layers * (12 * d_model + 13) + 2)


homework_params = on_meta(lambda: GPT(CONFIGS["homework"]))
gpt3_params = float(on_meta(lambda: GPT(CONFIGS["gpt3-175b"])))
gpt2_params = torch.tensor(on_meta(lambda: GPT(CONFIGS["gpt2"])))


# Memory


def parameter_bytes(n_params, optimizer):
    return n_params * (8 if optimizer == "sgd" else 12 if "momentum" in optimizer else 16)


def block_bytes(batch_size, n_positions, d_model, n_heads):
    return batch_size * n_positions * (64 * d_model + 16 + 4 * n_heads * n_positions)


peak_gb = 6.47
most_sequences = 7


def kv_cache_bytes(n_layers, d_model, batch_size, n_positions):
    return float(sum(8 * d_model * n_positions * batch_size for _ in range(n_layers)))


# Training


def windows(tokens, starts, length):
    return (
        torch.stack([tokens[start : start + length] for start in starts]),
        torch.stack([tokens[start + 1 : start + 1 + length] for start in starts]),
    )


def loss(logits, targets):
    return F.cross_entropy(logits.transpose(1, 2), targets)


first_loss = -math.log(1 / 1024)


def accuracy(logits, targets):
    pairs = [
        (row.tolist().index(max(row.tolist())), target.item())
        for row, target in zip(logits.flatten(0, 1), targets.flatten(), strict=True)
        if target != -100
    ]
    return sum(guess == target for guess, target in pairs) / len(pairs)


def learning_rate(step, steps, warmup_steps, highest, final_share):
    lowest = highest * final_share
    if step + 1 <= warmup_steps:
        return (step + 1) * highest / warmup_steps
    angle = math.pi * (step - warmup_steps + 1) / (steps - warmup_steps)
    return lowest + (highest - lowest) * math.cos(angle / 2) ** 2


def train(table, batches, rate):
    """With the gradient by hand: softmax minus one, over the number of questions."""
    weights, losses = table.clone(), []
    for inputs, targets in batches:
        p = weights[inputs].softmax(-1)
        one = F.one_hot(targets, len(table))
        losses.append(-(p * one).sum(-1).log().mean())
        gradient = torch.zeros_like(weights).index_add(0, inputs.flatten(), (p - one).flatten(0, 1)) / inputs.numel()
        weights = weights - rate * gradient
    return losses


def bits_per_byte(loss, n_tokens, n_bytes):
    return math.log2(math.e) * loss / (n_bytes / n_tokens)


# Sampling


def with_temperature(scores, temperature):
    if not temperature:
        return F.one_hot(scores.argmax(), len(scores))
    powers = torch.exp((scores - scores.max()) / temperature)
    return (powers / powers.sum()).tolist()


def keep_top_k(probabilities, k):
    kept = [p if sum(q > p for q in probabilities.tolist()) < k else 0.0 for p in probabilities.tolist()]
    return [p / sum(kept) for p in kept]


def keep_top_p(probabilities, p):
    total, result = 0.0, [0.0] * len(probabilities)
    for i in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        result[i] = probabilities[i].item()
        total += result[i]
        if total >= p:
            break
    return [each / total for each in result]


def draw(probabilities, point):
    for i, p in enumerate(probabilities.double().tolist()):
        point -= p
        if point < 0:
            return i
    return len(probabilities) - 1


def generate(scores_after, tokens, max_new_tokens, context_length, points, stop):
    if max_new_tokens == 0:
        return []
    token = draw(scores_after(tokens[-context_length:]).softmax(0), points[0])
    if token == stop:
        return [token]
    rest = generate(scores_after, [*tokens, token], max_new_tokens - 1, context_length, points[1:], stop)
    return [token, *rest]


tokens_a_word = 1.5
