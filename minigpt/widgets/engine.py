"""The common part of the widgets whose front end can run a model: it hands the model over when it is asked for."""

import traitlets
from tokenizers import Tokenizer

from minigpt import pretrained
from minigpt.model import GPT
from minigpt.quantization import page_file
from minigpt.widgets.explorer import Explorer


class Engine(Explorer):
    """A widget with a model that its front end can run: minigpt/browser/worker.js.

    The front end asks for the model's page file when a reader first wants something of it. Here the kernel answers,
    with the weights as they are then. On a page without a kernel the site answers, which has the files of the models
    that come with the package. The weights never become a part of the widget's state, nor of a notebook.

    Attributes:
        runs: whether there is a model to run.
        model_name: the name of the model, if it comes with the package and is as it came; else "".
    """

    runs = traitlets.Bool(False, read_only=True).tag(sync=True)
    model_name = traitlets.Unicode("", read_only=True).tag(sync=True)

    def run_with(self, model: GPT, tokenizer: Tokenizer) -> None:
        """Let the front end run this model."""
        self._model, self._tokenizer = model, tokenizer
        self.set_trait("runs", True)
        self.set_trait("model_name", shipped_name(model, tokenizer))
        self.on_msg(self._answer)

    def _answer(self, widget, content, buffers) -> None:
        if content.get("ask") != "model":
            return
        try:
            file = page_file(self._model, self._tokenizer)
        except ValueError as error:  # weights that are not finite
            self.send({"error": str(error)})
        else:
            self.send({"model": True}, [file])


def shipped_name(model: GPT, tokenizer: Tokenizer) -> str:
    """The name of the model that comes with the package and is the same in the page; "" if none is."""
    for folder in sorted(pretrained.WEIGHTS.iterdir()):
        if (folder / "config.json").is_file() and pretrained.config_in(folder) == model.config:
            shipped = page_file(pretrained.load(folder), pretrained.load_tokenizer(folder))
            if page_file(model, tokenizer) == shipped:
                return folder.name
    return ""
