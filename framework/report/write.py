"""Everything that a run leaves, written into one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from framework.errors import ConfigError, EngineError
from framework.model.result import RunResult
from framework.report import attribution_view
from framework.report.account import Account, Accounts
from framework.report.assemble import accounts
from framework.report.attribution import Attribution
from framework.report.basis import Basis, basis_of
from framework.report.csv_set import RUN_TABLES, TABLES
from framework.report.files import claim_folder, replacing
from framework.report.live import LiveReport
from framework.report.live_view import document, valuations_text
from framework.report.summary import summary
from framework.report.tables import write_table
from framework.report.tear_sheet import write_tear_sheet

#: Called before each file with its path in the folder, how many are done, and how many there are.
Progress = Callable[[str, int, int], None]

SUMMARY = "summary.json"
VALUATIONS = "valuations.csv"
COMPARISON = "comparison.csv"
REPORT = "report.html"


def write_run(run: RunResult, out_dir: Path, progress: Progress | None = None) -> Path:
    """Write the summary, the CSV set and the tear sheet: the totals into ``out_dir``, each portfolio into ``<id>/``.

    A folder that an earlier call wrote is written anew; each file appears whole or not at all, ``summary.json`` last.

    Returns:
        the path of ``report.html``.

    Raises:
        UsageError: ``out_dir`` holds something that no run wrote, or can't be written.
        ConfigError: a portfolio's id can't name a folder.
        NotBuiltYet: portfolios in several currencies.
        EngineError: the disk refused.
    """
    made = accounts(run)
    folders = [_folder_name(account.name) for account in made.portfolios]
    paths = [f"{folder}/{name}" for folder in folders for name in TABLES] + [*TABLES, *RUN_TABLES, REPORT, SUMMARY]
    claim_folder(out_dir, paths)
    tell = _counted(progress, len(paths))
    try:
        _write_all(run, made, folders, out_dir, tell)
    except OSError as error:
        raise EngineError(
            f"results can't be written to {str(out_dir)!r}: {error.strerror or error}; the run itself had ended well. "
            "Free space or choose another folder with --out, and run again"
        ) from error
    return out_dir / REPORT


def _write_all(run: RunResult, made: Accounts, folders: list[str], out_dir: Path, tell: Callable[[str], None]) -> None:
    for folder, account in zip(folders, made.portfolios, strict=True):
        (out_dir / folder).mkdir(exist_ok=True)
        _write_tables(account, out_dir / folder, f"{folder}/", tell)
    _write_totals(made, out_dir, folders, tell)
    tell(REPORT)
    write_tear_sheet(basis_of(run), made, out_dir / REPORT)
    tell(SUMMARY)
    numbers = json.dumps(summary(run, made), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(out_dir / SUMMARY) as file:
        file.write(f"{numbers}\n".encode())


def write_live(
    report: LiveReport, made: Accounts, basis: Basis, out_dir: Path, comparison: Attribution | None = None
) -> Path:
    """Write the report of a live portfolio: its CSV set, its valuations, the tear sheet, the summary.

    With a ``comparison``, ``comparison.csv``, too.

    Returns:
        the path of ``report.html``.

    Raises:
        UsageError: ``out_dir`` holds something that no run wrote, or can't be written.
        EngineError: the disk refused.
    """
    more = [] if comparison is None else [COMPARISON]
    claim_folder(out_dir, [*TABLES, VALUATIONS, *more, REPORT, SUMMARY])
    try:
        _write_tables(made.total, out_dir, "", lambda path: None)
        if comparison is not None:
            write_table(out_dir / COMPARISON, attribution_view.columns(comparison))
        with replacing(out_dir / VALUATIONS) as file:
            file.write(valuations_text(report).encode())
        write_tear_sheet(basis, made, out_dir / REPORT, comparison)
        numbers = json.dumps(document(report, made, basis, comparison), indent=2, ensure_ascii=False, allow_nan=False)
        with replacing(out_dir / SUMMARY) as file:
            file.write(f"{numbers}\n".encode())
    except OSError as error:
        raise EngineError(
            f"the report can't be written to {str(out_dir)!r}: {error.strerror or error}; free space or choose another "
            "folder with --out"
        ) from error
    return out_dir / REPORT


def _write_tables(account: Account, folder: Path, prefix: str, tell: Callable[[str], None]) -> None:
    for name, columns in TABLES.items():
        tell(prefix + name)
        write_table(folder / name, columns(account))


def _write_totals(made: Accounts, out_dir: Path, folders: list[str], tell: Callable[[str], None]) -> None:
    """The totals; of a portfolio that is alone they are its own files, so they are copied instead of made twice."""
    for name, columns in RUN_TABLES.items():
        tell(name)
        write_table(out_dir / name, columns(made))
    if not made.is_single:
        _write_tables(made.total, out_dir, "", tell)
        return
    for name in TABLES:
        tell(name)
        with (out_dir / folders[0] / name).open("rb") as source, replacing(out_dir / name) as copy:
            shutil.copyfileobj(source, copy)


def _folder_name(portfolio_id: str) -> str:
    """The id itself, if it can safely name a folder beside the totals."""
    taken = {*TABLES, *RUN_TABLES, REPORT, SUMMARY}
    printable = portfolio_id.isprintable() and len(portfolio_id.encode()) <= 200
    if not printable or portfolio_id.strip(" .") != portfolio_id or not portfolio_id or portfolio_id in taken:
        raise _bad_id(portfolio_id)
    if any(character in portfolio_id for character in '/\\:*?"<>|'):
        raise _bad_id(portfolio_id)
    return portfolio_id


def _bad_id(portfolio_id: str) -> ConfigError:
    return ConfigError(
        f"portfolio id {portfolio_id!r} can't name the folder of its results; use letters, digits, '-', '_' and '.'"
    )


def _counted(progress: Progress | None, total: int) -> Callable[[str], None]:
    done = iter(range(total))

    def tell(path: str) -> None:
        if progress is not None:
            progress(path, next(done), total)

    return tell
