"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

import os

__version__ = "0.1.0"

# From version 1.29 on ONNX Runtime reports to its makers from Linux too, and keeps an id of the machine for it, unless it
# is told before it starts (microsoft/onnxruntime#27379). What a service reports is its operator's to decide.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
