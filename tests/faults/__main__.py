"""The whole fault suite by one command, with its table.

    python -m tests.faults            run all of it (some 20 minutes on 2 cores), print the table
    python -m tests.faults --write    also put the table into docs/faults.md
    python -m tests.faults --quick    only what the default test run has

Further arguments go to pytest.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.table import ROWS_TO, Row, lines, replaced

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """Run the suite; its exit status."""
    marks = "not slow" if "--quick" in arguments else "slow or not slow"
    rest = [each for each in arguments if each not in ("--quick", "--write")]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows_to = Path(folder) / "rows.json"
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-n", "0", "tests/faults", "-m", marks, *rest],
            cwd=ROOT,
            env={**os.environ, ROWS_TO: str(rows_to)},
        ).returncode
        if not rows_to.exists():
            return status or 1
        rows = [Row(*each) for each in json.loads(rows_to.read_text())]
    minutes = (time.monotonic() - began) / 60
    how = f"{minutes:.0f} minutes on {os.cpu_count()} cores, Python {platform.python_version()}."
    print("", *lines(rows), "", how, sep="\n")
    if "--write" in arguments:
        document = ROOT / "docs" / "faults.md"
        document.write_text(replaced(document.read_text(), rows, how))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
