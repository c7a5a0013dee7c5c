"""Benchmarks and the latency gate. README.md in this folder lists the commands."""
