"""The built site, as files and in a browser: nothing from outside, nothing broken, for everyone to read."""

import io
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from conftest import POLICY, REPOSITORY, ROOT, served
from PIL import Image
from sphinx.errors import ConfigError
from watched import Watched

CHAPTERS = (
    *("book/01_attention", "book/02_gpt", "book/03_parameters"),
    *("book/04_memory", "book/05_training", "book/06_sampling", "book/07_gpt2"),
    "book/08_playground",
)
LESSONS = tuple(
    f"lessons/{name}" for name in ("01_attention", "02_gpt", "03_counting", "04_memory", "05_training", "06_sampling")
)
TEXTS = ("lessons/teachers", "book/glossary", "lessons/homework", "book/bibliography")
PAGES = ("book/index", *CHAPTERS, *LESSONS, *TEXTS, "search", "genindex")
pages = pytest.mark.parametrize("page", PAGES)


#: What scrolls sideways, or would, and is wider than its place.
CUT = """boxes => [...document.querySelectorAll(boxes ?? "pre, div.math, .bd-article table, .mg-table")].filter(
    box => box.checkVisibility({contentVisibilityAuto: true}) && getComputedStyle(box).overflowX !== "visible"
        && box.clientWidth && box.scrollWidth > box.clientWidth + 1).map(box => box.innerText.slice(0, 60))"""
FOLDED = """() => [...document.querySelectorAll("details")].filter(fold => ![...fold.children].every(
    part => part.checkVisibility({contentVisibilityAuto: true}))).map(fold => fold.textContent.slice(0, 60))"""
UNPRINTED = """() => [...document.querySelectorAll(".mgw *")].filter(part => {
    const {backgroundColor, backgroundImage, printColorAdjust} = getComputedStyle(part);
    const bare = backgroundImage === "none" && /, 0\\)$|transparent/.test(backgroundColor);
    return !bare && printColorAdjust !== "exact"}).map(part => part.className)"""


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def html(site):
    """Every page of the site, parsed."""
    return {
        path.relative_to(site).as_posix(): soup(path) for path in site.rglob("*.html") if "_static" not in path.parts
    }


def test_these_are_all_pages(html):
    assert {f"{page}.html" for page in PAGES} | {"index.html"} == set(html)


def broken_links(pages, site):
    """Links of the pages, and files they load, that lead nowhere within the site."""
    broken = []
    ids = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in pages.items()}
    for name, page in pages.items():
        for tag in page.find_all(["a", "link", "script", "img"]):
            address = tag.get("href") or tag.get("src")
            parts = urlsplit(address or "")
            if not address or parts.scheme or parts.netloc:
                continue
            path, anchor = unquote(parts.path), unquote(parts.fragment)
            target = ((site / name).parent / path if path else site / name).resolve()
            page = target.relative_to(site.resolve()).as_posix() if target.is_relative_to(site.resolve()) else ""
            if not target.is_file() or (anchor and page in ids and anchor not in ids[page]):
                broken.append((name, address))
    return broken


def test_no_link_or_anchor_is_broken(html, site):
    assert broken_links(html, site) == []


def test_a_broken_link_and_a_broken_anchor_are_found(html, site):
    page = '<a href="02_gpt.html#nowhere">x</a><a href="gone.html">y</a><a href="#here">z</a><p id="here">'
    planted = {**html, "book/index.html": BeautifulSoup(page, "html.parser")}
    assert {"02_gpt.html#nowhere", "gone.html"} == {a for n, a in broken_links(planted, site) if n == "book/index.html"}


@pytest.mark.parametrize("page", [*CHAPTERS, *LESSONS])
def test_launch_buttons_follow_the_one_setting(page, html):
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    links = {tag["href"] for tag in html[f"{page}.html"].select("a.dropdown-item[href], a.btn[href]")}
    assert f"https://colab.research.google.com/github/{owner_and_name}/blob/main/{page}.ipynb" in links
    assert f"https://mybinder.org/v2/gh/{owner_and_name}/main?urlpath=lab/tree/{page}.ipynb" in links
    assert REPOSITORY in links
    assert not any("your_account" in link for link in links)


