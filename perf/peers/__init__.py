"""Servers of other projects, set up to serve the same model."""
