"""Opening a portfolio: its books belong to one mode, one broker account and one currency for ever."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from shlex import quote
from typing import Literal

from framework.books import checks
from framework.db.pool import Pool
from framework.db.queries import execute, fetch_all
from framework.db.types import Connection
from framework.errors import BookingError, PortfolioMismatch, UsageError
from framework.model.master import MASTER


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose books they are.

    Attributes:
        portfolio_id: ``0`` is the master account.
        mode: ``paper``, ``live`` or ``replay``.
        broker: name of the broker plugin.
        account: as the broker itself reports it.
        base_currency: of its cash, fees and values.
    """

    portfolio_id: str
    mode: Literal["paper", "live", "replay"]
    broker: str
    account: str
    base_currency: str = "USD"

    def __post_init__(self) -> None:
        checks.text("portfolio_id", self.portfolio_id, 64)
        checks.one_of("mode", self.mode, ("paper", "live", "replay"))
        checks.text("broker", self.broker, 64)
        checks.text("account", self.account, 64)
        checks.currency("base_currency", self.base_currency)


def open_portfolio(pool: Pool, identity: Identity) -> bool:
    """Open a portfolio, or see that the open one is the same; whether it was opened now.

    Raises:
        PortfolioMismatch: it is open with another mode, broker, account or currency; names both.
    """
    with pool.transaction() as connection:
        opened = execute(connection, "open_portfolio", asdict(identity)) == 1
        execute(connection, "open_account", {"broker": identity.broker, "account": identity.account})
        check_portfolio(connection, identity)
    return opened


def check_portfolio(connection: Connection, identity: Identity) -> None:
    """Compare with the books, at every start.

    Raises:
        BookingError: the portfolio is not open.
        PortfolioMismatch: names each difference, both sides.
    """
    found = read_identities(connection, [identity.portfolio_id])
    if not found:
        raise BookingError(
            f"there is no portfolio {identity.portfolio_id!r} in the books; open it first (engine portfolio open)"
        )
    asked, booked = asdict(identity), asdict(found[0])
    differences = [f"{name} {booked[name]!r}, not {value!r}" for name, value in asked.items() if booked[name] != value]
    if differences:
        raise PortfolioMismatch(
            f"the books of portfolio {identity.portfolio_id!r} belong to {'; '.join(differences)}; correct the config, "
            "or give it an id that is not in use"
        )


def portfolios(pool: Pool, portfolio_ids: Iterable[str] | None = None) -> tuple[Identity, ...]:
    """The open portfolios (all, or those of these ids that are open), in order of id."""
    with pool.connection() as connection:
        return read_identities(connection, portfolio_ids)


def require_open(connection: Connection, portfolio_ids: Iterable[str]) -> dict[str, Identity]:
    """Those portfolios, by id; refuses ids that are not in the books, as a person types them.

    Raises:
        UsageError: names the first, the nearest that is open, and what to type.
    """
    asked = list(portfolio_ids)
    found = {identity.portfolio_id: identity for identity in read_identities(connection, asked)}
    missing = next((portfolio_id for portfolio_id in asked if portfolio_id not in found), None)
    if missing is not None:
        raise UsageError(_not_open(missing, asked, read_identities(connection, None)))
    return found


def _not_open(missing: str, asked: Sequence[str], known: Sequence[Identity]) -> str:
    ids = [identity.portfolio_id for identity in known]
    near = difflib.get_close_matches(missing, ids, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near and missing != MASTER else ""
    there = f"open are: {', '.join(ids)}" if ids else "none is open"
    like = next((each for each in known if each.portfolio_id in asked), known[0] if known else None)
    return (
        f"there is no portfolio {missing!r} in the books{hint} ({there}); to open it, type: "
        f"{how_to_open(missing, like)}"
    )


def how_to_open(portfolio_id: str, like: Identity | None = None) -> str:
    """The command that opens a portfolio; with ``like``, one that can give money to that portfolio and get it."""
    whose = "--mode paper --broker paper --account " + ("master" if portfolio_id == MASTER else "A")
    if like is not None and like.mode == "live":
        whose = f"--mode live --broker {quote(like.broker)} --account {quote(like.account)}"
    currency = f" --currency {like.base_currency}" if like is not None and like.base_currency != "USD" else ""
    return f"engine portfolio open {quote(portfolio_id)} {whose}{currency}"


def read_identities(connection: Connection, portfolio_ids: Iterable[str] | None) -> tuple[Identity, ...]:
    """As :func:`portfolios`, on the caller's connection."""
    asked = None if portfolio_ids is None else sorted(portfolio_ids)
    return tuple(Identity(*row) for row in fetch_all(connection, "portfolios", {"portfolio_ids": asked}))
