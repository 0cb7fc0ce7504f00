"""A second solution of each exercise by hand, built in another way than the reference. The checks must take it."""

ANSWERS = {
    "softmax": """
from math import exp

def softmax(scores):
    top = sorted(scores)[-1]
    total = 0
    for s in scores:
        total += exp(s - top)
    return tuple(exp(s - top) / total for s in scores)
""",
    "causal_mask": """
def causal_mask(scores):
    masked = []
    for t in range(len(scores)):
        row = list(scores[t])
        for s in range(t + 1, len(row)):
            row[s] = float("-inf")
        masked.append(row)
    return masked
""",
    "one_head": """
import math

def dot(a, b):
    return sum(a[i] * b[i] for i in range(len(a)))

def one_head(queries, keys, values):
    T, D = len(queries), len(queries[0])
    outputs = []
    for t in range(T):
        scores = [dot(queries[t], keys[s]) / D ** 0.5 if s <= t else -math.inf for s in range(T)]
        top = max(scores)
        weights = [math.exp(score - top) for score in scores]
        total = sum(weights)
        columns = list(zip(*values))
        outputs.append([dot(weights, column) / total for column in columns])
    return outputs
""",
    "layer_norm": """
def layer_norm(numbers, scale, shift):
    n = len(numbers)
    mean = 0
    for x in numbers:
        mean += x / n
    centred = [x - mean for x in numbers]
    spread = (sum(c * c for c in centred) / n + 1e-5) ** 0.5
    result = []
    for i in range(n):
        result.append(scale[i] * centred[i] / spread + shift[i])
    return result
""",
    "layer_params": """
def layer_params(d_model, n_heads):
    total = 0
    for matrix in ("queries", "keys", "values", "output"):
        total += d_model ** 2
        total += d_model
    return total
""",
    "gpt_params": """
def gpt_params(d_model, n_layers, vocab_size, context_length):
    def linear(rows, columns):
        return rows * columns + columns
    norm = 2 * d_model
    attention = 4 * linear(d_model, d_model)
    feed_forward = linear(d_model, 4 * d_model) + linear(4 * d_model, d_model)
    block = norm + attention + norm + feed_forward
    return vocab_size * d_model + context_length * d_model + sum(block for _ in range(n_layers)) + norm
""",
    "step_bytes": """
def step_bytes(n_params, optimizer):
    each = {"adamw": 16, "sgd": 8}
    return each[optimizer] * n_params
""",
    "kv_cache_bytes": """
def kv_cache_bytes(d_model, n_heads, n_layers, n_tokens, number_bytes):
    total = 0
    for layer in range(n_layers):
        for what in ["keys", "values"]:
            total += n_heads * (d_model // n_heads) * n_tokens * number_bytes
    return total
""",
    "bits_per_byte": """
from math import e, log

def bits_per_byte(loss, n_tokens, n_bytes):
    nats = loss * n_tokens
    bits = nats * log(e, 2)
    return bits / n_bytes
""",
    "temperature": """
import math

def temperature(scores, tau):
    best = max(scores)
    if not tau:
        result = [0] * len(scores)
        result[scores.index(best)] = 1
        return result
    divided = [(score - best) / tau for score in scores]
    total = math.fsum(math.exp(d) for d in divided)
    return list(map(lambda d: math.exp(d) / total, divided))
""",
    "top_k": """
def top_k(probabilities, k):
    left = list(probabilities)
    edge = 1
    for _ in range(k):
        if left:
            edge = max(left)
            left.remove(edge)
    total = sum(p for p in probabilities if p >= edge)
    return [p / total if p >= edge else 0 for p in probabilities]
""",
    "top_p": """
def top_p(probabilities, p):
    result = [0 for _ in probabilities]
    left = dict(enumerate(probabilities))
    total = 0
    while left and total < p:
        best = max(left, key=lambda place: (left[place], -place))
        result[best] = left.pop(best)
        total = sum(result)
    return [share / total for share in result]
""",
    "longest_copy": """
def longest_copy(text, source):
    for n in range(len(text), 0, -1):
        known = {tuple(source[j : j + n]) for j in range(len(source) - n + 1)}
        for i in range(len(text) - n + 1):
            if tuple(text[i : i + n]) in known:
                return text[i : i + n]
    return []
""",
    "quantize": """
def quantize(row):
    largest = max(max(row), -min(row))
    if largest == 0.0:
        return [0 for _ in row], 0
    numbers = []
    for weight in row:
        numbers.append(int(round(127 * weight / largest)))
    return [numbers, largest / 127]
""",
}
