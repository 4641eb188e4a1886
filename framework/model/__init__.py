"""Plain frozen values: panels, bars, orders, results. No I/O, no clock."""
