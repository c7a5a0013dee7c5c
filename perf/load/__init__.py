"""Servers under test, the load that is put on them, and the texts it sends."""
