"""The exercises of the lessons, one lesson a file. Answers are written with PyTorch; minigpt is the reference."""

import torch

from minigpt.model import GPT


def tensors(value):
    """Make of plain data what a learner's function is called with.

    Lists of floats become float tensors, lists of ints become long tensors; in tuples and dicts, each entry by itself.
    Everything else stays as it is.
    """
    if isinstance(value, tuple):
        return tuple(tensors(each) for each in value)
    if isinstance(value, dict):
        return {name: tensors(each) for name, each in value.items()}
    if isinstance(value, list):
        tensor = torch.tensor(value)
        return tensor.float() if tensor.is_floating_point() else tensor
    return value


def loaded(make, weights):
    """The module that `make` builds, with these weights. PyTorch's random numbers go on as if nothing had been built.

    Args:
        make: a function without arguments that builds a module.
        weights: its state dict.
    """
    with torch.random.fork_rng(devices=[]):
        module = make()
    module.load_state_dict(weights, assign=True)
    return module.eval()


def numbers_for(draw, shapes, low=-1, high=1):
    """Numbers for tensors with names: a dict from each name in `shapes` to lists of its shape."""
    return {name: draw.numbers(*shape, low=low, high=high) for name, shape in shapes.items()}


def loaded_gpt(config, weights):
    """The GPT with these weights; a tied head is not among them."""
    return loaded(lambda: GPT(config), {**weights, "head.weight": weights["token_embedding.weight"]})
