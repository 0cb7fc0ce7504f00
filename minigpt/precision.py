"""The precisions: in which type parameters are kept, and in which type they are multiplied.

minigpt.train and minigpt.memory use the same names for them, with the same meaning.

Source: Micikevicius et al. (2018) for mixed precision.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType

import torch


@dataclass(frozen=True)
class Precision:
    """A precision: two types of numbers.

    Attributes:
        parameters: the type of parameters, gradients, the optimizer's states and the residual stream.
        products: the type of the inputs and the results of matrix products.
    """

    parameters: torch.dtype
    products: torch.dtype

    @property
    def is_mixed(self) -> bool:
        """Whether products have another type than parameters, so that autocast has to convert."""
        return self.parameters != self.products

    def autocast(self, device: str) -> AbstractContextManager:
        """The context to run a model in, on a kind of device such as "cpu"; it converts if the precision is mixed."""
        return torch.autocast(device, self.products, enabled=self.is_mixed)


#: "amp-..." is mixed precision (automatic mixed precision, `torch.autocast`); "bf16" is 16 bits for everything.
PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(torch.float32, torch.float32),
        "amp-bf16": Precision(torch.float32, torch.bfloat16),
        "amp-fp16": Precision(torch.float32, torch.float16),
        "bf16": Precision(torch.bfloat16, torch.bfloat16),
    }
)
