"""ByHand: an exercise in plain Python that the reader solves and has checked in the page."""

import inspect
import json
import re
from importlib.util import find_spec
from pathlib import Path

import traitlets

from minigpt.marking import answer, byhand, verdict
from minigpt.widgets.explorer import Explorer, bundle, styles

#: The modules of Brython's library that learners' code may import, and that the checks import.
LIBRARY = answer.ALLOWED

#: Brython, the Python in the page, as it is to be mended: what stands there once, and what has to stand there.
MENDED = (
    # It looks for its own address, and a worker made of a blob has none.
    ("executable:$B.strip_host($B.brython_path+'brython.js')", "executable:''"),
    # It takes a compiled text apart into objects and together again, and loses the open ends of slices on the way.
    ("$._ast=$B.ast_js_to_py(_ast)\nvar future", "$._ast={$js_ast:_ast}\nvar future"),
    # A power that is too large for a float is an error in CPython, not infinite.
    (
        "return fast_float(Math.pow(x,y))",
        "var power=Math.pow(x,y)\n"
        "if(! isFinite(power)){$B.RAISE(_b_.OverflowError,'Numerical result out of range')}\n"
        "return fast_float(power)",
    ),
)

#: Brython's licence (LICENCE.txt of its repository), which has to come with it; its package lacks the file.
LICENCE = """\
Copyright (c) 2012, Pierre Quentel pierre.quentel@gmail.com
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted provided that the \
following conditions are met:

Redistributions of source code must retain the above copyright notice, this list of conditions and the following \
disclaimer.
Redistributions in binary form must reproduce the above copyright notice, this list of conditions and the following \
disclaimer in the documentation and/or other materials provided with the distribution.
Neither the name of the <ORGANIZATION> nor the names of its contributors may be used to endorse or promote products \
derived from this software without specific prior written permission.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR IMPLIED WARRANTIES, \
INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE \
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, \
SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR \
SERVICES; LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, \
WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE \
OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


class ByHand(Explorer):
    """An exercise in plain Python: the reader writes a function, and the page checks it.

    Python in the page is Brython. The front end asks for it when a reader first has something checked: in a notebook
    the kernel answers, from the package `brython`; on a page without a kernel the site does. The checks are the
    package's own, minigpt/marking: the same lines run in the page.

    Args:
        name: which exercise of minigpt/marking/byhand, such as "softmax".

    Raises:
        ValueError: there is no such exercise.
    """

    _esm = bundle("byhand.js")
    _css = styles("byhand.css")

    name = traitlets.Unicode(read_only=True).tag(sync=True)
    task = traitlets.Unicode(read_only=True).tag(sync=True)
    hints = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    stub = traitlets.Unicode(read_only=True).tag(sync=True)
    solution = traitlets.Unicode(read_only=True).tag(sync=True)

    def __init__(self, name: str):
        exercise = byhand.module(name)
        super().__init__()
        self.set_trait("name", name)
        self.set_trait("task", " ".join(exercise.TASK.split()))
        self.set_trait("hints", exercise.HINTS)
        self.set_trait("stub", byhand.stub(name))
        self.set_trait("solution", byhand.solution(name))
        self.set_trait("description", f"an exercise in Python, {name}, and checks what you write: {self.task}")
        self.on_msg(self._answer)

    def _answer(self, widget, content, buffers) -> None:
        if content.get("ask") != "python":
            return
        try:
            self.send({"python": python_for_the_page()})
        except (ImportError, ValueError) as error:
            self.send({"error": str(error)})


def checks() -> dict[str, str]:
    """The modules that check all exercises, as texts, by their names; those of packages are empty."""
    modules = [verdict, answer, *map(byhand.module, byhand.names())]
    packages = ["minigpt", "minigpt.marking", "minigpt.marking.byhand"]
    return dict.fromkeys(packages, "") | {module.__name__: inspect.getsource(module) for module in modules}


def python_for_the_page() -> str:
    """Brython as one script for a worker, with those modules of its library that are used, and the checks.

    Raises:
        ImportError: the package brython is not installed.
        ValueError: it is of a version that this was not made for.
    """
    package = find_spec("brython")
    if package is None:
        raise ImportError("The Python of the page comes from the package brython: pip install 'brython>=3.15,<3.16'.")
    folder = Path(package.origin).parent / "data"
    python = (folder / "brython.js").read_text(encoding="utf-8")
    for there, wanted in MENDED:
        if python.count(there) != 1:
            raise ValueError(f"brython must be of version 3.15, whose brython.js holds {there!r} once")
        python = python.replace(there, wanted)
    library = (folder / "brython_stdlib.js").read_text(encoding="utf-8")
    scripts = json.loads(re.search(r"scripts = (\{.*\})", library, re.DOTALL)[1])
    used = {name: scripts[name] for name in ("$timestamp", *LIBRARY)}
    used |= {name: [".py", source, [], *([] if source else [1])] for name, source in checks().items()}
    return f"{python}\n;__BRYTHON__.use_VFS = true;\n__BRYTHON__.update_VFS({json.dumps(used)});\n"
