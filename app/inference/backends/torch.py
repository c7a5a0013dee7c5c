"""PyTorch: the backend for GPUs and for models without an ONNX export. The only module that imports torch."""

import math
import threading
from typing import Any

import torch
from safetensors.torch import load
from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PretrainedConfig
from transformers.utils import logging

from ...errors import ArtifactError, BackendError
from ...types import Batch, FloatArray
from ..artifact import Artifact

# What transformers reports belongs in the log of the process, and not between its lines.
logging.disable_progress_bar()
logging.disable_default_handler()
logging.enable_propagation()

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_POSITION_TABLES = ("position_embeddings", "wpe", "embed_positions")  # wpe: GPT-2; embed_positions: BART and OPT


class TorchBackend:
    """A transformers model in inference mode, on CUDA (bf16 by default) or on the CPU (fp32 by default)."""

    name = "torch"
    skips_padding = False

    def __init__(self, artifact: Artifact, *, device: str = "cpu", precision: str = "auto", slots: int = 1) -> None:
        """Load the safetensors weights; raise `BackendError` if the device or the precision is not available."""
        if device == "cuda" and not torch.cuda.is_available():
            raise BackendError("PyTorch finds no CUDA device")
        if "safetensors" not in artifact.files:
            raise BackendError(f"{artifact.directory}: no PyTorch weights")
        if precision == "auto":
            precision = "bf16" if device == "cuda" else "fp32"
        if precision not in _DTYPES:
            raise BackendError(f"PyTorch supports {', '.join(_DTYPES)}, not {precision}")
        self.device = device
        self.precision = precision
        self.slots = slots
        self._thread = threading.local()
        try:
            config = _config(artifact)
            # From bytes that have been verified: transformers would read the files again, and others beside them.
            model, loading = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)].from_pretrained(
                None,
                config=config,
                state_dict=_weights(artifact),
                dtype=_DTYPES[precision],
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        except ArtifactError:
            raise
        except Exception as error:  # transformers and safetensors raise many types
            raise BackendError(f"{artifact.directory}: PyTorch cannot load it: {error}") from error
        if missing := sorted(loading["missing_keys"]):  # transformers fills them with random numbers
            raise BackendError(f"{artifact.directory}: the weights are not those of a classifier: no {missing[0]}")
        self._model = model.to(device).eval()
        self._max_tokens = _max_tokens(model)

    def run(self, batch: Batch) -> FloatArray:
        """See `Backend.run`."""
        if not hasattr(self._thread, "ready"):
            # This setting is per thread, as in OpenMP. The slots run in parallel, so each needs only one thread.
            torch.set_num_threads(1)
            self._thread.ready = True
        if batch.input_ids.shape[1] > self._max_tokens:  # a GPU would not run anything after this error
            raise BackendError(f"the model has positions for {self._max_tokens} tokens")
        with torch.inference_mode():
            ids = torch.from_numpy(batch.input_ids).to(self.device, non_blocking=True)
            mask = torch.from_numpy(batch.attention_mask).to(self.device, non_blocking=True)
            logits = self._model(input_ids=ids, attention_mask=mask).logits
            array: FloatArray = logits.float().cpu().numpy()
            return array


def _config(artifact: Artifact) -> PretrainedConfig:
    config = artifact.source.read_json("config.json")
    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING or CONFIG_MAPPING[kind] not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise BackendError(f"transformers has no classifier of the type {kind}, which config.json states")
    # Code that the directory or the hub may have for it is not run.
    return CONFIG_MAPPING[kind].from_dict({key: value for key, value in config.items() if key != "auto_map"})


def _weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, content in artifact.read_weights(artifact.files["safetensors"]):
        if not name.endswith(".json"):  # the index of the shards
            tensors.update(load(content))
        del content
    return tensors


def _max_tokens(model: Any) -> float:
    """Return how many tokens the tables of positions have room for.

    Some count positions from an offset (BART, OPT), and others from after the padding id.
    """
    tables = [
        table
        for name, table in model.named_modules()
        if name.rpartition(".")[2] in _POSITION_TABLES and isinstance(table, torch.nn.Embedding)
    ]
    return min((table.num_embeddings - _first_position(table) for table in tables), default=math.inf)


def _first_position(table: torch.nn.Embedding) -> int:
    after_padding = 0 if table.padding_idx is None else table.padding_idx + 1
    first: int = getattr(table, "offset", after_padding)
    return first
