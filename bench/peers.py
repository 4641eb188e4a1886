"""How fast the simulator is beside other backtesters, on the same bars and the same strategy.

    python bench/peers.py [--workloads days,sweep] [--peers vectorbt,bt] [--runs 5] [--json]
    python bench/peers.py --agreement [--write]

Simulation alone, data in memory: SMA 20/50, weight 1/N at each cross, decided at the close, filled at the next open,
fractions of shares, no costs. Each peer runs in an environment of its own, made on first use; runs are interleaved.
Compared are medians of CPU seconds of the process, all its threads included, which other work on the machine disturbs
less than the clock. A difference under 10 % counts as equal. ``--agreement`` compares final equities on the sample's
prices instead (docs/agreement.md).
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from adapters import agreement
from adapters.environments import default_folder, interpreter
from adapters.peers import PEERS
from adapters.process import Adapter, Failed, Slow
from backtest import market

WORKLOADS = {
    "days": ("500 tickers, 2,520 days", 2520, 500, "1d", [(20, 50)]),
    "one": ("1 ticker, 1,000,000 minutes", 1_000_000, 1, "1min", [(20, 50)]),
    "minutes": ("50 tickers, 100,000 minutes", 100_000, 50, "1min", [(20, 50)]),
    "sweep": (
        "100 pairs, 20 tickers, 2,520 days",
        2520,
        20,
        "1d",
        [(fast, slow) for fast in range(5, 55, 5) for slow in range(60, 260, 20)],
    ),
}
STYLES = {"weights": "sma_cross", "on_bar": "sma_cross_on_bar"}
EQUAL = 0.1


def write(path, workload):
    """The bars of a workload, for all sides."""
    _, bars, tickers, interval, _ = WORKLOADS[workload]
    panel, _ = market(bars, tickers, interval)
    fields = {name: getattr(panel, name) for name in ("open", "high", "low", "close")}
    np.savez(path, names=np.array(panel.tickers), stamps=panel.timestamps, **fields)


def start(options, workload, data):
    """The adapters that are ready, by name, and a line for each of the peers, by name."""
    job = {"interval": WORKLOADS[workload][3], "pairs": WORKLOADS[workload][4]}
    wanted = {style: (sys.executable, "on_engine.py", {"strategy": name}) for style, name in STYLES.items()}
    lines = {style: {"version": ""} for style in STYLES}
    for peer in options.peers:
        python, why = environment(options)(peer)
        lines[peer.name] = {"version": ""}
        if python:
            wanted[peer.name] = python, peer.script, {}
        else:
            lines[peer.name]["failed"] = f"could not be installed: {why}"
    adapters = {}
    for name, (python, script, more) in wanted.items():
        say(options, f"{workload}: {name} prepares")
        adapter = Adapter(python, script, data, job | more, options.cap)
        try:
            lines[name] |= adapter.answer() | {"runs": []}
            adapters[name] = adapter
        except Failed as failure:
            lines[name]["failed"] = f"could not prepare: {failure}"
            adapter.stop()
    return adapters, lines


def environment(options):
    """What gives a peer's interpreter, or why there is none."""
    chosen = dict(each.split("=", 1) for each in options.python if "=" in each)
    general = [sys.executable, *(each for each in options.python if "=" not in each)][-1]
    return lambda peer: interpreter(options.environments, peer.packages, chosen.get(peer.name, general))


