"""Sweeps: a config run many times with other values, on every core or on a cluster."""
