"""What commands share: options, output, a config whose secrets stay out of errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.errors import EngineError

if TYPE_CHECKING:
    from framework.config.load import LoadedConfig

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="A run config, such as demo.yaml.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Change a value of the config for this run; again for more. "
        "portfolios.0.cash=5 changes one portfolio, strategy.params.fast=5 every one.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]


INTERRUPTED = 130


class RunInterruptedError(EngineError):
    """Ctrl-C; the message says what was kept."""

    exit_code = INTERRUPTED

    def __init__(self, kept: str = "") -> None:
        super().__init__(f"interrupted; {kept or 'what was committed stays; run the same command again to go on'}")


class SafeFormatter(logging.Formatter):
    """Formats log lines; takes out the secrets of the config in use, once :func:`loaded_config` has read one."""

    redact: Callable[[str], str] = staticmethod(str)

    def __init__(self, debug: bool) -> None:
        super().__init__("+%(relativeCreated).0f ms  %(name)s: %(message)s" if debug else "%(levelname)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback that belongs to it."""
        return self.redact(super().format(record))


@contextmanager
def loaded_config(path: Path, overrides: Sequence[str] | None) -> Iterator[LoadedConfig]:
    """The config. From here on no log line and no error shows a secret of it; Ctrl-C says what was kept."""
    from framework.config.load import load

    loaded = load(path, overrides or ())
    for handler in logging.getLogger("framework").handlers:
        if isinstance(handler.formatter, SafeFormatter):
            handler.formatter.redact = loaded.redact
    try:
        yield loaded
    except KeyboardInterrupt as interrupt:
        raise RunInterruptedError(str(interrupt)) from interrupt


class Teller:
    """Tells what happens, a line each, on stderr. A full disk or a closed pipe there must not stop what trades."""

    def __init__(self) -> None:
        #: Lines that could not be written.
        self.lost = 0

    def __call__(self, line: str) -> None:
        """Write a line, if that can be done."""
        try:
            typer.echo(line, err=True)
        except OSError:
            self.lost += 1


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
