"""minigpt: a GPT to read. The package behind a course in which every number is computed."""

from minigpt.attention import KVCache, MultiHeadAttention
from minigpt.config import CONFIGS, GPTConfig
from minigpt.model import GPT, Block, FeedForward

__version__ = "0.1.0"
__all__ = ["CONFIGS", "GPT", "Block", "FeedForward", "GPTConfig", "KVCache", "MultiHeadAttention"]
