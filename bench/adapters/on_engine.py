"""This engine, ``weights`` or ``on_bar``, with data in memory."""

import sys
from pathlib import Path

import numpy as np
from serve import serve

sys.path.insert(0, str(Path(__file__).parents[1]))
from backtest import clock_of, job as simulation  # noqa: I001

from framework.engine.simulator import simulate
from framework.model.panel import Panel
from framework.plugin_manager import PluginManager
from framework.trading.costs import Costs


def prepare(data, job):
    """A panel and its clock."""
    plugins, costs = PluginManager.load(), Costs()
    volume = np.full(data.close.shape, 1e5)
    names = tuple(data.names)
    panel = Panel(names, data.stamps, data.open, data.high, data.low, data.close, volume, job["interval"])
    clock = clock_of(data.stamps)

    def run(watch):
        ended = []
        for fast, slow in job["pairs"]:
            watch.start()
            result = simulate(simulation(plugins, panel, clock, job["strategy"], costs, fast, slow))
            watch.stop()
            ended.append(result.equity[-1])
        return ended

    return run


if __name__ == "__main__":
    serve(prepare, "portfolio-engine")
