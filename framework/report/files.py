"""Files that appear whole or not at all, and the folder of a run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO
from uuid import uuid4

from framework.errors import UsageError

#: Says that a folder was made here, and which files in it may be replaced (one relative path a line).
MANIFEST = ".portfolio-engine"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of ``path`` when the block ends, and is removed if it raises."""
    new = path.with_name(f".{path.name}.{uuid4().hex[:8]}.new")
    try:
        with new.open("wb") as file:
            yield file
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def claim_folder(folder: Path, paths: list[str], beside: Collection[str] = ()) -> None:
    """Make ``folder`` ready for the files ``paths`` (relative); the last of them is the mark of a whole run.

    It is made where it is missing. Of a former run the mark goes first, and with it all that is not replaced anyway;
    so two runs that write into one folder at once never take each other's files away.

    Args:
        folder: where.
        paths: what will be written.
        beside: names that a new folder may hold already; they stay.

    Raises:
        UsageError: it is a file, cannot be made, or holds something that no run wrote.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = {entry.name for entry in folder.iterdir()} - set(beside)
    except OSError as error:
        raise UsageError(
            f"results can't be written to {str(folder)!r}: {error.strerror}; choose another folder with --out"
        ) from error
    if inside and MANIFEST not in inside:
        raise UsageError(
            f"results can't be written to {str(folder)!r}: it holds {len(inside)} entries that no run wrote "
            f"({', '.join(sorted(inside)[:3])}…); choose an empty or new folder with --out"
        )
    if inside:
        _remove_former(folder, set(paths[:-1]))
    with replacing(folder / MANIFEST) as file:
        file.write("".join(f"{path}\n" for path in paths).encode())


def _remove_former(folder: Path, keep: set[str]) -> None:
    """Remove what the former run wrote, by its own list, except ``keep``; whatever else lies there stays."""
    for line in (folder / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines():
        relative = PurePosixPath(line)
        if line in keep or relative.is_absolute() or ".." in relative.parts:
            continue
        path = folder / relative
        path.unlink(missing_ok=True)
        if path.parent != folder and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
