"""Lesson 4: how many bytes."""

from minigpt.config import CONFIGS, GPTConfig
from minigpt.marking.verdict import Case, Exercise, question
from minigpt.memory import kv_cache_bytes as cache_of
from minigpt.memory import max_batch_size, process_shares, training_memory
from minigpt.parameters import count_params

HOMEWORK = CONFIGS["homework"]


def any_config(d_model, n_heads, context_length=2, n_layers=1):
    return GPTConfig(vocab_size=1, context_length=context_length, d_model=d_model, n_heads=n_heads, n_layers=n_layers)


# What is there for the sake of the parameters


def parameter_bytes(n_params, optimizer):
    """The bytes of parameters, gradients and the optimizer's states, in 32 bits."""
    share = process_shares("tiny", 1, "ddp", optimizer=optimizer)[0]
    return n_params * share.total_bytes // count_params(CONFIGS["tiny"])


STATES = {"sgd": 0, "sgd-momentum": 1, "adamw": 2}


def bytes_without_gradients(n_params, optimizer):
    """The gradients are missing: one number for each parameter, 4 bytes."""
    return 4 * n_params * (1 + STATES[optimizer])


def bytes_of_one_mean(n_params, optimizer):
    """AdamW keeps two running means, one of the gradients and one of their squares. You count one."""
    return 4 * n_params * (2 + min(STATES[optimizer], 1))


def bytes_without_states(n_params, optimizer):
    """The optimizer's states are missing: plain SGD has none, SGD with momentum one number a parameter, AdamW two."""
    return 8 * n_params


def bytes_in_16_bits(n_params, optimizer):
    """You take 2 bytes a number. In 32 bits it is 4."""
    return 2 * n_params * (2 + STATES[optimizer])


def bytes_as_bits(n_params, optimizer):
    """You count bits. A number of 32 bits takes 4 bytes."""
    return 32 * n_params * (2 + STATES[optimizer])


def bytes_of_weights(n_params, optimizer):
    """These are the parameters alone, what a file of them takes. Training also holds gradients and the optimizer's
    states."""
    return 4 * n_params


def bytes_always_adam(n_params, optimizer):
    """You take 16 bytes a parameter whatever the optimizer is. Plain SGD keeps nothing, SGD with momentum one number a
    parameter."""
    return 16 * n_params


# What backward needs of a block


def block_bytes(batch_size, n_positions, d_model, n_heads):
    """The bytes that one block saves for backward: 32 bits, explicit attention, no dropout, F = 4·C."""
    config = any_config(d_model, n_heads, n_positions)
    return sum(training_memory(config, batch_size).saved["block 0"].values())


def saved(B, T, C, H, narrow=8, wide=2, single=4, weights=1, size=4):
    """size bytes for each number of so many tensors: as wide as the model, as feed-forward, one number, the weights."""
    return size * (narrow * B * T * C + wide * B * T * 4 * C + single * B * T + weights * B * H * T * T)


def block_without_weights(batch_size, n_positions, d_model, n_heads):
    """The attention weights are missing, B·H·T² numbers: the softmax needs its own output in backward. (A fused kernel
    does without them, but here attention is spelled out.)"""
    return saved(batch_size, n_positions, d_model, n_heads, weights=0)


def block_of_one_head(batch_size, n_positions, d_model, n_heads):
    """You count the attention weights of one head. Each of the H heads has T² of its own."""
    return saved(batch_size, n_positions, d_model, 1)


def block_weights_of_one_sequence(batch_size, n_positions, d_model, n_heads):
    """You count the attention weights of one sequence. Each of the B sequences has its own."""
    B, T, H = batch_size, n_positions, n_heads
    return saved(B, T, d_model, H, weights=0) + 4 * H * T * T


def block_of_half_the_weights(batch_size, n_positions, d_model, n_heads):
    """You count the weights below the diagonal only. The others are 0, but they are kept all the same: T², not half of
    it."""
    B, T, H = batch_size, n_positions, n_heads
    return saved(B, T, d_model, H, weights=0) + 4 * B * H * T * (T + 1) // 2


