"""A Hugging Face checkpoint to a float32 ONNX graph and fp16 weights."""

import json
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# What belongs to the model beside its weights. Whatever else optimum or transformers write is left behind.
COMPANIONS = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def export(model: str, out: Path) -> None:
    """Write `model.onnx` (float32) of the sequence classifier `model`, a directory or hub name, with its companions."""
    main_export(model, out, task="text-classification", framework="pt", do_validation=True, no_post_process=True)


def save_half(model: str, out: Path) -> None:
    """Write `model.safetensors` in fp16 with its config and tokenizer, without air: for the PyTorch backend."""
    AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float16).save_pretrained(out)
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    tokenizer = out / "tokenizer.json"  # a third of it is indentation
    if tokenizer.is_file():
        tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), ensure_ascii=False, separators=(",", ":")))
