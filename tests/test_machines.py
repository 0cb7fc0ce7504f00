"""Other machines: where PyTorch comes from on them, and whether the chapters print the same there."""

import functools
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import zipfile

import machines
import nbformat
import pytest
import torch_index
from conftest import QuietHandler
from hanging import interrupted


@pytest.fixture
def serve():
    """Serve a folder on this machine, until the test ends."""
    servers = []

    def address(folder) -> str:
        handler = functools.partial(QuietHandler, directory=str(folder))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield address
    for server in servers:
        server.shutdown()


@pytest.fixture
def nobodys(monkeypatch):
    """Linux without a GPU, and nobody's settings for pip."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(torch_index, "has_nvidia", lambda: False)
    return monkeypatch


def put_torch(folder, version):
    """A package index in `folder` whose only package is an empty torch."""
    (folder / "torch").mkdir(parents=True)
    name = f"torch-{version}-py3-none-any.whl"
    with zipfile.ZipFile(folder / "torch" / name, "w") as wheel:
        info = f"torch-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def test_without_an_nvidia_device_pip_takes_the_cpu_build(nobodys, serve, tmp_path):
    pypi, cpu = serve(put_torch(tmp_path / "pypi", "2.13.0")), serve(put_torch(tmp_path / "cpu", "2.13.0+cpu"))
    option, said = torch_index.option(cpu)
    assert option == f"--extra-index-url {cpu}" and said == f"no NVIDIA device: PyTorch comes from {cpu}"
    for options, chosen in (([], "2.13.0"), (option.split(), "2.13.0+cpu")):
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
        report = tmp_path / "report.json"
        command += ["--report", report, "--index-url", pypi, *options, "torch==2.13.0"]
        subprocess.run(command, check=True, capture_output=True)
        assert [one["metadata"]["version"] for one in json.loads(report.read_text())["install"]] == [chosen]


def test_an_index_that_is_of_no_use_costs_seconds(nobodys, serve, tmp_path):
    nobodys.setattr(torch_index, "SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "index.html").write_text("<h1>Please log in to this network</h1>")
        for index, reason in (
            (mute, "timed out|no answer in 1 seconds"),
            (serve(tmp_path), "it lists no torch"),
            ("http://127.0.0.1:1", "refused"),
            ("https://no-such-host.invalid/whl", "not known|resolution|No address|no answer"),
        ):
            with interrupted(30):
                option, said = torch_index.option(index)
            assert option == ""
            assert re.search(rf"^{re.escape(index)} can't be used \(.*({reason}).*\)", said), said


@pytest.mark.parametrize("name", torch_index.SETTINGS)
def test_a_users_own_index_wins(name, nobodys, serve, tmp_path):
    nobodys.setenv(name, "https://example.org/simple")
    assert torch_index.option(serve(put_torch(tmp_path, "2.13.0+cpu"))) == ("", f"PyTorch comes from where {name} says")


def test_with_an_nvidia_device_or_elsewhere_pip_is_left_alone(nobodys, serve, tmp_path):
    index = serve(put_torch(tmp_path, "2.13.0+cpu"))
    nobodys.setattr(torch_index, "has_nvidia", lambda: True)
    assert torch_index.option(index)[0] == ""
    nobodys.setattr(torch_index, "has_nvidia", lambda: False)
    nobodys.setattr(sys, "platform", "darwin")
    assert torch_index.option(index)[0] == ""


@pytest.mark.parametrize("processor", machines.PROCESSORS)
def test_a_processor_is_what_it_is_said_to_be(processor):
    environment = machines.settings(processor, 3)
    if processor != "own" and machines.PROCESSORS["own"][1] not in ("AVX2", "AVX512"):
        pytest.skip("only a processor with AVX2 can do without")
    assert machines.capability(environment) == machines.PROCESSORS[processor][1]
    program = "import warnings; warnings.simplefilter('error'); import numpy, torch; print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


@pytest.mark.long
def test_a_table_says_which_cells_of_a_chapter_differ_on_a_machine(tmp_path, capsys):
    cells = [nbformat.v4.new_code_cell(source, execution_count=1) for source in ("print(1)", "import os", "print(2)")]
    cells.append(nbformat.v4.new_code_cell("print('1' * (os.environ['OMP_NUM_THREADS'] == '4'))", execution_count=1))
    for cell, text in zip(cells, ("1\n", None, "3\n", "1\n"), strict=True):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)] if text else []
    path = tmp_path / "08_next.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    report = tmp_path / "report.md"
    words = [str(path), "--processors", "own", "--threads", "1", "4", "--report", str(report)]
    assert machines.main(words) == 1
    text = report.read_text()
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| own")]
    assert [row[0] for row in rows] == ["own, 1 thread", "own, 4 threads"]
    assert rows[0][1].startswith("2 passed, **2 failed**; ") and rows[1][1].startswith("3 passed, **1 failed**; ")
    assert rows[0][1].endswith("0%")
    assert "08_next, Cell 2: own, 1 thread; own, 4 threads\n" in text and "08_next, Cell 3: own, 1 thread\n" in text
    assert text in capsys.readouterr().out


def test_the_time_limit_is_the_last_one_that_is_given():
    assert machines.time_limit([]) == 2_000
    assert machines.time_limit(["--nbval-cell-timeout=60"]) == 60
