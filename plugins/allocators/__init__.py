"""Bundled allocators."""
