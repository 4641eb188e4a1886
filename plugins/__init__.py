"""First-party plugins: they come in through the same entry-point group, and use the same public API, as anyone's."""

#: The modules of this package that hold plugins, relative to it; each is imported on its own.
PLUGIN_MODULES = (
    ".allocators.daily",
    ".allocators.drawdown_scaled",
    ".allocators.equal",
    ".allocators.inverse_volatility",
    ".allocators.risk_parity",
    ".allocators.skfolio_optimizer",
    ".brokers.costs",
    ".brokers.paper",
    ".brokers.simulated",
    ".data_sources.csv_files",
    ".data_sources.fmp",
    ".data_sources.sample",
    ".indicators.standard",
    ".risk.sizes",
    ".risk.stops",
    ".strategies.buy_and_hold",
    ".strategies.mean_reversion",
    ".strategies.momentum",
    ".strategies.sma_cross",
)
