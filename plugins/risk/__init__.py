"""Bundled risk rules."""
