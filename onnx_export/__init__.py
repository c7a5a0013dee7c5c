"""Offline: from a PyTorch checkpoint to the artifact that is served, and proof that nothing was lost on the way."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see app/inference/backends/onnx.py
