"""Offline: from a pretrained encoder and labelled text to a checkpoint that `onnx_export` turns into an artifact."""
