"""The parts of `python -m perf`: what it measures, the targets and the report."""
