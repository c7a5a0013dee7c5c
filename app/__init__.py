"""rt-sentiment: a low-latency asynchronous text-sentiment API."""

import os

__version__ = "0.1.0"

# Recent versions of ONNX Runtime report to its makers from Linux too, and keep an id of the machine for it, unless told
# not to before they start (microsoft/onnxruntime#27379). What a service reports is for its operator to decide.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
