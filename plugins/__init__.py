"""First-party plugins: they come in through the same entry-point group, and use the same public API, as anyone's."""

#: The modules of this package that hold plugins, relative to it; each is imported on its own.
PLUGIN_MODULES = (
    ".data_sources.sample",
    ".indicators.standard",
)
