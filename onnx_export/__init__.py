"""Offline export: from a PyTorch checkpoint to the artifact that is served, with a check of its accuracy."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # see app/inference/backends/onnx.py