def measure(options, workload):
    """A line for each side: its runs, or why there are none."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        data = Path(folder) / "bars.npz"
        write(data, workload)
        adapters, lines = start(options, workload, data)
        for number in range(options.runs):
            for name in list(adapters):
                runs = lines[name]["runs"]
                if sum(run["cpu"] for run in runs) * (1 + 1 / max(1, len(runs))) > options.budget:
                    continue
                say(options, f"{workload}: run {number + 1} of {name}")
                try:
                    runs.append(adapters[name].run())
                except Failed as failure:
                    lines[name] |= {"over": options.cap} if isinstance(failure, Slow) else {"failed": str(failure)}
                    adapters.pop(name).stop()
        for adapter in adapters.values():
            adapter.stop()
    return judged(workload, lines)


def judged(workload, lines):
    """The lines of the table, with ratios to ours and whether the targets are met."""
    for name, line in lines.items():
        line |= {"workload": workload, "name": name}
        runs = line.get("runs")
        if "over" in line:
            line["median"] = line["over"]
        elif runs and "failed" not in line:
            cpu, wall = ([run[key] for run in runs] for key in ("cpu", "wall"))
            line |= {"median": statistics.median(cpu), "min": min(cpu), "wall": statistics.median(wall)}
            line["marks"] = {mark: statistics.median(run["marks"][mark] for run in runs) for mark in runs[0]["marks"]}
            line["equity"] = runs[0]["equity"]
    for peer in PEERS:
        line = lines.get(peer.name, {})
        if "median" in line:
            compare(peer, line, lines)
    return list(lines.values())


def compare(peer, line, lines):
    """Note how a peer stands beside ours."""
    ratio = line["ratio"] = {style: line["median"] / lines[style]["median"] for style in STYLES}
    if "over" in line and ratio["on_bar"] < 1 + EQUAL:
        return  # it might take any time
    line["met"] = {"weights": verdict(ratio["weights"], may_be_equal=True)}
    if peer.is_event_driven:
        line["met"]["on_bar"] = verdict(ratio["on_bar"], may_be_equal=False)
    if "equity" in line:
        ours = np.array(lines["weights"]["equity"])
        line["equity_differs"] = float(np.abs(np.array(line["equity"]) / ours - 1).max())


def verdict(ratio, *, may_be_equal):
    """Whether we are fast enough, where the peer takes ``ratio`` times as long."""
    if abs(ratio - 1) < EQUAL:
        return "yes, equal" if may_be_equal else "NO, equal"
    return "yes" if ratio > 1 else "NO"


def say(options, text):
    """Progress, where somebody looks."""
    if not options.json:
        print(text, file=sys.stderr, flush=True)


def table(lines):
    """Print a workload's lines."""
    title = WORKLOADS[lines[0]["workload"]][0]
    for line in lines:
        cells = [title, line["name"], line["version"]]
        if "median" not in line:
            print(f"| {' | '.join(cells)} | {line.get('failed', 'not measured')} | | | | | | | |", flush=True)
            continue
        at_least = "> " if "over" in line else ""
        cells += [
            f"{at_least}{line['median']:.4g}",
            *(f"{line[key]:.4g}" if key in line else "" for key in ("min", "wall")),
        ]
        cells.append(str(len(line["runs"])))
        cells += [f"{at_least}{line['ratio'][style]:.2f}" if "ratio" in line else "" for style in STYLES]
        cells.append(f"{line['equity_differs']:.1e}" if "equity_differs" in line else "")
        cells.append("; ".join(f"{style} {word}" for style, word in line.get("met", {}).items()))
        print(f"| {' | '.join(cells)} |", flush=True)


def notes(lines):
    """Print what the table cannot hold."""
    print("\nNot as ours:")
    for peer in PEERS:
        mine = [line for line in lines if line["name"] == peer.name]
        if mine:
            print(f"- {peer.name}: {peer.differs}.")
        for line in mine:
            for mark, seconds in line.get("marks", {}).items():
                print(f"  {WORKLOADS[line['workload']][0]}: {seconds:.4g} s {mark}.")
    slow = [line for line in lines if line.get("warm_up", 0) > 5]
    for line in slow:
        print(f"- {line['name']} warms up for {line['warm_up']:.0f} s ({line['workload']}), not counted.")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--peers", default=",".join(peer.name for peer in PEERS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cap", type=int, default=600, help="most CPU seconds of one run")
    parser.add_argument(
        "--budget", type=int, default=900, help="most CPU seconds of all runs of a side, after its first"
    )
    parser.add_argument("--environments", type=Path, default=default_folder(), help="where those of the peers are kept")
    parser.add_argument(
        "--python", action="append", default=[], help="[PEER=]PATH: what the environments are made from"
    )
    parser.add_argument("--agreement", action="store_true", help="compare final equities instead")
    parser.add_argument("--write", action="store_true", help="with --agreement: keep them for the test")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked, options.workloads = [name for name in options.peers.split(",") if name], options.workloads.split(",")
    unknown = {*asked} - {peer.name for peer in PEERS} | {*options.workloads} - {*WORKLOADS}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.peers = [peer for peer in PEERS if peer.name in asked]
    return options


def main():
    """Measure and print."""
    options = arguments()
    if options.agreement:
        agreement.compare(options, environment(options))
        return
    if options.json:
        print(json.dumps([line for workload in options.workloads for line in measure(options, workload)], indent=2))
        return
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}; CPU seconds, medians of interleaved runs\n"
    )
    print(
        "| workload | side | version | median | min | by the clock | runs | × weights | × on_bar "
        "| final equity differs | at least as fast; faster |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |", flush=True)
    lines = []
    for workload in options.workloads:
        lines += (measured := measure(options, workload))
        table(measured)
    notes(lines)


if __name__ == "__main__":
    main()
