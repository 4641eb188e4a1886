"""The server that a benchmark runs on: a given one, or an embedded one of its own that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from framework.db.embedded import Embedded


@contextmanager
def server(url: str | None = None, **settings: str) -> Iterator[str]:
    """URL of ``url`` itself, or of a throw-away server with these PostgreSQL settings."""
    if url is not None:
        yield url
        return
    workspace = Path(tempfile.mkdtemp(prefix="engine-bench-"))
    workspace.chmod(0o755)  # run by root, the server's own user has to get through
    embedded = Embedded(workspace, settings=settings)
    try:
        yield embedded.start()
    finally:
        embedded.remove()
        workspace.rmdir()
