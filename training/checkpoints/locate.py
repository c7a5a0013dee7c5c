"""Where a model is that a step starts from."""

from pathlib import Path

from app.errors import ArtifactError
from app.inference.artifact import open_artifact
from training.errors import InputError


def find_checkpoint(name: str | Path) -> Path:
    """Return the directory of a checkpoint or artifact with weights for PyTorch.

    `name` is a directory, the name of an embedded model such as `sentiment-en`, or that of a model on the hub. Raises
    `InputError` if there is none, or if it has only ONNX files.
    """
    try:
        artifact = open_artifact(str(name))
    except ArtifactError as error:
        raise InputError(str(error).removesuffix(" (SENTIMENT_MODEL)")) from None
    if "safetensors" not in artifact.files:
        raise InputError(f"{name}: no model.safetensors; a training needs weights for PyTorch")
    return artifact.directory
