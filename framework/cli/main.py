"""The program ``engine``: finds the command that was typed, imports only that one, and turns errors into exit codes."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Annotated, Any

import typer

from framework.cli.common import INTERRUPTED, RunInterruptedError, SafeFormatter
from framework.errors import EngineError, PluginError, UsageError

COMMAND_GROUP = "portfolio_engine.commands"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Command:
    """A command that has not been imported: ``module:object`` and the line that ``engine --help`` shows."""

    target: str
    help: str


COMMANDS = {
    "run": Command("framework.cli.run:run", "Run what a config says: a backtest, a replay, or paper trading."),
    "check": Command("framework.cli.check:check", "Say whether a config would run, without running it."),
    "init": Command("framework.cli.init:init", "Write a workspace: configs, plugins folder, .gitignore."),
    "sweep": Command("framework.cli.sweep:sweep", "Run a config many times with other values, on every core."),
    "plugins": Command("framework.cli.plugins:plugins_app", "What is installed, from where, and what failed to load."),
    "status": Command("framework.cli.operate:status", "How every portfolio is, and which engines run them."),
    "halt": Command("framework.cli.operate:halt", "Stop a portfolio, or all, from sending orders."),
    "resume": Command("framework.cli.operate:resume", "Let a halted portfolio, or all, trade again."),
    "liquidate": Command("framework.cli.operate:liquidate", "Halt a portfolio and sell what it holds."),
    "allocate": Command("framework.cli.allocate:allocate", "Move capital between portfolios as the allocator says."),
    "portfolio": Command("framework.cli.portfolio:portfolio_app", "Portfolios: open, list."),
    "capital": Command("framework.cli.capital:capital_app", "Capital: add, withdraw, transfer, balance, history."),
    "report": Command("framework.cli.report:report", "A portfolio from its live books, a backtest again, or several."),
    "audit": Command("framework.cli.audit:audit", "Prove the books by replay; name the first wrong row."),
    "data": Command("framework.cli.data:data_app", "Market data: backfill, ingest, coverage, verify."),
    "db": Command("framework.cli.db:db_app", "The database: upgrade, status, url, stop, backup, restore."),
}


#: The disk behind stdout or stderr is full, or broken.
_NO_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; nothing escapes but ``SystemExit`` of a closed pipe."""
    debug, rest = _take_debug(list(arguments))
    formatter = _log_to_stderr(debug)
    _log.debug("python and imports took %.0f ms of processor time", time.process_time() * 1e3)
    try:
        app = _app(_typed(rest))
        status = app(args=rest or ["--help"], prog_name="engine", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # who reads us has gone (`engine plugins | head`): no message, and none from Python's own flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last stop: a user gets a sentence, whatever happened
        return _explain(error, debug, formatter)
    if status == INTERRUPTED:  # typer turns Ctrl-C into this status, unless a command has caught it
        return _explain(RunInterruptedError(), debug, formatter)
    return status if isinstance(status, int) else 0


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """``--debug`` works before and after the command's name."""
    rest = [argument for argument in arguments if argument != "--debug"]
    return len(rest) < len(arguments), rest


def _typed(arguments: Sequence[str]) -> str | None:
    """The command's name: the first argument that is no option."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _log_to_stderr(debug: bool) -> SafeFormatter:
    handler = logging.StreamHandler()
    formatter = SafeFormatter(debug)
    handler.setFormatter(formatter)
    for name in ("framework", "engine"):  # our modules, and what strategies and the engine tell (ctx.log)
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if debug else logging.WARNING)
        logger.propagate = False
    return formatter


def _explain(error: Exception, debug: bool, formatter: SafeFormatter) -> int:
    """Print an error as its kind demands; its exit status."""
    if debug:
        _log.error("the command failed", exc_info=error)
    if isinstance(error, EngineError):
        text, status = str(error), error.exit_code
    elif hasattr(error, "format_message"):  # usage errors of click, which typer ships under changing names
        if not error.format_message():
            return 2  # a group without its command: the help has been shown
        path = getattr(getattr(error, "ctx", None), "command_path", "engine")
        text, status = f"{error.format_message()} (`{path} --help` shows what is allowed)", 2
    elif isinstance(error, OSError) and error.errno in _NO_OUTPUT:
        text, status = f"the output could not be written ({error.strerror}); what the command did is done", 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries it again at its exit
    else:
        text, status = f"unexpected {type(error).__name__}: {error}", 1
        if not debug:
            text += "; this is a bug: the same command with --debug shows where"
    with suppress(OSError):  # stderr may be what cannot be written
        typer.echo(f"engine: {formatter.redact(text)}", err=True)
    return status


def _app(typed: str | None) -> typer.Typer:
    """The program with the typed command imported; the others only say what they are."""
    app = typer.Typer(name="engine", pretty_exceptions_enable=False, add_completion=False, help=_HELP)
    app.callback()(_root)
    found = _commands()
    if typed is not None and typed not in found:
        near = difflib.get_close_matches(typed, found, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"there is no command {typed!r}{hint} (commands: {', '.join(found)})")
    for name, command in found.items():
        _add(app, name, _load(name, command) if name == typed else _placeholder, command.help)
    return app


def _commands() -> dict[str, Command]:
    """Our own commands, then those of installed distributions; one of ours cannot be replaced."""
    found = dict(COMMANDS)
    for entry in sorted(metadata.entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name):
        origin = entry.dist.name if entry.dist else "an extension"
        if entry.name in COMMANDS:
            _log.warning("the command %r of %s is not used: engine has one of that name", entry.name, origin)
        found.setdefault(entry.name, Command(entry.value, f"From {origin}."))
    return found


def _load(name: str, command: Command) -> Any:
    module, _, attribute = command.target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(f"the command {name!r} ({command.target}) cannot be loaded: {error}") from error


def _placeholder() -> None:
    raise AssertionError("a command that was not typed is never called")


def _add(app: typer.Typer, name: str, target: Callable[..., Any] | typer.Typer, help: str) -> None:
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=name)
    else:
        app.command(name=name, help=help if target is _placeholder else target.__doc__)(target)


_HELP = """Many trading portfolios on one PostgreSQL database.

Example: engine init demo && cd demo && engine run demo.yaml"""


def _version(asked: bool) -> None:
    if asked:
        from framework import __version__

        typer.echo(f"engine {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks and start-up times; works anywhere.")] = False,
) -> None:
    # --debug was taken from the arguments before; it stands here for --help
    pass
