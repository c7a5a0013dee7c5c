"""ONNX Runtime: the backend for CPUs, and for CUDA where its GPU build is installed."""

import os
from collections.abc import Sequence
from pathlib import Path

# Recent versions of ONNX Runtime report to their makers from Linux too, and keep an id of the machine for it, unless
# told not to before they start (microsoft/onnxruntime#27379). What a service reports is for its operator to decide.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort

from ...cpu import overflows_in_int8
from ...errors import BackendError
from ...types import Batch, FloatArray, IntArray
from ..artifact import Artifact
from ..packing import PACKS
from .alone import Alone

# On a CPU this one node takes several times as long as the two that it stands for: without it a run of the embedded
# model is 1.15 times as fast.
_SLOWER_FUSED = {"cpu": ["SkipLayerNormFusion"], "cuda": []}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_MOST_THREADS = 4  # of a run that has the machine to itself: more than that gain little on a short text


class OnnxBackend:
    """One session, shared by all slots, each of which computes with one thread of its own.

    On a CPU with several slots there is a second one, whose runs take the threads of the others, too: for a lone
    caller, who would leave all slots idle but one. It holds the weights once more.
    """

    name = "onnx"

    def __init__(self, artifact: Artifact, *, device: str = "cpu", precision: str = "auto", slots: int = 1) -> None:
        """Load `model_int8.onnx` or, when there is none or fp32 is asked for, `model.onnx`.

        Raises `BackendError` when the file, the precision or the device is not to be had.
        """
        kinds = {"auto": ("int8", "onnx"), "int8": ("int8",), "fp32": ("onnx",)}.get(precision, ())
        kind = next((kind for kind in kinds if kind in artifact.files), None)
        if kind is None:
            raise BackendError(f"{artifact.directory}: no ONNX file of precision {precision}")
        if _PROVIDERS[device] not in ort.get_available_providers():
            raise BackendError(f"this build of ONNX Runtime cannot use {device}; install onnxruntime-gpu")
        file = artifact.files[kind]
        artifact.verify(file)
        self.device = device
        self.precision = "int8" if kind == "int8" else "fp32"
        self.slots = slots
        threads = min(slots, _MOST_THREADS) if device == "cpu" else 1
        self._alone = Alone()
        try:
            self._session = self._wide = open_session(file, device)
            if threads > 1:
                self._wide = open_session(file, device, threads)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base but this
            raise BackendError(f"{file}: ONNX Runtime cannot load it: {error}") from error
        if _PROVIDERS[device] not in self._session.get_providers():
            raise BackendError(f"ONNX Runtime could not start on {device}: its CUDA libraries are missing")
        # Not on a GPU: its batches are large, and in the last layer each text has a copy of its row.
        self.packs = device == "cpu" and PACKS in self._session.get_modelmeta().custom_metadata_map
        self._inputs = [node.name for node in self._session.get_inputs()]

    def run(self, batch: Batch) -> FloatArray:
        """See `Backend.run`."""
        with self._alone.run() as alone:
            session = self._wide if alone else self._session
            logits: FloatArray = session.run(None, feed(self._inputs, batch))[0]
        return logits


def feed(names: Sequence[str], batch: Batch) -> dict[str, IntArray]:
    """What a session with inputs of these names is given; BERTs ask, too, which of two texts each token is of."""
    arrays = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if "token_type_ids" in names:
        arrays["token_type_ids"] = np.zeros_like(batch.input_ids)
    return {name: arrays[name] for name in names}


def open_session(file: Path, device: str = "cpu", threads: int = 1) -> ort.InferenceSession:
    """A session that is right on any processor; each of its runs computes with so many threads."""
    options = ort.SessionOptions()
    # One thread for each of several texts at a time is the better throughput; the slots are the parallelism.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads burn a core for a second after each query; but a run that had to wake the others for each of its
    # products would gain nothing by them.
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    else:
        options.add_session_config_entry("session.force_spinning_stop", "1")  # when a run ends
    # Without VNNI the products of int8 weights and uint8 activations overflow the 16 bits that they are added up in,
    # and labels are wrong (microsoft/onnxruntime#6004). Exact products take 1.4 times as long, so only there.
    if overflows_in_int8():
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Memory patterns are kept per input shape; with texts of every length they only grow.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(
        str(file), options, providers=[_PROVIDERS[device]], disabled_optimizers=_SLOWER_FUSED[device]
    )
