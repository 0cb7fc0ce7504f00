"""Print an option for pip that says where else to look for PyTorch, or nothing if pip's own indexes are right.

    pip install $(python tools/torch_index.py) torch==2.13.0

For Linux, PyPI has PyTorch only with several gigabytes of CUDA libraries. A machine without an NVIDIA device doesn't
need them; PyTorch's own index of CPU builds doesn't have them. The decision and its reason are printed to stderr.
If PIP_INDEX_URL, PIP_EXTRA_INDEX_URL or PIP_NO_INDEX is set in the environment, no option is printed.
"""

import os
import shutil
import ssl
import sys
import threading
import urllib.request
from pathlib import Path

INDEX = "https://download.pytorch.org/whl/cpu"
SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")
#: The time in which the index must answer, including the look-up of its name. pip itself would try for minutes.
SECONDS = 5


def has_nvidia() -> bool:
    """Whether this machine has an NVIDIA device that its driver shows."""
    return bool(list(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi"))


def why_not(index: str, seconds: float) -> str | None:
    """The reason why an index can't be used for PyTorch; None if it can be used.

    Args:
        index: the address of a package index, as for pip's --index-url.
        seconds: how long to wait for its first answer.
    """
    answers: list[str | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=seconds, context=certificates()) as page:
                answers.append(None if b"torch-" in page.read(1 << 16) else "it lists no torch")
        except (OSError, ValueError) as error:
            answers.append(str(error))

    asking = threading.Thread(target=ask, daemon=True)  # a name that can't be looked up has no timeout of its own
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"no answer in {seconds:g} seconds"


def certificates() -> ssl.SSLContext:
    """The system's certificates and, for systems without any, those that come with pip."""
    context = ssl.create_default_context()
    try:
        from pip._vendor import certifi

        context.load_verify_locations(os.environ.get("PIP_CERT") or certifi.where())
    except (ImportError, OSError):
        pass
    return context


def option(index: str = INDEX) -> tuple[str, str]:
    """The option for pip ("" for none), and a message for the user."""
    mine = [name for name in SETTINGS if os.environ.get(name)]
    if not sys.platform.startswith("linux"):
        return "", "PyTorch comes from pip's own indexes"
    if mine:
        return "", f"PyTorch comes from where {mine[0]} says"
    if has_nvidia():
        return "", "an NVIDIA device: PyTorch comes with CUDA"
    if reason := why_not(index, SECONDS):
        return (
            "",
            f"{index} can't be used ({reason}): PyTorch comes from pip's own indexes. PyPI's brings gigabytes of CUDA",
        )
    return f"--extra-index-url {index}", f"no NVIDIA device: PyTorch comes from {index}"


if __name__ == "__main__":
    for_pip, for_user = option(*sys.argv[1:])
    print(for_user, file=sys.stderr)
    print(for_pip)
