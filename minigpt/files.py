"""Files that are written all together or not at all, whatever happens meanwhile."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError


def write_files(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write files of one folder: each under another name first, and moved to its place when all are on disk.

    Args:
        writers: for each file what writes it, given the path to write to. The order is that in
            which they are moved.

    Raises:
        OSError: one can't be written, because the disk is full or the folder forbids it. What was
            there before is still there.
    """
    partial = {path: path.with_name(f"{path.name}.partial") for path in writers}
    path = None
    try:
        for path, write in writers.items():
            write(partial[path])
            with partial[path].open("rb+") as file:
                os.fsync(file.fileno())
        for path in writers:
            partial[path].replace(path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{path} could not be written: {error}; what was there before is untouched") from error
    finally:
        for leftover in partial.values():
            leftover.unlink(missing_ok=True)
