"""Lesson 3: how many parameters."""

from minigpt.config import CONFIGS, GPTConfig
from minigpt.marking.verdict import Case, Exercise, question
from minigpt.parameters import attention_params, count_params, params_by_group, rule_of_thumb

HOMEWORK, GPT2, GPT3 = CONFIGS["homework"], CONFIGS["gpt2"], CONFIGS["gpt3-175b"]


def block_params(d_model):
    """The parameters of one block of GPT-2, F = 4·C."""
    one = GPTConfig(vocab_size=1, context_length=1, d_model=d_model, n_heads=1, n_layers=1)
    return count_params(one.but(n_layers=2)) - count_params(one)


def block_without_biases(d_model):
    """The biases are missing: each of the six linear layers adds one number for each of its outputs."""
    return 12 * d_model**2 + 4 * d_model


def block_without_norms(d_model):
    """The two LayerNorms are missing: each has a scale and a shift for each of the C numbers."""
    return 12 * d_model**2 + 9 * d_model


def block_of_one_norm(d_model):
    """You count one LayerNorm. A block has two: one before attention, one before feed-forward."""
    return 12 * d_model**2 + 11 * d_model


def block_without_output(d_model):
    """You count three projections in attention. There are four: query, key, value and output."""
    return 11 * d_model**2 + 12 * d_model


def block_narrow(d_model):
    """Your feed-forward part is as narrow as the model. In GPT-2 it is F = 4·C wide inside."""
    return 6 * d_model**2 + 10 * d_model


def block_rule_of_thumb(d_model):
    """12·C² is the rule of thumb: the matrices alone. Biases and LayerNorms add 13·C."""
    return 12 * d_model**2


def gpt_params(vocab_size, context_length, d_model, n_layers):
    """The parameters of a GPT-2: tied head, biases, F = 4·C."""
    return count_params(
        GPTConfig(vocab_size=vocab_size, context_length=context_length, d_model=d_model, n_heads=1, n_layers=n_layers)
    )


def gpt_head_counted_twice(vocab_size, context_length, d_model, n_layers):
    """You count the output head a second time. It is tied: it uses the matrix of the token embedding."""
    return gpt_params(vocab_size, context_length, d_model, n_layers) + vocab_size * d_model


def gpt_without_positions(vocab_size, context_length, d_model, n_layers):
    """The position embedding is missing: a row of C numbers for each of the T_max positions."""
    return gpt_params(vocab_size, context_length, d_model, n_layers) - context_length * d_model


def gpt_without_last_norm(vocab_size, context_length, d_model, n_layers):
    """The last LayerNorm, behind all blocks, is missing: 2·C."""
    return gpt_params(vocab_size, context_length, d_model, n_layers) - 2 * d_model


def gpt_norm_without_shift(vocab_size, context_length, d_model, n_layers):
    """The last LayerNorm has a scale and a shift: 2·C, not C."""
    return gpt_params(vocab_size, context_length, d_model, n_layers) - d_model


def gpt_blocks_alone(vocab_size, context_length, d_model, n_layers):
    """You count the blocks alone. The embeddings and the last LayerNorm have parameters, too."""
    return n_layers * block_params(d_model)


def gpt_of_one_block(vocab_size, context_length, d_model, n_layers):
    """You count one block. There are n_layers of them, each with weights of its own."""
    return gpt_params(vocab_size, context_length, d_model, 1)


def gpt_without_biases(vocab_size, context_length, d_model, n_layers):
    """The biases of the blocks are missing, 9·C in each."""
    return gpt_params(vocab_size, context_length, d_model, n_layers) - 9 * n_layers * d_model


def sizes(draw):
    return draw.whole(20, 900), draw.whole(5, 60), 8 * draw.whole(2, 12), draw.whole(2, 9)


def counted(config, without):
    """The number of parameters, without the groups that are named."""
    return sum(number for group, number in params_by_group(config).items() if group not in without)


def untied(config):
    return count_params(config.but(tie_weights=False))


