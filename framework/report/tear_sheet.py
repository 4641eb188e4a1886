"""stub"""

from __future__ import annotations

from pathlib import Path

from framework.model.result import RunResult
from framework.report.account import Accounts
from framework.report.files import replacing


def write_tear_sheet(run: RunResult, made: Accounts, path: Path) -> None:
    """Stub."""
    with replacing(path) as file:
        file.write(b"<!doctype html>")