def test_without_an_override_the_setting_of_the_config_counts(monkeypatch):
    """The extension alone: what it makes of _config.yml's address, of an override and of wrong ones."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "ext"))
    import minigpt_site

    def addresses(setting, override=""):
        monkeypatch.setenv("MINIGPT_REPOSITORY", override)
        config = SimpleNamespace(html_theme_options={"repository_url": setting})
        minigpt_site.set_repository(None, config)
        return config.html_theme_options["repository_url"], config.html_baseurl

    assert addresses("https://github.com/A-b/c.git") == ("https://github.com/A-b/c", "https://a-b.github.io/c/")
    assert addresses("https://github.com/a/b", "https://github.com/c/d/")[0] == "https://github.com/c/d"
    assert addresses("https://github.com/ann/ann.github.io")[1] == "https://ann.github.io/"
    with pytest.raises(ConfigError, match="MINIGPT_REPOSITORY must be https://github.com/OWNER/NAME; got 'a/b'"):
        addresses("https://github.com/a/b", "a/b")
    with pytest.raises(ConfigError, match="repository url in _config.yml must be .*; got 'git@github.com:a/b.git'"):
        addresses("git@github.com:a/b.git")


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def test_binder_gets_the_versions_that_were_tested():
    tested, binder = pins("requirements.txt") | pins("tests/requirements.txt"), pins(".binder/requirements.txt")
    assert {name: version for name, version in binder.items() if tested.get(name, version) != version} == {}
    assert set(binder) - set(tested) == {"jupyterlab-myst"}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {requirement.partition(">=")[0] for requirement in needed} <= set(binder)


def test_no_blank_is_left_to_fill_in():
    for name in ("README.md", "CONTRIBUTING.md", "lessons/homework.md", "book/glossary.md"):
        assert not re.search(r"@[A-Z_]{3,}@|TODO|FIXME|XXX", (ROOT / name).read_text(encoding="utf-8")), name


@pytest.mark.parametrize("page", [*CHAPTERS, *LESSONS])
def test_a_chapter_can_be_downloaded_as_a_notebook_that_holds_its_outputs(page, html, site):
    links = [tag["href"] for tag in html[f"{page}.html"].select("a[href$='.ipynb']") if "_sources" in tag["href"]]
    assert links
    notebook = json.loads((site / f"{page}.html").parent.joinpath(links[0]).read_text(encoding="utf-8"))
    assert notebook == json.loads((ROOT / f"{page}.ipynb").read_text(encoding="utf-8"))


@pages
def test_a_page_has_a_description_a_card_and_an_icon(page, html, site):
    head = html[f"{page}.html"].head
    assert head.find("link", rel="icon") and head.title.text.strip()
    if page not in ("search", "genindex"):
        card = head.find("meta", property="og:image")["content"]
        assert card == "https://some-teacher.github.io/gpt-course/_static/social-card.png"
        assert len(head.find("meta", property="og:description")["content"]) > 40
    assert (site / "_static" / "social-card.png").stat().st_size > 5_000


def test_the_setup_cell_is_not_shown_and_no_directive_is_left_unread(html):
    for name in (*CHAPTERS, *LESSONS):
        text = html[f"{name}.html"].get_text()
        assert "google.colab" not in text
        assert not re.search(r":::|\{cite|\{admonition|\{code-cell", text)


@pages
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_a_page_is_whole_fits_and_is_accessible(page, scheme, width, browser, address):
    with Watched(browser, address, width, scheme) as watched:
        shown = watched.open(page)
        assert shown.locator("html").get_attribute("data-theme") == scheme
        assert watched.wrong == []
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        results = Axe().run(shown)
        assert results.violations_count == 0, results.generate_report()


@pages
def test_a_page_fits_every_width(page, browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open(page)
        for width in (320, 414, 768, 992, 1100, 1199, 1200, 1440, 1920):
            shown.set_viewport_size({"width": width, "height": 800})
            assert shown.evaluate("document.documentElement.scrollWidth") <= width, width
            if width >= 1200:
                assert shown.evaluate(CUT, ".mg-table, .bd-article table") == [], width


@pages
def test_a_page_works_from_a_file(page, browser, site):
    with Watched(browser, f"file://{site}") as watched:
        watched.open(page)
        assert watched.wrong == []


def test_scripts_are_files_of_the_site(html):
    """Inline are data only. So the theme is chosen where it was: before anything is drawn."""
    for name, page in html.items():
        inline = page.find_all("script", src=False)
        assert all(re.search("json|thebe-config", tag.get("type", "")) for tag in inline), name
        events = [(tag.name, key) for tag in page.find_all(True) for key in tag.attrs if key.startswith("on")]
        assert events == [] and not page.select("[href^='javascript:'], [src^='javascript:']"), name
    names = {name: re.findall(r"/inline/(\w+)\.js", str(page)) for name, page in html.items()}
    first = {found[0] for found in names.values() if found}
    assert len(first) == 1 and len({file for found in names.values() for file in found}) < len(html) + 15
    head = [
        tag for tag in html["book/index.html"].head.find_all(["script", "link"]) if tag.get("src") or tag.get("rel")
    ]
    before = head[: next(n for n, tag in enumerate(head) if min(first) in tag.get("src", ""))]
    assert not any("stylesheet" in tag.get("rel", []) for tag in before)


def test_inline_scripts_are_moved_and_nothing_else_is(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book" / "ext"))
    from minigpt_site import without_inline_scripts

    kept = (
        '<script type="application/json">{"onclick=\\"f()\\"": 1}</script><script src="a.js" defer></script>'
        '<p>an onclick="x" in words</p>'
    )
    page = f'<body>{kept}<script async data-x="1">\n f(1 < 2)\n</script><script>\n f(1 < 2)\n</script>'
    page += '<a href="#" onclick="g(&quot;a&quot;)">b</a><b\nonClick=\'h()\' id=c></b></body>'
    moved, sources = without_inline_scripts(page, "../_static/inline")
    assert kept in moved and 'data-x="1" src="../_static/inline/' in moved and "async" not in moved
    assert not re.search(r"<[^<>]*\son\w+=", moved, re.IGNORECASE)
    assert len(sources) == 3 and set(re.findall(r"inline/(\w+\.js)", moved)) == set(sources)
    texts = "".join(sources.values())
    assert texts.count("f(1 < 2)") == 1 and 'g("a")' in texts and "h()" in texts
    assert without_inline_scripts(moved, "../_static/inline") == (moved, {})


def test_the_watching_sees_what_it_is_there_to_see(browser, site, address, tmp_path):
    (site / "planted.html").write_text(
        '<!doctype html><html><head><title>x</title></head><body><img src="gone.png">'
        '<script>console.error("planted"); fetch("http://127.0.0.1:9/away").catch(() => 0)</script>'
        '<div style="width:2000px">wide</div></body></html>'
    )
    try:
        with Watched(browser, address, 360) as watched:
            shown = watched.open("planted")
            wrong = "\n".join(watched.wrong)
            assert "console: planted" in wrong and "404: " in wrong and "outside: http://127.0.0.1:9/away" in wrong
            assert shown.evaluate("document.documentElement.scrollWidth") > 360
            rules = {violation["id"] for violation in Axe().run(shown).response["violations"]}
            assert {"image-alt", "html-has-lang"} <= rules
    finally:
        (site / "planted.html").unlink()


def test_formulas_are_typeset_with_the_sites_own_fonts(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open("book/03_parameters")
        assert shown.locator("mjx-container").count() > 20
        fonts = shown.evaluate(
            "performance.getEntriesByType('resource').map(e => e.name).filter(n => n.endsWith('.woff'))"
        )
        assert fonts and all(font.startswith(f"{address}/_static/mathjax/") for font in fonts)


@pytest.mark.parametrize("width, columns", [(1440, 2), (360, 1)])
def test_annotated_source_stands_beside_its_notes_or_under_them(width, columns, browser, address):
    with Watched(browser, address, width) as watched:
        section = watched.open("book/01_attention").locator("#MultiHeadAttention-forward-step-2")
        note, code = section.locator(".mg-note").bounding_box(), section.locator(".mg-code").bounding_box()
        beside = code["x"] >= note["x"] + note["width"]
        assert beside == (columns == 2)
        assert beside or code["y"] >= note["y"] + note["height"] - 1


def test_without_comments_can_be_switched_by_keyboard(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open("book/01_attention")
        switch = shown.get_by_label("without comments")
        full, bare = shown.locator(".mg-full"), shown.locator(".mg-bare")
        assert full.is_visible() and not bare.is_visible()
        switch.focus()
        shown.keyboard.press("Space")
        assert bare.is_visible() and not full.is_visible()
        assert "#" not in bare.inner_text()


def test_a_step_can_be_linked_to(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open("book/01_attention")
        shown.get_by_role("link", name="step 4").first.click()
        shown.wait_for_timeout(300)
        box = shown.locator("#MultiHeadAttention-forward-step-4").bounding_box()
        assert 0 <= box["y"] < 400


def test_answers_are_folded_until_asked_for(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open("book/01_attention")
        answer = shown.locator("details", has_text="The 20 is a distraction").first
        text = answer.get_by_text("The 20 is a distraction")
        assert not text.is_visible()
        answer.locator("summary").click()
        assert text.is_visible()


def test_search_finds(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.page
        shown.goto(f"{address}/search.html?q=causal")
        shown.wait_for_selector("#search-results li a")
        assert any("01_attention" in a.get_attribute("href") for a in shown.locator("#search-results li a").all())
        assert watched.wrong == []


def test_the_theme_can_be_changed_and_figures_follow(browser, address):
    with Watched(browser, address) as watched:
        shown = watched.open("book/03_parameters")
        ink = "getComputedStyle(document.querySelector('.mg-picture svg')).color"
        light = shown.evaluate(ink)
        for _ in range(3):
            shown.locator("button.theme-switch-button:visible").first.click()
            if shown.locator("html").get_attribute("data-theme") == "dark":
                break
        assert shown.locator("html").get_attribute("data-theme") == "dark"
        assert shown.evaluate(ink) != light


def test_without_scripts_the_text_the_figures_and_the_source_are_there(browser, address):
    with Watched(browser, address, java_script_enabled=False) as watched:
        watched.page.goto(f"{address}/book/01_attention.html")
        assert watched.page.locator(".mg-picture svg").count() >= 3
        assert watched.page.locator("#MultiHeadAttention-forward-step-4").is_visible()


@pages
def test_on_paper_nothing_is_cut_folded_or_blank(page, browser, address):
    with Watched(browser, address, 700) as watched:
        shown = watched.open(page)
        if page in CHAPTERS:  # the probes see what they are there to see
            assert shown.evaluate(CUT) and shown.evaluate(FOLDED)
        shown.emulate_media(media="print")
        assert shown.evaluate(CUT) == []
        assert shown.evaluate(FOLDED) == []
        assert shown.evaluate(UNPRINTED) == []


def test_a_dark_page_is_printed_in_light_colours(browser, address):
    with Watched(browser, address, scheme="dark") as watched:
        shown = watched.open("book/glossary")
        ink = "getComputedStyle(document.querySelector('article p')).color"
        dark = shown.evaluate(ink)
        shown.evaluate(f"addEventListener('beforeprint', () => {{ window.printed = {ink}; }})")
        shown.pdf()
        printed = [int(part) for part in re.findall(r"\d+", shown.evaluate("window.printed"))]
        assert len(printed) == 3 and max(printed) < 80
        assert shown.evaluate(ink) == dark and shown.locator("html").get_attribute("data-theme") == "dark"


#: Figures and cells of tables whose words have the colour of the page.
CANNOT_BE_READ = """canvas => [...document.querySelectorAll(".mg-picture svg, .mg-table td, .mgw td, .mgw th")]
    .filter(word => getComputedStyle(word).color === canvas).map(word => word.textContent)"""
WITH_WIDGETS = ("book/01_attention", "book/03_parameters", "book/04_memory", "book/06_sampling")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", WITH_WIDGETS)
def test_in_forced_colours_bars_can_be_told_from_the_page(page, scheme, browser, address):
    with Watched(browser, address, scheme=scheme, forced_colors="active") as watched:
        shown = watched.open(page)
        canvas = shown.evaluate("getComputedStyle(document.body).backgroundColor")
        assert canvas == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(0, 0, 0)")
        bars = shown.evaluate(
            """[...document.querySelectorAll(".mgw :is(.mgw-bar, .mgw-stack > *, .mgw-swatch, .mgw-chip)")].map(bar => {
                const {backgroundColor, backgroundImage, borderStyle} = getComputedStyle(bar);
                return backgroundImage === "none" && borderStyle === "none" ? backgroundColor : "drawn";
            })"""
        )
        assert bars and not {canvas, "rgba(0, 0, 0, 0)", "rgba(255, 255, 255, 0)"} & set(bars)
        for pressed in shown.locator('.mgw [aria-pressed="true"]').all():
            assert pressed.evaluate("button => getComputedStyle(button).outlineStyle") == "solid"
        assert shown.evaluate(CANNOT_BE_READ, canvas) == []


@pytest.fixture(scope="module")
def strict_address(site):
    """Where the site is served with the policy that README recommends."""
    with served(site, POLICY) as address:
        yield address


@pages
def test_a_page_works_under_the_policy_of_the_readme(page, browser, strict_address):
    with Watched(browser, strict_address, scheme="dark") as watched:
        shown = watched.open(page)
        assert shown.locator("html").get_attribute("data-theme") == "dark"
        if page in WITH_WIDGETS:
            moved = shown.locator(".mgw:has(input[type=range], .mgw-map)").first
            before = moved.inner_text()
            control = moved.locator('input[type="range"], .mgw-map').first
            control.focus()
            shown.keyboard.press("ArrowRight")
            shown.wait_for_function("([box, text]) => box.innerText !== text", arg=[moved.element_handle(), before])
        if page in CHAPTERS:
            shown.evaluate("() => { window.print = () => { window.printed = true; }; }")
            shown.locator(".btn-download-pdf-button").first.dispatch_event("click")
            assert shown.evaluate("window.printed")
            shown.locator(".btn-fullscreen-button").first.click()
            shown.wait_for_function("document.fullscreenElement !== null")
        if page == "search":
            shown.goto(f"{strict_address}/search.html?q=causal")
            shown.wait_for_selector("#search-results li a")
        assert watched.wrong == []


def test_a_script_within_a_page_does_not_run_under_the_policy_of_the_readme(browser, site, strict_address):
    (site / "planted.html").write_text("<!doctype html><title>x</title><script>document.title = 'it ran'</script>")
    try:
        with Watched(browser, strict_address) as watched:
            assert watched.open("planted").title() == "x" and "Content Security Policy" in watched.wrong[0]
    finally:
        (site / "planted.html").unlink()


def test_a_policy_that_forbids_too_much_is_noticed(browser, site):
    with served(site, "default-src 'self'") as address, Watched(browser, address) as watched:
        watched.page.goto(f"{address}/book/index.html")
        watched.page.wait_for_load_state("networkidle")
        assert any("Content Security Policy" in line for line in watched.wrong)


def shaded(table, canvas: int) -> float:
    """The share of the pixels near a table's right edge that haven't the page's colour, a grey from 0 to 255."""
    picture = Image.open(io.BytesIO(table.screenshot())).convert("L")
    edge = [picture.getpixel((picture.width - 4, y)) for y in range(picture.height)]
    return sum(abs(pixel - canvas) > 30 for pixel in edge) / len(edge)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("forced", ["none", "active"])
