"""Bundled indicators."""
