"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

__version__ = "0.1.0"
