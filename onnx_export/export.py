"""Export a Hugging Face checkpoint to a float32 ONNX graph and to fp16 weights."""

import json
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# The files that a model needs besides its weights. Other files that optimum or transformers write are left out.
COMPANIONS = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def export(model: str, out: Path) -> None:
    """Export the classifier `model`, a directory or hub name, to `model.onnx` (float32) with its companions."""
    main_export(model, out, task="text-classification", framework="pt", do_validation=True, no_post_process=True)


def save_half(model: str, out: Path) -> None:
    """Write `model.safetensors` in fp16 with config and tokenizer, for the PyTorch backend."""
    AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float16).save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    tokenizer = out / "tokenizer.json"  # a third of the file is indentation
    if tokenizer.is_file():
        tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), ensure_ascii=False, separators=(",", ":")))
