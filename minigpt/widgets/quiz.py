"""Quiz: questions with answers to choose from, each of which says why."""

from dataclasses import asdict

import traitlets

from minigpt.checks import check_choice
from minigpt.marking.quizzes import QUIZZES
from minigpt.widgets.explorer import Explorer, bundle, styles


class Quiz(Explorer):
    """The questions at the end of a chapter.

    Args:
        name: the chapter's idea, a name in `marking.quizzes.QUIZZES`.

    Attributes:
        questions: their texts and answers.

    Raises:
        ValueError: there are no questions of this name.
    """

    _esm = bundle("quiz.js")
    _css = styles("quiz.css")

    questions = traitlets.List(read_only=True).tag(sync=True)

    def __init__(self, name: str):
        quiz = QUIZZES[check_choice("name", name, QUIZZES)]
        super().__init__()
        self.set_trait("questions", [asdict(question) for question in quiz])
        asked = " ".join(question.text for question in quiz)
        self.set_trait("description", f"{len(quiz)} questions with answers to choose from. {asked}")
