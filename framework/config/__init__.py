"""Shape of a run config and how it is read."""