def block_of_scores_and_weights(batch_size, n_positions, d_model, n_heads):
    """You count T² numbers twice, for the scores and for the weights. The softmax needs its output only; the scores are
    dropped."""
    return saved(batch_size, n_positions, d_model, n_heads, weights=2)


def block_without_statistics(batch_size, n_positions, d_model, n_heads):
    """Nearly: each of the two LayerNorms also keeps a mean and a deviation for each position, 16·N bytes."""
    return saved(batch_size, n_positions, d_model, n_heads, single=0)


def block_of_one_wide_tensor(batch_size, n_positions, d_model, n_heads):
    """You count one tensor as wide as feed-forward. Two are kept: the input of GELU, and its output, which is the input
    of the second linear layer."""
    return saved(batch_size, n_positions, d_model, n_heads, wide=1)


def block_input_kept_three_times(batch_size, n_positions, d_model, n_heads):
    """You count the input of query, key and value three times. It is the same tensor, and PyTorch keeps it once."""
    return saved(batch_size, n_positions, d_model, n_heads, narrow=10)


def block_numbers(batch_size, n_positions, d_model, n_heads):
    """You count numbers. Each of them takes 4 bytes."""
    return saved(batch_size, n_positions, d_model, n_heads, size=1)


def block_sizes(draw):
    n_heads = draw.whole(2, 5)
    return draw.whole(2, 6), draw.whole(7, 30), n_heads * draw.whole(3, 9), n_heads


# The cache


def kv_cache_bytes(n_layers, d_model, batch_size, n_positions):
    """The bytes of the keys and values of all layers, in 32 bits."""
    return cache_of(any_config(d_model, 1, n_positions, n_layers), batch_size)


def cache_of_keys(n_layers, d_model, batch_size, n_positions):
    """You count keys or values. Both are kept: 2 tensors in each layer."""
    return 4 * n_layers * d_model * batch_size * n_positions


def cache_of_one_layer(n_layers, d_model, batch_size, n_positions):
    """You count one layer. Each of the L layers has keys and values of its own."""
    return 8 * d_model * batch_size * n_positions


def cache_of_one_sequence(n_layers, d_model, batch_size, n_positions):
    """You count one sequence. Each of the B sequences has keys and values of its own."""
    return 8 * n_layers * d_model * n_positions


def cache_with_queries(n_layers, d_model, batch_size, n_positions):
    """You keep the queries, too. Only new positions look, so an old query is never needed again."""
    return 12 * n_layers * d_model * batch_size * n_positions


def cache_of_weights(n_layers, d_model, batch_size, n_positions):
    """Your number grows with the square of the positions. Keys and values are one row a position; it is the attention
    weights that are T², and they are not kept."""
    return 8 * n_layers * d_model * batch_size * n_positions**2


def cache_numbers(n_layers, d_model, batch_size, n_positions):
    """You count numbers. Each of them takes 4 bytes."""
    return 2 * n_layers * d_model * batch_size * n_positions


# The homework's step


def step_of(**how):
    return training_memory(HOMEWORK, 1, device="cuda", **how)


def gigabytes(size_bytes):
    return size_bytes / 1e9