EXERCISES = [
    question(
        "attention_768",
        lambda: attention_params(GPT2.d_model),
        [
            (
                lambda: attention_params(GPT2.d_model, bias=False),
                "These are the four matrices. Each projection has a bias as well, C numbers: 4·(C² + C).",
            ),
            (
                lambda: attention_params(GPT2.d_model) * 3 // 4,
                "These are queries, keys and values. The output projection, which mixes the heads, is a fourth.",
            ),
            (
                lambda: attention_params(GPT2.d_model) // 4,
                "This is one projection. There are four: query, key, value and output.",
            ),
            (
                lambda: GPT2.n_heads * attention_params(GPT2.d_model),
                "You multiplied by the number of heads. The heads share the width: each has 1/H of the columns, so the "
                "number of heads does not matter.",
            ),
            (
                lambda: block_params(GPT2.d_model),
                "This is a whole block, feed-forward and LayerNorms included. Only the attention is asked for.",
            ),
            (
                lambda: 3 * GPT2.d_model * (GPT2.d_head + 1) + GPT2.d_model * (GPT2.d_model + 1),
                "Your queries, keys and values are those of a single head, D wide. All heads together are C wide.",
            ),
        ],
    ),
    Exercise(
        block_params,
        [
            Case("C = 1", lambda draw: (1,)),
            Case("C = 10", lambda draw: (10,)),
            Case("any width", lambda draw: (draw.whole(11, 99),)),
            Case("another width", lambda draw: (draw.whole(100, 2000),)),
            Case("GPT-2's width", lambda draw: (GPT2.d_model,)),
        ],
        [
            block_without_biases,
            block_without_norms,
            block_of_one_norm,
            block_without_output,
            block_narrow,
            block_rule_of_thumb,
        ],
    ),
    Exercise(
        gpt_params,
        [
            Case("a tiny model", lambda draw: (11, 5, 4, 2)),
            Case("any sizes", sizes),
            Case("other sizes", sizes),
            Case("GPT-2", lambda draw: (GPT2.vocab_size, GPT2.context_length, GPT2.d_model, GPT2.n_layers)),
        ],
        [
            gpt_head_counted_twice,
            gpt_without_positions,
            gpt_without_last_norm,
            gpt_norm_without_shift,
            gpt_blocks_alone,
            gpt_of_one_block,
            gpt_without_biases,
        ],
    ),
    question(
        "homework_params",
        lambda: count_params(HOMEWORK),
        [
            (lambda: untied(HOMEWORK), "You count the output head a second time. It is tied to the token embedding."),
            (lambda: rule_of_thumb(HOMEWORK), "This is the rule of thumb, 12·L·C²: no embeddings, biases, LayerNorms."),
            (
                lambda: counted(HOMEWORK, without=["position embedding"]),
                "The position embedding is missing: 1,024 rows of C numbers.",
            ),
            (
                lambda: count_params(HOMEWORK.but(bias=False)),
                "The biases are missing, those of the linear layers and the shifts of the LayerNorms.",
            ),
            (
                lambda: counted(HOMEWORK, without=["token embedding", "position embedding"]),
                "The embeddings are missing. They are trained, too.",
            ),
            (
                lambda: count_params(CONFIGS["gpt2-large"]),
                "This is GPT-2 Large, with 36 layers. The homework's model has its width and 12 layers.",
            ),
            (301_000_000, "That is the rounded number of the training log. Here the exact one is asked for."),
        ],
    ),
    question(
        "gpt3_params",
        lambda: count_params(GPT3),
        [
            (
                lambda: count_params(GPT3.but(context_length=1024)),
                "You kept GPT-2's 1,024 positions. GPT-3 has 2,048.",
            ),
            (lambda: rule_of_thumb(GPT3), "This is the rule of thumb, 12·L·C². It leaves the embeddings out."),
            (lambda: untied(GPT3), "You count the output head a second time. It is tied to the token embedding."),
            (175_000_000_000, "That is the number that the world rounds to. Here the exact one is asked for."),
            (lambda: count_params(GPT3.but(bias=False)), "The biases are missing."),
            (
                lambda: counted(GPT3, without=["position embedding"]),
                "The position embedding is missing: 2,048 rows of C numbers.",
            ),
        ],
    ),
    question(
        "gpt2_params",
        lambda: count_params(GPT2),
        [
            (
                lambda: untied(GPT2),
                "You count the head twice: here it is tied, one matrix for the token embedding and the head. "
                "sum(p.numel() for p in model.parameters()) counts it once; summing over a state_dict counts it twice.",
            ),
            (
                lambda: GPT2.n_layers * block_params(GPT2.d_model),
                "These are the blocks alone, the “85M”. Embeddings and the last LayerNorm are missing.",
            ),
            (
                117_000_000,
                "That is what the paper prints. Its authors later said that their counts were wrong. The "
                "released model has more.",
            ),
            (
                lambda: count_params(GPT2) - 3 * GPT2.n_layers * GPT2.d_model,
                "Queries, keys and values have no bias in your count. In GPT-2 they have.",
            ),
            (lambda: rule_of_thumb(GPT2), "This is the rule of thumb, 12·L·C². Here it misses nearly a third."),
            (lambda: count_params(GPT2.but(bias=False)), "The biases are missing."),
        ],
    ),
]
