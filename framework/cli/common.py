"""What commands share: options, output, a config whose secrets stay out of errors."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.errors import EngineError, UsageError

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

_PLAIN = re.compile(r"[0-9]+(\.[0-9]*)?|\.[0-9]+")
_LARGEST, _MICRO = Decimal("1e15"), Decimal("1e-6")


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


def amount_of(name: str, text: str) -> Decimal:
    """An amount of money as it was typed: exact, in plain digits, which cannot be read in two ways.

    Args:
        name: of the option or argument.
        text: what was typed.

    Raises:
        UsageError: it is none, or not above 0, or too large for a person's money.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise UsageError(f"{name} was {_shortened(text)}; allowed: an amount such as 100000 or 2500.50") from None
    if not _PLAIN.fullmatch(text) or not 0 < amount < _LARGEST or amount % _MICRO:
        raise UsageError(
            f"{name} was {_shortened(text)}; allowed: an amount above 0 with at most 6 decimals, below 1e15, in plain "
            "digits such as 100000 or 2500.50"
        )
    return amount


def number_of(name: str, text: str, example: str) -> Decimal:
    """A number above 0 as it was typed, exact, in plain digits.

    Raises:
        UsageError: it is none; ``example`` shows one.
    """
    if not _PLAIN.fullmatch(text) or not Decimal(text):
        raise UsageError(f"{name} was {_shortened(text)}; allowed: a number above 0 in plain digits such as {example}")
    return Decimal(text)


def exactly(value: Decimal) -> str:
    """Money to its last digit, two decimals at least."""
    whole, _, decimals = f"{value:,f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
