"""``engine db``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from framework.cli.common import JsonOption, loaded_config, print_json

db_app = typer.Typer(no_args_is_help=True, help="The database: upgrade, status, url, stop, backup, restore.")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Use database.url of this run config.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="postgresql://…, or embedded (the default: DATABASE_URL where it is set, else the server in ./.engine).",
    ),
]


@contextmanager
def database_of(config: Path | None, url: str | None) -> Iterator[str]:
    """The database that is meant; errors inside don't show the config's secrets."""
    if url is not None:
        yield url
    elif config is not None:
        with loaded_config(config, None) as loaded:
            yield loaded.config.database.url
    else:
        yield os.environ.get("DATABASE_URL") or "embedded"


@db_app.command()
def upgrade(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Run the migrations that have not run yet; all of them or none.

    Example: engine db upgrade --config live.yaml
    """
    from framework.db.command import upgrade_database

    with database_of(config, url) as target:
        where, ran = upgrade_database(target, Path.cwd())
    if json:
        print_json({"database": where, "ran": ran})
    else:
        typer.echo(f"{where}: {'ran ' + ', '.join(ran) if ran else 'nothing to do'}")


@db_app.command()
def status(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Say where the database is, whether it runs, and which migrations have run; changes nothing.

    Example: engine db status --json
    """
    from framework.db.command import database_status

    with database_of(config, url) as target:
        found = database_status(target, Path.cwd())
    if json:
        print_json(asdict(found))
        return
    running = f"running, PostgreSQL {found.server}" if found.running else "not running (starts when it is needed)"
    typer.echo(f"{found.database}: {running}")
    for label in ("applied", "pending", "changed", "unknown"):
        names = getattr(found, label)
        if names:
            typer.echo(f"{label + ':':9} {', '.join(names)}")


@db_app.command("url")
def url_(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Print a URL for psql and other programs; starts the embedded server. A password is left out.

    Example: psql "$(engine db url)"
    """
    from framework.db.command import address

    with database_of(config, url) as target:
        found = address(target, Path.cwd())
    if json:
        print_json({"url": found})
    else:
        typer.echo(found)


@db_app.command()
def stop(config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Stop the embedded server of this folder; connections that are open end.

    Example: engine db stop
    """
    from framework.db.command import stop_database

    with database_of(config, url) as target:
        stopped = stop_database(target, Path.cwd())
    if json:
        print_json({"stopped": stopped})
    else:
        typer.echo("stopped" if stopped else "it was not running")


FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@db_app.command()
def backup(file: FileArgument, config: ConfigOption = None, url: UrlOption = None, json: JsonOption = False) -> None:
    """Write the whole database to a file, of one moment, while work goes on.

    Example: engine db backup books.dump
    """
    from framework.db.backup import backup as write
    from framework.db.command import reachable

    with database_of(config, url) as target:
        write(reachable(target, Path.cwd()), file)
    size = file.stat().st_size
    if json:
        print_json({"file": str(file), "bytes": size})
    else:
        typer.echo(f"wrote {file} ({size:,} bytes)")


@db_app.command()
def restore(
    file: FileArgument,
    config: ConfigOption = None,
    url: UrlOption = None,
    replace: Annotated[bool, typer.Option("--replace", help="Drop what is in the database.")] = False,
    json: JsonOption = False,
) -> None:
    """Put a backup into an empty database, all of it or nothing; with --replace into one that is in use.

    Example: engine db restore books.dump
    """
    from framework.db.backup import restore as read
    from framework.db.command import reachable

    with database_of(config, url) as target:
        read(reachable(target, Path.cwd()), file, replace)
    if json:
        print_json({"file": str(file), "restored": True})
    else:
        typer.echo(f"restored {file}")
