"""The same for everyone."""

from __future__ import annotations

from framework import AllocationState, Allocator, Floats, hookimpl

from . import _shared


class Equal(_shared.Listed):
    """Gives each portfolio the same, 1/N of what may be given out (DeMiguel, Garlappi, Uppal 2009).

    ``only`` names the portfolios; empty: all of the run.
    """

    def allocate(self, state: AllocationState) -> Floats:
        """Total / N."""
        return _shared.money(_shared.equal_weights(len(state.portfolios)), state.total)


@hookimpl
def register_allocators() -> dict[str, type[Allocator]]:
    """``equal``."""
    return {"equal": Equal}
