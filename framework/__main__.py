"""``python -m framework``: the same program as ``engine``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line on the arguments of this process, and exit with its status."""
    from framework.cli.main import run_command

    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
