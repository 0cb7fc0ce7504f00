"""The bytes that training needs for every parameter."""

from minigpt.marking.verdict import Case, Exercise

TASK = """How many bytes does training take for the parameters alone, whatever the model reads? For each parameter
there is the number itself and its gradient. The optimizer "adamw" keeps two running means as well, "sgd" keeps none.
All of these are numbers of 32 bits."""

HINTS = [
    "A byte has 8 bits. How many bytes has a number of 32 bits?",
    'With "sgd" there are two numbers for each parameter. With "adamw", how many more?',
    'step_bytes(1, "adamw") is 16, and step_bytes(1, "sgd") is 8.',
]


def step_bytes(n_params, optimizer):
    """Give the bytes of parameters, gradients and the optimizer's means; optimizer is "adamw" or "sgd"."""
    means = 2 if optimizer == "adamw" else 0
    return 4 * n_params * (1 + 1 + means)


def parameters_only(n_params, optimizer):
    """You count the parameters alone: what do their gradients take, and what does the optimizer keep?"""
    return 4 * n_params


def no_gradients(n_params, optimizer):
    """You leave out the gradients: each parameter has one, of the same size."""
    return 4 * n_params * (3 if optimizer == "adamw" else 1)


def one_mean(n_params, optimizer):
    """You count one running mean for AdamW. It keeps two: of the gradients, and of their squares."""
    return 4 * n_params * (3 if optimizer == "adamw" else 2)


def no_means(n_params, optimizer):
    """You leave out what AdamW keeps: two running means for each parameter."""
    return 4 * n_params * 2


def always_adamw(n_params, optimizer):
    """You count two running means for every optimizer. Plain SGD keeps none."""
    return 4 * n_params * 4


def bits(n_params, optimizer):
    """You count bits. A byte has 8 of them, so a number of 32 bits takes 4 bytes."""
    return 32 * n_params * (4 if optimizer == "adamw" else 2)


def numbers(n_params, optimizer):
    """You count numbers, not bytes: each of these numbers takes 4 bytes."""
    return n_params * (4 if optimizer == "adamw" else 2)


def half(n_params, optimizer):
    """You take 2 bytes for a number. A number of 32 bits takes 4; 2 bytes are 16 bits."""
    return 2 * n_params * (4 if optimizer == "adamw" else 2)


def gigabytes(n_params, optimizer):
    """You give gigabytes; the answer is asked for in bytes."""
    return step_bytes(n_params, optimizer) / 1e9


EXERCISE = Exercise(
    step_bytes,
    [
        Case("a single parameter", lambda draw: (1, "adamw")),
        Case("a single parameter and plain SGD", lambda draw: (1, "sgd")),
        Case("some thousand parameters", lambda draw: (draw.whole(1000, 9999), "adamw")),
        Case("some thousand parameters and plain SGD", lambda draw: (draw.whole(1000, 9999), "sgd")),
        Case("the homework's model", lambda draw: (301_771_520, "adamw")),
        Case("seven billion parameters", lambda draw: (7_000_000_000, "adamw")),
    ],
    [parameters_only, no_gradients, one_mean, no_means, always_adamw, bits, numbers, half, gigabytes],
    tolerance=1e-12,  # a parameter's gigabytes are nearly 0
)