EXERCISES = [
    Exercise(
        parameter_bytes,
        [
            Case("AdamW, one parameter", lambda draw: (1, "adamw")),
            Case("plain SGD", lambda draw: (draw.whole(2, 999), "sgd")),
            Case("SGD with momentum", lambda draw: (draw.whole(2, 999), "sgd-momentum")),
            Case("AdamW", lambda draw: (draw.whole(1000, 10**6), "adamw")),
            Case("the homework's model", lambda draw: (count_params(HOMEWORK), "adamw")),
        ],
        [
            bytes_without_gradients,
            bytes_of_one_mean,
            bytes_without_states,
            bytes_in_16_bits,
            bytes_as_bits,
            bytes_of_weights,
            bytes_always_adam,
        ],
    ),
    Exercise(
        block_bytes,
        [
            Case("one position, one head, width 1", lambda draw: (1, 1, 1, 1)),
            Case("one sequence", lambda draw: (1, 5, 6, 2)),
            Case("any sizes", block_sizes),
            Case("other sizes", block_sizes),
            Case(
                "the homework's block",
                lambda draw: (1, HOMEWORK.context_length, HOMEWORK.d_model, HOMEWORK.n_heads),
            ),
        ],
        [
            block_without_weights,
            block_of_one_head,
            block_weights_of_one_sequence,
            block_of_half_the_weights,
            block_of_scores_and_weights,
            block_without_statistics,
            block_of_one_wide_tensor,
            block_input_kept_three_times,
            block_numbers,
        ],
    ),
    question(
        "peak_gb",
        lambda: gigabytes(step_of().peak_bytes),
        [
            (
                lambda: gigabytes(step_of().parameters_bytes),
                "These are the weights alone, what they take on a disk. Training also holds gradients, AdamW's means "
                "and what backward needs.",
            ),
            (
                lambda: gigabytes(2 * step_of().parameters_bytes),
                "These are weights and gradients. AdamW's two means and what backward needs are missing.",
            ),
            (
                lambda: gigabytes(4 * step_of().parameters_bytes),
                "These are the 16 bytes a parameter: weights, gradients, AdamW's means. What backward needs, and "
                "what is there for the moment, comes on top.",
            ),
            (
                lambda: step_of().peak_bytes / 2**30,
                "That is the right size in GiB, 2³⁰ bytes. Here it is asked for in GB, 10⁹ bytes.",
            ),
            (
                lambda: gigabytes(4 * step_of().parameters_bytes + step_of().saved_bytes),
                "You add all activations to all gradients. They are not there at the same moment: as backward "
                "begins, there is no gradient yet; when the last gradient is there, all activations are gone. And add "
                "what is there for the moment only, the logits for instance.",
            ),
            (
                lambda: gigabytes(step_of(attention="fused").peak_bytes),
                "That is the step with a fused attention, which does not store the weights. Here attention is "
                "spelled out.",
            ),
            (
                7,
                "That is the middle of “6 to 8”. One step, done in one way, has one number: add it up, stage by stage.",
            ),
        ],
        tolerance=0.005,
    ),
    question(
        "most_sequences",
        lambda: max_batch_size(HOMEWORK, 24 * 10**9, device="cuda"),
        [
            (
                lambda: int(24e9 // step_of().peak_bytes),
                "You divide the memory by a step of one sequence. Weights, gradients and AdamW's means are there once, "
                "however many sequences are read.",
            ),
            (
                lambda: int(24e9 // (4 * step_of().parameters_bytes)),
                "You divide the memory by what the parameters need. What grows with the batch is something else: the "
                "activations and the logits.",
            ),
            (
                lambda: max_batch_size(HOMEWORK, 24 * 10**9, device="cuda") + 1,
                "With this many it just does not fit. Does something besides the activations grow with the batch?",
            ),
            (
                lambda: max_batch_size(HOMEWORK, 24 * 10**9, device="cuda", attention="fused"),
                "So many fit with a fused attention, which does not store the weights. Here attention is spelled out.",
            ),
            (
                lambda: int(24e9 // step_of().saved_bytes),
                "You divide the memory by the activations of one sequence, as if the parameters took no room.",
            ),
            (1, "One fits easily: the step of one sequence takes less than a third of it."),
        ],
    ),
    Exercise(
        kv_cache_bytes,
        [
            Case("one of each", lambda draw: (1, 1, 1, 1)),
            Case("three layers, width 4, two sequences", lambda draw: (3, 4, 2, 5)),
            Case("any sizes", lambda draw: tuple(draw.whole(2, 50) for _ in range(4))),
            Case("other sizes", lambda draw: tuple(draw.whole(2, 500) for _ in range(4))),
            Case(
                "the homework's model, one sequence, all its positions",
                lambda draw: (HOMEWORK.n_layers, HOMEWORK.d_model, 1, HOMEWORK.context_length),
            ),
        ],
        [
            cache_of_keys,
            cache_of_one_layer,
            cache_of_one_sequence,
            cache_with_queries,
            cache_of_weights,
            cache_numbers,
        ],
    ),
]
