"""The questions at the end of the chapters. Every answer says why it is right or wrong; numbers are computed.

`QUIZZES` has three questions for each chapter, by the name of the chapter's idea.
"""

import math
from dataclasses import dataclass, replace

from minigpt.config import CONFIGS
from minigpt.memory import kv_cache_bytes, training_memory
from minigpt.parameters import attention_params, count_params, params_by_group

_gpt2, _gpt3, _homework, _shipped = (CONFIGS[name] for name in ("gpt2", "gpt3-175b", "homework", "shakespeare"))
_untied = count_params(replace(_gpt2, tie_weights=False))
_head = _gpt2.vocab_size * _gpt2.d_model
_group = params_by_group(_gpt3)
_share = _group["feed-forward"] / count_params(_gpt3)
_step = training_memory(_homework, batch_size=1)
_P = count_params(_homework)
_cache = kv_cache_bytes(_gpt3, length=1, precision="bf16")
_C = _shipped.d_model


@dataclass(frozen=True)
class Answer:
    """One of the answers to choose from.

    Attributes:
        text: what it says.
        why: why it is right or wrong.
        right: whether it is right. Exactly one is.
    """

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A question with answers to choose from. Code in a text stands between backticks."""

    text: str
    answers: tuple[Answer, ...]


def ask(text: str, *answers: Answer) -> Question:
    return Question(text, answers)


def right(text: str, why: str) -> Answer:
    return Answer(text, why, right=True)


def wrong(text: str, why: str) -> Answer:
    return Answer(text, why)


QUIZZES: dict[str, tuple[Question, ...]] = {
    "attention": (
        ask(
            f"An attention layer of width {_gpt2.d_model} has {_gpt2.n_heads} heads. You give it "
            f"{2 * _gpt2.n_heads}, and leave the width. How many parameters does it have then?",
            wrong("Twice as many.", "Each head becomes half as wide: D = C / H. The two changes cancel out."),
            right(
                "As many as before.",
                f"The heads divide the width among themselves. The four matrices stay {_gpt2.d_model} × "
                f"{_gpt2.d_model}, and the layer keeps its {attention_params(_gpt2.d_model):,} parameters.",
            ),
            wrong("Half as many.", "Each head is half as wide, that is true. But there are twice as many of them."),
        ),
        ask(
            "Why does attention divide the scores by √D?",
            wrong("So that the weights add up to 1.", "The softmax sees to that, whatever scores it is given."),
            wrong(
                "Because the scores of D heads are averaged.",
                "D is the width of one head; the number of heads is H. And heads are not averaged.",
            ),
            right(
                "So that wide heads do not begin with all of their weight on one position.",
                "A score is a sum of D products, and such sums spread by about √D. After a softmax, numbers that are "
                "far apart are nearly 0 and 1.",
            ),
        ),
        ask(
            "A causal layer reads five tokens. You replace the third. Which of its five outputs can change?",
            right(
                "The third, the fourth and the fifth.",
                "Each position sees itself and what came before it. So the third token is seen from there on.",
            ),
            wrong("The first, the second and the third.", "That would be a mask that hides the past."),
            wrong("Only the third.", "Then the layer would move nothing from one position to another."),
            wrong("All five.", "The first two positions come before the third token, and the mask hides it from them."),
        ),
    ),
    "gpt": (
        ask(
            "What does a block do with the vectors that come in?",
            wrong(
                "It replaces them by what attention and feed-forward compute.",
                "Then what the embedding said would be lost after the first block.",
            ),
            right(
                "It adds to them what attention and feed-forward compute.",
                "That is the residual stream: each part reads all of it, and adds something.",
            ),
            wrong(
                "It normalises them and hands them on.", "Each part reads a normalised copy. The stream is left alone."
            ),
        ),
        ask(
            "Which part of a GPT moves information from one position to another?",
            right(
                "Attention only.", "All other parts compute every position by itself, with the same weights for all."
            ),
            wrong("Attention and feed-forward.", "Feed-forward sees one position at a time."),
            wrong("LayerNorm.", "It takes the mean over the C numbers of one position, not over positions."),
        ),
        ask(
            "What does the position embedding tell the model?",
            wrong("Which tokens are near each other.", "It knows no tokens: there is one vector for each place."),
            wrong(
                "Nothing that the causal mask does not tell it.",
                "In one layer the mask does not tell the order of what is seen. Only deeper layers can guess at it.",
            ),
            right("At which place a token stands.", "Without it one layer sees a bag of tokens, in no order."),
        ),
    ),
    "parameters": (
        ask(
            f"Somebody counts {_untied:,} parameters for the smallest GPT-2. What happened?",
            wrong("The biases were left out.", "Then the number would be smaller than the right one, not larger."),
            right(
                "The output head was counted as a matrix of its own.",
                f"It is the token embedding, used a second time. {_untied:,} - {_gpt2.vocab_size:,} · "
                f"{_gpt2.d_model} = {_untied - _head:,}.",
            ),
            wrong(
                "It is a larger GPT-2.",
                f"The next larger one has {count_params(CONFIGS['gpt2-medium']):,}, more than twice as many.",
            ),
        ),
        ask(
            "Where are most of the parameters of the largest GPT-3?",
            wrong("In attention.", f"That is 4·C² a block, {_group['attention'] / count_params(_gpt3):.0%} of all."),
            right("In feed-forward.", f"It takes 8·C² a block, twice as much as attention: {_share:.0%} of all."),
            wrong(
                "In the embeddings.",
                f"They are {_group['token embedding'] / count_params(_gpt3):.1%} here. In a narrow model with a large "
                "vocabulary they are most of it.",
            ),
        ),
        ask(
            "You make a GPT twice as wide and keep its depth. How many times as many parameters have its blocks?",
            wrong("2 times.", "Every matrix grows in both directions."),
            right("About 4 times.", "A block has 12·C² + 13·C parameters, and 2² = 4."),
            wrong(
                "About 8 times.", "There are two directions in a matrix, and neither the depth nor anything else grows."
            ),
        ),
    ),
    "memory": (
        ask(
            "In 32 bits, how many bytes a parameter stand in memory for AdamW, however short the text is?",
            wrong("4", "Those are the parameters alone."),
            wrong("8", "Parameters and gradients. AdamW keeps two running means besides."),
            right("16", "4 each for the parameter, its gradient, and AdamW's two running means."),
        ),
        ask(
            "You double the batch. What doubles?",
            wrong("The gradients.", "Those of the sequences are summed: one number for each parameter, as before."),
            wrong("AdamW's running means.", "There are two for each parameter, whatever the batch is."),
            right("What the forward pass keeps for backward.", "It is kept for every sequence of the batch."),
        ),
        ask(
            f"The homework's model has {_P:,} parameters. Somebody says that its training needs 1.2 GB. What is that?",
            right(
                "The parameters alone.",
                f"4 · {_P:,} bytes are {4 * _P / 1e9:.2f} GB. At its fullest, one sequence at a time, the step takes "
                f"{_step.peak_bytes / 1e9:.2f} GB.",
            ),
            wrong(
                "The memory at its fullest.",
                f"That is {_step.peak_bytes / 1e9:.2f} GB, and is reached at the {_step.peak.name}.",
            ),
            wrong(
                "What its KV cache takes.",
                f"Training has none. It would be {kv_cache_bytes(_homework) / 1e9:.2f} GB for a full context.",
            ),
        ),
    ),
    "training": (
        ask(
            "A vocabulary has 512 tokens. What is the loss of a model that knows nothing and says so?",
            wrong("0", "That is the loss of a model that is always sure, and right."),
            wrong("1/512", "That is the probability that it gives to each token. The loss is minus its logarithm."),
            right(f"{math.log(512):.2f} nats", "-ln(1/512) = ln 512. An untrained model should begin near it."),
            wrong("512", "That is the perplexity, e to the power of the loss."),
        ),
        ask(
            "Two models have different tokenizers. Why can't their losses a token be compared?",
            wrong(
                "The one with the larger vocabulary is always better.", "It has more to choose from, so it is harder."
            ),
            right(
                "Their tokens are of different length.",
                "A long token says more, and costs more to guess. Bits per byte divide by something that both share.",
            ),
            wrong("Loss can never be compared.", "It can, on the same text with the same tokens."),
        ),
        ask(
            "The loss on the text that is trained on falls, and that on held-out text rises. What happens?",
            wrong("The learning rate is too high.", "Then both losses would leap or stay up."),
            wrong("The model is too small for the text.", "A small model would stop falling on both."),
            right(
                "The model learns its text by heart.",
                "What it learns now is true of this text and of no other. This is why some text is held out.",
            ),
        ),
    ),
    "sampling": (
        ask(
            "What does temperature 0 do?",
            wrong("It divides by 0.", "Nothing can be divided by 0. It is a limit: code has to treat it by itself."),
            right(
                "It takes the likeliest token.",
                "The smaller the temperature, the more the likeliest one gets: at last all.",
            ),
            wrong("It makes all tokens equally likely.", "That is what a very high temperature comes near to."),
        ),
        ask(
            "Four tokens have the probabilities 0.5, 0.3, 0.15 and 0.05. How many does top-p = 0.6 keep?",
            wrong("One.", "0.5 does not reach 0.6. The token that crosses the line belongs to the set."),
            right("Two.", "0.5 + 0.3 = 0.8 is the first sum that reaches 0.6."),
            wrong("Three.", "The first two reach 0.6 already."),
            wrong("The 60 % most likely of all tokens.", "Top-p is a sum of probabilities, not a share of the tokens."),
        ),
        ask(
            "The limit of new tokens is 16. What does it do to the answer?",
            wrong("The model plans a shorter answer.", "The model never learns of the limit."),
            wrong("The answer has 16 words.", "Tokens are not words: in English there are fewer words than tokens."),
            right("It is cut off after 16 tokens.", "In the middle of a sentence, or of a word, if it so happens."),
        ),
    ),
    "gpt2": (
        ask(
            "Our model and GPT-2 continue the same prompt with the same three words. What does that show?",
            wrong("That they have learned the same.", "How often does each of them begin so, after any other prompt?"),
            wrong("That the prompt decides the answer.", "One prompt cannot show that. Try many, and count."),
            right(
                "Nothing yet.",
                "It is one case. First count how often each begins so anyway. Two that always do agree for no reason.",
            ),
        ),
        ask(
            "After *the keys of the cabinet* a model finds *is* likelier than *are*. Which word does that fit?",
            right(
                "The nearest noun.",
                "*cabinet* is one. The noun that counts stands further back. One case proves no rule: swap the nouns, "
                "and see whether the verb changes with the nearest.",
            ),
            wrong("The subject.", "The subject is *keys*, which are many."),
            wrong("The first word.", "*The* goes with *is* as well as with *are*: it says nothing of the verb."),
        ),
        ask(
            "Kaplan et al. found that the loss goes with the number of parameters to the power -0.076. With ten times "
            f"as many it is {10**-0.076:.2f} times what it was. And with a hundred times as many?",
            wrong(
                f"{1 - 2 * (1 - 10**-0.076):.2f} times.", "That takes the same amount off twice. A power multiplies."
            ),
            right(
                f"{100**-0.076:.2f} times.", f"{10**-0.076:.2f} · {10**-0.076:.2f}: each tenfold multiplies once more."
            ),
            wrong(f"{10**-0.76:.2f} times.", "For that it takes 10¹⁰ times as many."),
        ),
    ),
    "playground": (
        ask(
            "Same prompt and seed, another temperature. Is the text the same?",
            wrong("Yes, the seed decides.", "The seed decides the random numbers. What they choose from has changed."),
            right(
                "Perhaps at first.",
                "The random numbers are the same, but the slices that they fall into are wider or narrower.",
            ),
            wrong(
                "No, everything is random.", "With the same seed and the same knobs it would be the same, everywhere."
            ),
        ),
        ask(
            f"How many bytes does the page's file take for a matrix of {_C} × {_C}?",
            wrong(f"{4 * _C * _C:,}", "That is in 32 bits."),
            wrong(f"{_C * _C:,}", "Each row needs its factor, too."),
            right(
                f"{_C * _C + 4 * _C:,}", f"A byte for each number, and a factor of 4 bytes for each of the {_C} rows."
            ),
        ),
        ask(
            "Why is the text read again when the context is full?",
            right(
                "Every token moves by one place.",
                "The places are learned vectors, and a part of every key and value. So nothing in the cache is right.",
            ),
            wrong("The cache has no room.", "Room could be made. What stands in it would be wrong."),
            wrong(
                "The model has forgotten it.", "A model keeps nothing: all that it knows of the text is in the cache."
            ),
        ),
    ),
}
