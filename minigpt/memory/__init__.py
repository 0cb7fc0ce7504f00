"""How many bytes, from the configuration alone: a training step, inference, the shares of many processes.

`memory.measured` holds the predictions against what PyTorch's allocator does.
"""

from minigpt.memory.inference import InferenceMemory, inference_memory, kv_cache_bytes
from minigpt.memory.shares import STRATEGIES, Share, process_shares
from minigpt.memory.step import (
    ATTENTIONS,
    DEVICES,
    OPTIMIZERS,
    STAGES,
    Letters,
    Stage,
    TrainingMemory,
    in_gigabytes,
    max_batch_size,
    training_memory,
)
from minigpt.memory.step_table import STEP
from minigpt.precision import PRECISIONS

__all__ = [
    "ATTENTIONS",
    "DEVICES",
    "OPTIMIZERS",
    "PRECISIONS",
    "STAGES",
    "STEP",
    "STRATEGIES",
    "InferenceMemory",
    "Letters",
    "Share",
    "Stage",
    "TrainingMemory",
    "in_gigabytes",
    "inference_memory",
    "kv_cache_bytes",
    "max_batch_size",
    "process_shares",
    "training_memory",
]
