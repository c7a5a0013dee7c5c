"""Offline training: from a pretrained encoder and labelled text to a checkpoint that `onnx_export` can export."""
