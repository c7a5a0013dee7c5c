"""Export a Hugging Face checkpoint to a float32 ONNX graph and to fp16 weights."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from optimum.exporters.onnx import main_export
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from app.errors import SentimentError
from app.inference.artifact import open_artifact
from app.inference.model import load_model
from onnx_export.tokens import compare_tokens
from training.errors import InputError

# The files that a model needs besides its weights. Other files that optimum or transformers write are left out.
COMPANIONS = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def prepare(model: str, work: Path) -> None:
    """Write `model`, a directory or hub name, to `work`: a float32 graph, and fp16 weights in `half`.

    Both have a tokenizer with the same token ids as that of transformers, which cuts texts to what the graph reads.
    Raises `InputError` if the model is not a classifier, cannot be exported, or has a tokenizer that cannot be served.
    """
    directory = str(open_artifact(model).directory)
    try:
        save_half(directory, work / "half")
    except Exception as error:  # transformers and safetensors raise many types
        # A full disk, for example, is not the fault of the model. transformers raises OSError without a number.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise InputError(f"{model}: transformers cannot load it: {error}") from error
    try:
        export(directory, work)
        graph = load_model(str(work), backend="onnx", device="cpu", precision="fp32", slots=1)
    except (OSError, MemoryError):  # see above
        raise
    except Exception as error:  # optimum raises many types for what it does not support
        kind = json.loads((work / "half" / "config.json").read_text()).get("model_type")
        reason = str(error) if isinstance(error, SentimentError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{model}: a model of the type {kind} cannot be exported to ONNX ({reason.partition('. ')[0]}). "
            f"You can serve it with PyTorch: SENTIMENT_BACKEND=torch SENTIMENT_MODEL={model} make serve"
        ) from error
    for folder in (work, work / "half"):
        _limit(folder, graph.artifact.max_tokens)
    compare_tokens(directory, work / "half", graph.artifact.max_tokens)


@contextmanager
def naming(model: str, work: Path) -> Iterator[None]:
    """Make errors name `model` instead of the temporary folder `work`."""
    try:
        yield
    except (SentimentError, InputError) as error:
        message = str(error)
        for folder in (work / "half", work / "artifact", work):
            message = message.replace(str(folder.resolve()), model).replace(str(folder), model)
        raise InputError(message) from error


def export(model: str, out: Path) -> None:
    """Export the classifier `model`, a directory or hub name, to `model.onnx` (float32) with its companions."""
    main_export(model, out, task="text-classification", framework="pt", do_validation=True, no_post_process=True)


def save_half(model: str, out: Path) -> None:
    """Write `model.safetensors` in fp16 with config and tokenizer, for the PyTorch backend."""
    half, loading = AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float16, output_loading_info=True
    )
    if missing := sorted(loading["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"the weights are not those of a classifier: no {missing[0]}")
    half.save_pretrained(out, max_shard_size="1TB")  # one file: its name is in the manifest
    AutoTokenizer.from_pretrained(model).save_pretrained(out)
    tokenizer = out / "tokenizer.json"  # a third of the file is indentation
    if tokenizer.is_file():
        tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), ensure_ascii=False, separators=(",", ":")))


def _limit(folder: Path, max_tokens: int) -> None:
    """Write the token limit into the tokenizer's config, so that it is known before the model runs."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    if config.get("model_max_length", max_tokens + 1) > max_tokens:
        file.write_text(json.dumps(config | {"model_max_length": max_tokens}, indent=2, ensure_ascii=False) + "\n")
