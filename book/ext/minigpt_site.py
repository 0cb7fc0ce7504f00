"""What the site needs beyond Jupyter Book: one repository setting, chapters that can be left out, widgets that
live without a kernel, MathJax and a social card of its own, and no scripts within its pages."""

import base64
import hashlib
import json
import os
import re
import shutil
from html import escape, unescape
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.errors import ConfigError, ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import docname_join

from minigpt import pretrained
from minigpt.page.answers import without_answers
from minigpt.page.prose import without_bindings
from minigpt.quantization import page_file
from minigpt.widgets.byhand import LICENCE, python_for_the_page

#: Overrides `repository: url:` of _config.yml for one build.
REPOSITORY_VARIABLE = "MINIGPT_REPOSITORY"

#: Whose repository _config.yml names until somebody sets the address.
NOBODY = "your_account"
NO_ADDRESS = (
    "This copy of the course does not know its own address yet, so its chapters have no buttons that open them in "
    "Binder or Colab. Set repository url in _config.yml."
)

#: The part of MathJax that the pages load, of some 24 MB that the package holds.
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2")


#: A script with its attributes and its text; a tag; and an attribute of a tag that is a script.
SCRIPT = re.compile(r"<script([^>]*)>(.*?)</script>", re.DOTALL)
TAG = re.compile(r"<[a-zA-Z][^<>]*>")
HANDLER = re.compile(r"""\son([a-z]+)=("[^"]*"|'[^']*')""", re.IGNORECASE)

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def set_repository(app: Sphinx, config) -> None:
    """Let launch buttons, source links and the site's address follow one repository address."""
    options = config.html_theme_options
    override = os.environ.get(REPOSITORY_VARIABLE)
    url = override or options["repository_url"]
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", url)
    if not match:
        setting = REPOSITORY_VARIABLE if override else "repository url in _config.yml"
        raise ConfigError(f"{setting} must be https://github.com/OWNER/NAME; got {url!r}")
    owner, name = match.groups()
    config.ogp_image = "_static/social-card.png"
    config.ogp_image_alt = "minigpt: the course in which nothing on the page can be false"
    if owner == NOBODY:  # better no button than one that leads nowhere
        options.update(launch_buttons={}, use_repository_button=False)
        return
    options["repository_url"] = f"https://github.com/{owner}/{name}"
    host = f"{owner.lower()}.github.io"
    path = "" if name.lower() == host else f"{name}/"  # OWNER.github.io is published at the root
    config.ogp_site_url = config.html_baseurl = f"https://{host}/{path}"


