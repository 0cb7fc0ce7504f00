"""Train a GPT: settings, single steps, whole runs. For the command line, see `python -m minigpt.train --help`."""

from minigpt.train.cli import main
from minigpt.train.evaluation import Evaluation, evaluate
from minigpt.train.parallel import Processes
from minigpt.train.run import Trained, train
from minigpt.train.settings import RECIPES, TRAINING_PRECISIONS, TrainConfig, learning_rate
from minigpt.train.trainer import Step, Trainer, adamw

__all__ = [
    "RECIPES",
    "TRAINING_PRECISIONS",
    "Evaluation",
    "Processes",
    "Step",
    "TrainConfig",
    "Trained",
    "Trainer",
    "adamw",
    "evaluate",
    "learning_rate",
    "main",
    "train",
]
