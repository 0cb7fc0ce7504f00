"""The questions at the end of the chapters."""

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from test_site import CHAPTERS
from watched import Watched

from minigpt.marking.quizzes import QUIZZES
from minigpt.widgets import Quiz


@pytest.mark.parametrize("name", QUIZZES)
def test_a_question_has_one_right_answer_and_each_says_why(name):
    for question in QUIZZES[name]:
        assert sum(answer.right for answer in question.answers) == 1, question.text
        assert len({answer.text for answer in question.answers}) == len(question.answers) >= 3
        assert len({answer.why for answer in question.answers}) == len(question.answers)
        assert question.text[-1] == "?" and all(answer.why[-1] in ".?" for answer in question.answers)


def test_the_right_answer_is_not_always_at_the_same_place():
    places = [[a.right for a in question.answers].index(True) for quiz in QUIZZES.values() for question in quiz]
    assert all(places.count(place) >= len(places) / 5 for place in range(3))


def test_every_chapter_asks_its_own_questions():
    asked = []
    for chapter in CHAPTERS:
        cells = nbformat.read(ROOT / f"{chapter}.ipynb", as_version=4).cells
        asked += [name for name in QUIZZES for cell in cells if cell.source == f'Quiz("{name}")']
    assert asked == list(QUIZZES)


def test_questions_that_there_are_not_are_named():
    with pytest.raises(ValueError, match="name must be one of attention, .*; got 'alchemy'"):
        Quiz("alchemy")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_reader_answers_with_the_keyboard(scheme, browser, address):
    question = QUIZZES["attention"][0]
    right = [answer.right for answer in question.answers].index(True)
    with Watched(browser, address, width=360, scheme=scheme) as watched:
        page = watched.open("book/01_attention")
        quiz = page.locator(".mgw-quiz")
        status = quiz.locator("fieldset").first.get_by_role("status")
        check = quiz.get_by_role("button", name="Check question 1")
        check.focus()
        page.keyboard.press("Enter")
        assert status.inner_text() == "Choose an answer first."
        quiz.get_by_role("radio").first.focus()
        page.keyboard.press("Space")
        check.press("Enter")
        assert question.answers[0].why in status.inner_text() and "0 of 3 right" in quiz.inner_text()
        quiz.get_by_role("radio").first.focus()
        for _ in range(right):
            page.keyboard.press("ArrowDown")
        assert status.inner_text() == ""
        check.press("Enter")
        assert question.answers[right].why in status.inner_text() and "Right." in status.inner_text()
        assert "1 of 3 right" in quiz.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert watched.wrong == []
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()