def say_that_there_is_no_address(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """On the first page, which speaks of the buttons, say why there are none."""
    if pagename == app.config.root_doc and not app.config.html_baseurl:
        context["theme_announcement"] = NO_ADDRESS


class LinksToLeftOutPages(SphinxPostTransform):
    """Links to a page that is there but not in _toc.yml become their own words.

    So a course may leave out any chapter. A link to a page that is nowhere stays what it is, an error.
    """

    default_priority = 8  # before myst-parser (9) and Sphinx (10) look for the pages

    def run(self, **options) -> None:
        for link in list(self.document.findall(pending_xref)):
            if (link["refdomain"], link["reftype"]) not in (("doc", "myst"), ("std", "doc")):
                continue
            name = docname_join(link["refdoc"], link["reftarget"]) if link["reftype"] == "doc" else link["reftarget"]
            files = (Path(self.env.srcdir, name + suffix) for suffix in self.config.source_suffix)
            if name not in self.env.all_docs and any(file.is_file() for file in files):
                words = link[0].deepcopy() if link.astext() else nodes.literal(name, name)
                link.replace_self(nodes.inline("", "", *words.children))


def drop_bindings(app: Sphinx, docname: str, source: list[str]) -> None:
    """Leave out the comments that bind numbers in the text to what computes them (minigpt/page/prose.py); and the
    answers, if _config.yml says so."""
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        source[0] = without_bindings(source[0])
        return
    notebook = json.loads(source[0])
    if not app.config.solutions_shown:
        notebook = without_answers(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = without_bindings("".join(cell["source"]))
    source[0] = json.dumps(notebook)


def check_widgets(app: Sphinx, env, docnames) -> None:
    """Stop before the build if a notebook shows a widget whose state it does not hold: the page would have a hole."""
    for name in docnames:
        path = Path(env.doc2path(name))
        if path.suffix != ".ipynb":
            continue
        notebook = json.loads(path.read_text(encoding="utf-8"))
        stored = notebook["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
        for number, cell in enumerate(notebook["cells"]):
            for output in cell.get("outputs", []):
                view = output.get("data", {}).get(WIDGET_VIEW)
                if view and view["model_id"] not in stored:
                    raise ExtensionError(
                        f"{path.name}: cell {number} shows a widget whose state is not stored in the notebook's "
                        "metadata; tools/chapters.py stores it (make chapters)"
                    )


def give_widgets_a_stand_in(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Where scripts are off, say in a sentence what a widget would show. And let no "<" of a widget's state,
    "<!--" and "<script" in a vocabulary for instance, be read as markup."""
    states = [f for f in context.get("script_files", []) if f.attributes.get("type") == WIDGET_STATE]
    stored = {}
    for file in states:
        stored |= json.loads(file.attributes["body"])["state"]
        file.attributes["body"] = file.attributes["body"].replace("<", "\\u003c")

    def with_stand_in(view):
        description = stored[json.loads(view[1])["model_id"]]["state"].get("description", "something to move")
        sentence = f"Here a widget, which needs JavaScript, shows {description}"
        return f'{view[0]}<noscript><p class="mg-no-script">{escape(sentence)}</p></noscript>'

    if states:
        view = f'<script type="{re.escape(WIDGET_VIEW)}">(.*?)</script>'
        context["body"] = re.sub(view, with_stand_in, context["body"])


def drop_thebe(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Leave out what Jupyter Book adds for a button we don't have: it names a third party, and adds
    its inline script twice, which is an error in the browser."""
    files = context.get("script_files", [])
    context["script_files"] = [f for f in files if "thebe" not in f"{f.filename}{f.attributes.get('body', '')}".lower()]


def write_assets(app: Sphinx, error) -> None:
    """Copy MathJax and draw the social card, once the pages stand."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for part in MATHJAX:
        target = static / "mathjax" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target, dirs_exist_ok=True)
        else:
            shutil.copy(source / part, target)
    draw_social_card(static / "social-card.png")
    write_models(static / "models")
    write_python(static / "python")
    write_handouts([Path(app.env.doc2path(name)) for name in chapters_of(app)], static / "handouts")


def chapters_of(app: Sphinx) -> list[str]:
    """The pages that are chapters, in their order; those that are left out are not among them."""
    return sorted(name for name in app.env.all_docs if re.fullmatch(r"book/\d\d_\w+", name))


def link_handouts(app: Sphinx, pagename, templatename, context, doctree) -> None:
    """Fill the place for them with links to the chapters' copies without answers."""
    place = '<p class="mg-handouts"></p>'
    if place in context.get("body", ""):
        links = " ".join(
            f'<a href="{context["pathto"](f"_static/handouts/{Path(name).name}.ipynb", 1)}" download>'
            f"{escape(Path(name).name)}.ipynb</a>"
            for name in chapters_of(app)
        )
        context["body"] = context["body"].replace(place, f'<p class="mg-handouts">{links}</p>')


def write_handouts(chapters: list[Path], folder: Path) -> None:
    """Write a copy of each chapter to work in: without its answers, and without outputs, which its cells print."""
    folder.mkdir(exist_ok=True)
    for path in chapters:
        notebook = without_answers(json.loads(path.read_text(encoding="utf-8")))
        for stale in ("widgets", "outputs_crc32"):
            notebook["metadata"].pop(stale, None)
        for cell in notebook["cells"]:
            cell["source"] = without_bindings(cell["source"]) if cell["cell_type"] == "markdown" else cell["source"]
            if cell["cell_type"] == "code":
                cell["outputs"], cell["execution_count"] = [], None
        (folder / path.name).write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_models(folder: Path) -> None:
    """Write the models that the pages can run, each twice: to be fetched, and as a script that registers the bytes,
    because from a folder on disk a page can fetch nothing."""
    folder.mkdir(exist_ok=True)
    for weights in sorted(pretrained.WEIGHTS.iterdir()):
        if not (weights / "config.json").is_file():
            continue
        file = page_file(pretrained.load(weights), pretrained.load_tokenizer(weights))
        (folder / f"{weights.name}.bin").write_bytes(file)
        text = base64.b64encode(file).decode()
        register(folder / f"{weights.name}.js", f"models/{weights.name}", text)


def write_python(folder: Path) -> None:
    """Write the Python that checks exercises in the page, and its licence."""
    folder.mkdir(exist_ok=True)
    register(folder / "python.js", "python/python", python_for_the_page())
    (folder / "LICENCE.txt").write_text(LICENCE, encoding="utf-8")


def register(file: Path, name: str, text: str) -> None:
    """Write a script that registers a text under a name, where site_static/widgets.js looks for it."""
    script = f"(globalThis.minigptFiles ??= {{}})[{json.dumps(name)}] = {json.dumps(text)};"
    file.write_text(script, encoding="ascii")


def move_scripts_out(app: Sphinx, error) -> None:
    """Move the scripts that the theme writes into the pages to files beside them, once the pages stand.

    So a server can tell browsers to run no script that is not a file of the site: see README.md. Scripts with the same
    text are one file, named after it. Each runs where it stood, before what follows it is read.
    """
    if error or app.builder.format != "html":
        return
    site = Path(app.outdir)
    files = site / "_static" / "inline"
    files.mkdir(parents=True, exist_ok=True)
    for page in site.rglob("*.html"):
        if "_static" not in page.relative_to(site).parts:
            text = page.read_text(encoding="utf-8")
            moved, sources = without_inline_scripts(text, Path(os.path.relpath(files, page.parent)).as_posix())
            for name, source in sources.items():
                (files / name).write_text(source, encoding="utf-8")
            if moved != text:
                page.write_text(moved, encoding="utf-8")


def without_inline_scripts(page: str, folder: str) -> tuple[str, dict[str, str]]:
    """A page whose scripts, and attributes such as onclick, are in files of the folder; and the files' texts by name.

    >>> without_inline_scripts("<script>f()</script>", "_static")[0]
    '<script src="_static/19c1041342240f32.js"></script>'
    """
    sources = {}

    def tag_of(source: str, attributes: str = "") -> str:
        name = f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.js"
        sources[name] = source
        return f'<script{attributes} src="{folder}/{name}"></script>'

    def script(found: re.Match) -> str:
        attributes, source = found.groups()
        kind = re.search(r"""\btype=["']?([^"'\s]*)""", attributes)
        is_data = kind and kind[1] not in ("", "text/javascript", "application/javascript")
        if is_data or re.search(r"\bsrc=", attributes):
            return found[0]
        return tag_of(source, re.sub(r"\s(async|defer)\b(=\S*)?", "", attributes))  # they count for files only

    listeners = []

    def attribute(found: re.Match) -> str:
        event, code = found[1].lower(), unescape(found[2][1:-1])
        mark = f'data-on{event}="{hashlib.sha256(code.encode()).hexdigest()[:16]}"'
        listeners.append(
            f'addEventListener("{event}", (event) => {{\n'
            f"  const element = event.target.closest?.('[{mark}]');\n"
            f"  if (element && (function () {{ {code} }}).call(element) === false) event.preventDefault();\n"
            "}, true);\n"
        )
        return f" {mark}"

    page = SCRIPT.sub(script, page)
    page = TAG.sub(lambda tag: HANDLER.sub(attribute, tag[0]), page)
    for listener in dict.fromkeys(listeners):
        page = page.replace("</body>", f"{tag_of(listener)}\n</body>", 1)
    return page, sources


def draw_social_card(path: Path) -> None:
    """The picture that a link to the course unfolds to: 1,200 by 630 pixels."""
    with rc_context({"font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(12, 6.3), facecolor="#0b3a5e")
        ax = figure.add_axes((0, 0, 1, 1), xlim=(0, 1200), ylim=(0, 630))
        ax.axis("off")
        steps = 9
        for row in range(steps):
            for column in range(row + 1):
                colour = "#e69f00" if row == column == steps - 1 else "#56b4e9"
                alpha = 1 if row == column else 0.12 + 0.6 * ((row * 7 + column * 5) % 8) / 8
                ax.add_patch(Rectangle((700 + 50 * column, 515 - 50 * row), 44, 44, color=colour, alpha=alpha, lw=0))
        ax.text(70, 400, "minigpt", color="white", fontsize=64, weight="bold")
        ax.text(74, 300, "the course in which nothing\non the page can be false", color="#d9ecf7", fontsize=25)
        ax.text(74, 100, "a GPT, line by line, every number computed", color="#9cc9e4", fontsize=17)
        figure.savefig(path, dpi=100, metadata={"Software": None})


def setup(app: Sphinx) -> dict:
    app.add_config_value("solutions_shown", True, "env", bool)
    app.add_post_transform(LinksToLeftOutPages)
    app.connect("config-inited", set_repository, priority=400)
    app.connect("env-before-read-docs", check_widgets)
    app.connect("source-read", drop_bindings)
    app.connect("html-page-context", say_that_there_is_no_address)
    app.connect("html-page-context", give_widgets_a_stand_in, priority=900)
    app.connect("html-page-context", link_handouts, priority=900)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("build-finished", write_assets)
    app.connect("build-finished", move_scripts_out)
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