@pytest.mark.parametrize("page, selector", [("book/03_parameters", ".mg-table"), ("book/glossary", "article table")])
def test_on_a_phone_a_table_that_goes_on_says_so_at_its_edge(page, selector, scheme, forced, browser, address):
    with Watched(browser, address, 360, scheme, forced_colors=forced) as watched:
        shown = watched.open(page)
        canvas = shown.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
        tables = [t for t in shown.locator(selector).all() if t.evaluate("t => t.scrollWidth > t.clientWidth + 30")]
        assert tables
        for table in tables:
            assert shaded(table, canvas) > 0.15
            table.evaluate("t => { t.scrollLeft = t.scrollWidth; }")
            assert shaded(table, canvas) < 0.06


@pytest.mark.parametrize("width", [320, 360, 700, 1280])
def test_no_word_of_a_widget_is_broken(width, browser, address):
    with Watched(browser, address, width) as watched:
        shown = watched.open("book/01_attention")
        labels = ".mgw-maps > span, .mgw-share, .mgw-chip .mgw-code"
        broken = """labels => [...document.querySelectorAll(labels)].filter(label => {
            const text = label.firstChild;
            return text && [...text.data.matchAll(/[^ ]+/g)].some(word => {
                const range = document.createRange();
                range.setStart(text, word.index);
                range.setEnd(text, word.index + word[0].length);
                return range.getClientRects().length > 1;
            });
        }).map(label => label.innerText)"""
        assert shown.locator(".mgw-maps > span").count() > 10
        assert shown.evaluate(broken, labels) == []


def test_in_the_dark_faint_weights_are_lifted(browser, address):
    for scheme, lifted in (("light", False), ("dark", True)):
        with Watched(browser, address, scheme=scheme) as watched:
            shown = watched.open("book/01_attention")
            for selector in ('.mg-picture path[style*="fill-opacity: 0.1"]', ".mgw-map canvas"):
                filters = shown.locator(selector).evaluate_all("all => all.map(e => getComputedStyle(e).filter)")
                assert filters and all(("drop-shadow" in f) == lifted for f in filters), selector
