"""Where a database is, in words that hold no secret."""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2.extensions import parse_dsn

from framework.errors import DatabaseNotReady


def parse(url: str) -> dict[str, Any]:
    """The parts of a connection URL (or keyword string) by libpq's names.

    Raises:
        DatabaseNotReady: it cannot be parsed; the message leaves the value out, which may hold a password.
    """
    try:
        return dict(parse_dsn(url))
    except psycopg2.ProgrammingError:
        raise DatabaseNotReady(
            "database.url is not a PostgreSQL URL (its value is not shown, it may hold a password); "
            "write it as postgresql://user:password@host:5432/database, or as: embedded"
        ) from None


def describe(url: str) -> str:
    """``host:port/database`` of a URL, for messages; never user, password or options."""
    parts = parse(url)
    host = parts.get("host") or "local socket"
    port = f":{parts['port']}" if "port" in parts else ""
    return f"{host}{port}/{parts.get('dbname') or parts.get('user') or ''}"


def without_secrets(text: str, url: str) -> str:
    """``text`` on one line, with the URL's password, should it occur, blotted out."""
    password = parse(url).get("password")
    if password:
        text = text.replace(str(password), "***")
    return " ".join(text.split())
