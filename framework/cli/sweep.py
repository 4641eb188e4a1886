"""``engine sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framework.cli.common import ConfigArgument, JsonOption, SetOption, loaded_config, print_json
from framework.cli.progress import progress_bar

ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="KEY=VALUES",
        help="A key of the config and what it is set to: 5,10,20 or, from:to:step, 5:50:5. Again for more keys.",
    ),
]
RandomOption = Annotated[
    int | None, typer.Option("--random", metavar="N", help="Draw so many of all combinations, instead of trying all.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the draw: the same one draws the same.")]
TrainOption = Annotated[
    str | None,
    typer.Option("--train", metavar="3y", help="Walk forward: choose the best on so much time (d, w, m, y) …"),
]
TestOption = Annotated[
    str | None, typer.Option("--test", metavar="1y", help="… and try it on so much time after that, again and again.")
]
AnchoredOption = Annotated[bool, typer.Option("--anchored", help="Each training begins at the start of the run.")]
ObjectiveOption = Annotated[str, typer.Option("--objective", help="The figure that the best has the most of.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="How many processes; by default one a core.")]
ClusterOption = Annotated[
    str | None, typer.Option("--cluster", metavar="tcp://HOST:PORT", help="The scheduler of a Dask cluster.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="For journal and results; by default sweeps/<name>-<UTC time>/. A sweep that was stopped goes on there.",
    ),
]


def sweep(
    config: ConfigArgument,
    param: ParamOption = None,
    set_: SetOption = None,
    random: RandomOption = None,
    seed: SeedOption = 0,
    train: TrainOption = None,
    test: TestOption = None,
    anchored: AnchoredOption = False,
    objective: ObjectiveOption = "sharpe",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    out: OutOption = None,
    json: JsonOption = False,
) -> None:
    """Run a config many times with other values, and tell which were the best, and whether that means anything.

    Every trial is the backtest that `engine run` makes with these values. Results are CSV, Parquet and a page with
    heat map and deflated Sharpe ratio. What is done is kept: the same command with the same --out goes on.

    Example: engine sweep demo.yaml --param portfolios.0.strategy.params.fast=5:45:5

    Example: engine sweep demo.yaml --param portfolios.0.strategy.params.fast=5,20 --train 3y --test 1y
    """
    with loaded_config(config, [*(set_ or ()), "mode=backtest"]), progress_bar() as progress:
        from framework.report.sweep_files import write_sweep
        from framework.sweep.run import Options, planned, run_sweep

        options = Options(tuple(param or ()), random, seed, train, test, anchored, objective, workers, cluster, out)
        found, folder = run_sweep(planned(config, set_ or (), options), options, progress)
        write_sweep(found, folder)
    from framework.report.sweep_view import document, show_sweep

    if json:
        print_json(document(found))
        return
    from rich.console import Console

    show_sweep(found, folder, Console())
