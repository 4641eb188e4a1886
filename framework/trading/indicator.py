"""The indicator interface: declared once, computed for the whole panel, read at the cursor."""

from __future__ import annotations

from framework.model.panel import Floats, Panel
from framework.trading.plugin import Plugin


class Indicator(Plugin):
    """A value per bar and ticker, from bars up to that bar only. Parameters are class attributes as everywhere."""

    kind = "indicator"

    def compute(self, panel: Panel) -> Floats:
        """All values at once.

        Returns:
            shape ``(T, N)``, float64; row ``t`` depends on rows up to ``t`` only; NaN where there is no value.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute(panel)")

    def memory(self) -> int:
        """Bars that a value depends on: the window; for a recursion, until its seed weighs less than 1e-12."""
        raise NotImplementedError(f"{type(self).__name__} must define memory()")
