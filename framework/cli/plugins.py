"""``engine plugins``."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from framework.cli.common import JsonOption, print_json
from framework.plugin_manager import PluginManager, Registered, kind_named
from framework.trading.plugin import Plugin, parameters

if TYPE_CHECKING:
    from framework.plugin_loading import Failure

plugins_app = typer.Typer(invoke_without_command=True)
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="CONFIG", help="Look where this config looks; else in ./plugins too."),
]


@plugins_app.callback()
def plugins(context: typer.Context, config: ConfigOption = None, json: JsonOption = False) -> None:
    """What is installed, from where, and what failed to load.

    Example: engine plugins show strategy sma_cross
    """
    if context.invoked_subcommand is None:
        list_plugins(config, json)


@plugins_app.command("list")
def list_plugins(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Every plugin by kind and name, and every provider that failed to load.

    Example: engine plugins list --json
    """
    manager = _manager(config)
    if json:
        listing = [_row(item) for item in manager.listing()]
        failures = [_failure(item) for item in manager.failures()]
        print_json({"plugins": listing, "failures": failures})
        return
    _print_table(manager)


@plugins_app.command("show")
def show_plugin(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="strategy, data-source, broker, indicator, …")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `engine plugins` lists it.")],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """One plugin: what it does, where it is from, its parameters.

    Example: engine plugins show strategy sma_cross
    """
    found = _manager(config).get(kind_named(kind).name, name)
    shown = {**_row(found), "doc": inspect.getdoc(found.cls) or "", "parameters": _parameters(found.cls)}
    if json:
        print_json(shown)
        return
    typer.echo(f"{found.kind} {found.name}: {shown['doc'].splitlines()[0] if shown['doc'] else '(no description)'}")
    typer.echo(f"from {found.provider}, {found.origin}, {found.path}")
    for parameter in shown["parameters"]:
        default = "required" if parameter["required"] else f"default {parameter['default']}"
        typer.echo(f"  {parameter['name']}: {parameter['type']}, {default}")


def _manager(config: Path | None) -> PluginManager:
    if config is None:
        folder = Path("plugins")
        return PluginManager.load((folder,) if folder.is_dir() else ())
    from framework.config.load import load

    loaded = load(config)
    return PluginManager.load(loaded.plugin_dirs(), loaded.config.plugins)


def _row(item: Registered) -> dict[str, Any]:
    path = str(item.path) if item.path else None
    return {
        "kind": item.kind,
        "name": item.name,
        "provider": item.provider,
        "from": item.origin,
        "version": item.version,
        "path": path,
    }


def _failure(item: Failure) -> dict[str, Any]:
    path = str(item.provider.path) if item.provider.path else None
    return {"provider": item.provider.name, "from": item.provider.origin, "path": path, "reason": item.reason}


def _parameters(cls: type[Any]) -> list[dict[str, Any]]:
    if not issubclass(cls, Plugin):
        return []
    return [
        {
            "name": name,
            "type": _type_text(hint),
            "required": not hasattr(cls, name),
            "default": repr(getattr(cls, name)) if hasattr(cls, name) else None,
        }
        for name, hint in parameters(cls).items()
    ]


def _type_text(hint: Any) -> str:
    """An annotation as a reader would say it: ``int > 0``, ``dict[str, float ≥ 0]``, ``'on_signal' or 'every_bar'``."""
    if get_origin(hint) is Annotated:
        plain, *bounds = get_args(hint)
        return " ".join([_type_text(plain), *map(_bound_text, bounds)])
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_type_text, get_args(hint)))
    if hint is type(None):
        return "None"
    if isinstance(get_origin(hint), type):
        inner = ", ".join("..." if part is ... else _type_text(part) for part in get_args(hint))
        return f"{get_origin(hint).__name__}[{inner}]"
    return hint.__name__ if isinstance(hint, type) else str(hint).removeprefix("typing.")


def _bound_text(bound: Any) -> str:
    signs = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
    return " and ".join(f"{sign} {getattr(bound, name)}" for name, sign in signs if hasattr(bound, name)) or repr(bound)


def _print_table(manager: PluginManager) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("kind", "name", "provider", "from"):
        table.add_column(column, overflow="fold")
    for item in manager.listing():
        table.add_row(*map(Text, (item.kind, item.name, item.provider, item.origin)))
    console = Console()
    console.print(table)
    for failure in manager.failures():
        text = f"failed: {failure.provider.describe()}: {failure.reason}"
        console.print(text, markup=False, highlight=False, soft_wrap=True, style="red")
