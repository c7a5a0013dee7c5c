"""ONNX Runtime: the backend for CPUs, and for CUDA where its GPU build is installed."""

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Recent versions of ONNX Runtime send telemetry from Linux, too, with an id of the machine, unless this variable is set
# before they start (microsoft/onnxruntime#27379). The operator of a service decides what it reports.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime as ort

from ...cpu import overflows_in_int8
from ...errors import BackendError
from ...logs import log
from ...types import Batch, FloatArray, IntArray
from ..artifact import Artifact
from ..exits import LOGITS, NEXT_STATES, STATES
from ..padding import SKIPS_PADDING

# On a CPU this fused node takes several times as long as the two nodes that it replaces: without it a run of the
# embedded model is 1.15 times as fast.
_SLOWER_FUSED = {"cpu": ["SkipLayerNormFusion"], "cuda": []}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_REQUIRED = ("input_ids", "attention_mask")
_INPUTS = (*_REQUIRED, "token_type_ids")
_TYPES = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(float)": np.float32,
    "tensor(bool)": np.bool_,
}
# Three texts for the check of a graph. Each ends with what ends a text in BART (2) or T5 (1), which need that.
_PROBE = np.array([[0, 3, 2, 1], [0, 4, 2, 1], [3, 4, 2, 1]], dtype=np.int64)
_NO_STATES = np.empty((0, 0), dtype=np.float32)
_MAX_THREADS = 4  # of a batch that runs alone; more gain little on a short text


@dataclass(frozen=True, slots=True)
class _Graph:
    """A session that all slots share; each of its runs computes with one thread.

    On a CPU with several slots there is a second session, with a second copy of the weights. Its runs use the threads
    of all slots, for a batch that runs alone and would leave the other slots idle.
    """

    narrow: ort.InferenceSession
    wide: ort.InferenceSession

    @classmethod
    def load(cls, graph: bytes, device: str, threads: int, external: Mapping[str, bytes]) -> "_Graph":
        with _in_memory(graph) as source:
            narrow = open_session(source, device, external=external)
            return cls(narrow, open_session(source, device, threads, external=external) if threads > 1 else narrow)


class OnnxBackend:
    """Runs a graph or, if the model has exits, the parts that were cut from it."""

    name = "onnx"

    def __init__(self, artifact: Artifact, *, device: str = "cpu", precision: str = "auto", slots: int = 1) -> None:
        """Load `model_int8.onnx`, or `model.onnx` if there is no such file or `precision` is fp32.

        Raises `BackendError` if the file, the precision or the device is not available.
        """
        kinds = {"auto": ("int8", "onnx"), "int8": ("int8",), "fp32": ("onnx",)}.get(precision, ())
        kind = next((kind for kind in kinds if kind in artifact.files), None)
        if kind is None:
            raise BackendError(f"{artifact.directory}: no ONNX file of precision {precision}")
        if _PROVIDERS[device] not in ort.get_available_providers():
            raise BackendError(f"this build of ONNX Runtime cannot use {device}; install onnxruntime-gpu")
        file = artifact.files[kind]
        self.device = device
        self.precision = "int8" if kind == "int8" else "fp32"
        self.slots = slots
        threads = min(slots, _MAX_THREADS) if device == "cpu" else 1
        external = dict(artifact.read_weights(file))
        graph = external.pop(file.name)
        graphs = [graph]
        self._one_by_one = _takes_scales_from_the_batch(graph)
        exits = artifact.exits
        has_exits = exits and exits.of == file.name and device == "cpu" and not self._one_by_one
        self.exits = exits if has_exits else None
        if self.exits:  # their weights are in the whole graph
            external = {**external, file.name: graph}
            graphs = [artifact.source.read(name) for name in self.exits.parts]
        self._external = external  # the sessions read it as long as they exist
        try:
            self._graphs = [_Graph.load(each, device, threads, external) for each in graphs]
        except Exception as error:  # the exceptions of ONNX Runtime have no other common base
            raise BackendError(f"{file}: ONNX Runtime cannot load it: {error}") from error
        session = self._graphs[0].narrow
        if _PROVIDERS[device] not in session.get_providers():
            raise BackendError(f"ONNX Runtime could not start on {device}: its CUDA libraries are missing")
        # Not on a GPU: attention over padding would take more than everything else in a large batch of mixed lengths.
        self.skips_padding = device == "cpu" and SKIPS_PADDING in session.get_modelmeta().custom_metadata_map
        try:
            self._types = _input_types(session)
            self._output = _output(session)
            self._check(len(artifact.labels))
        except BackendError as error:
            raise BackendError(f"{file}: {error}") from error
        if self._one_by_one:
            log(
                logging.WARNING,
                "texts run one by one",
                file=file.name,
                why="the activations of this int8 graph take their scale from the batch; "
                "export the model with `python -m onnx_export` to run texts in batches",
            )

    def run(self, batch: Batch) -> FloatArray:
        """See `Backend.run`."""
        if self._one_by_one and len(batch) > 1:
            return np.concatenate([self.run(row) for row in _rows(batch)])
        if self.exits is None:
            (logits,) = self._run(self._graphs[0], batch, [self._output], {})
            return logits
        states = None
        for part in range(len(self._graphs)):
            logits, states = self.run_part(part, batch, states)
        return logits

    def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        """See `BackendWithExits.run_part`."""
        outputs = [self._output] if part == len(self._graphs) - 1 else [LOGITS, NEXT_STATES]
        results = self._run(self._graphs[part], batch, outputs, {} if states is None else {STATES: states})
        return results[0], results[1] if len(results) > 1 else _NO_STATES

    def _run(
        self, graph: _Graph, batch: Batch, outputs: Sequence[str], states: Mapping[str, FloatArray]
    ) -> list[FloatArray]:
        names = [name for name in self._types if not states or name == "attention_mask"]
        inputs = feed(names, batch)
        typed = {name: array.astype(self._types[name], copy=False) for name, array in inputs.items()}
        session = graph.wide if batch.alone else graph.narrow
        return [array.astype(np.float32, copy=False) for array in session.run(outputs, {**typed, **states})]

    def _check(self, labels: int) -> None:
        """Raise `BackendError` unless the output has the logits of each label: the graph may come from any exporter."""
        try:
            values = self.run(Batch(_PROBE, np.ones_like(_PROBE)))
        except Exception as error:  # see above
            raise BackendError(f"ONNX Runtime cannot run it: {error}") from error
        if values.shape != (len(_PROBE), labels):
            raise BackendError(
                f"its output {self._output} has the shape {values.shape} for {len(_PROBE)} texts; "
                f"the {labels} labels of config.json need ({len(_PROBE)}, {labels})"
            )
        if (values >= 0).all() and np.allclose(values.sum(axis=1), 1, atol=0.01):
            raise BackendError(
                f"its output {self._output} has probabilities, which cannot be calibrated; "
                "export the model without the softmax at its end"
            )


def _input_types(session: ort.InferenceSession) -> dict[str, Any]:
    """Return the type of each input by its name; raise `BackendError` if one is missing or cannot be supplied."""
    inputs = {node.name: node.type for node in session.get_inputs()}
    if wrong := sorted(inputs.keys() - _INPUTS):
        raise BackendError(f"it needs the input {', '.join(wrong)}; the service only has {', '.join(_INPUTS)}")
    if missing := [name for name in _REQUIRED if name not in inputs]:
        raise BackendError(f"it has no input {', '.join(missing)}; its inputs are {', '.join(inputs)}")
    if wrong := [f"{name} of type {kind}" for name, kind in inputs.items() if kind not in _TYPES]:
        raise BackendError(f"it needs the input {', '.join(wrong)}; the service only has {', '.join(_TYPES)}")
    return {name: _TYPES[kind] for name, kind in inputs.items()}


def _output(session: ort.InferenceSession) -> str:
    names: list[str] = [node.name for node in session.get_outputs()]
    if "logits" in names:
        return "logits"
    if len(names) > 1:
        raise BackendError(f"none of its outputs is called logits; they are {', '.join(names)}")
    return names[0]


def _takes_scales_from_the_batch(graph: bytes) -> bool:
    """Return whether the graph quantises activations at run time, so that scores would depend on the other texts."""
    return b"DynamicQuantize" in graph


@contextmanager
def _in_memory(content: bytes) -> Iterator[Path | bytes]:
    """Yield `content` as a file without a name, which nothing can replace.

    ONNX Runtime would keep the bytes as long as the session exists; it reads a file and forgets it.
    """
    if not hasattr(os, "memfd_create"):  # it is not Linux
        yield content
        return
    with os.fdopen(os.memfd_create("model"), "wb") as file:
        file.write(content)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def _rows(batch: Batch) -> Iterator[Batch]:
    """Yield each text as a batch without padding."""
    for ids, mask in zip(batch.input_ids, batch.attention_mask, strict=True):
        length = int(mask.sum())
        yield replace(batch, input_ids=ids[None, :length], attention_mask=mask[None, :length])


def feed(names: Sequence[str], batch: Batch) -> dict[str, IntArray]:
    """Return the inputs of a session by name. BERT models also have `token_type_ids`, which are 0 for a single text."""
    arrays = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if "token_type_ids" in names:
        arrays["token_type_ids"] = np.zeros_like(batch.input_ids)
    return {name: arrays[name] for name in names}


@functools.cache
def _share_memory() -> None:
    """Let all sessions of the process take their memory from one arena.

    With an arena of its own, each session that replaces another one leaves some memory behind.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"arena_extend_strategy": 0}))


def open_session(
    graph: Path | bytes, device: str = "cpu", threads: int = 1, *, external: Mapping[str, bytes] | None = None
) -> ort.InferenceSession:
    """Open a session that computes correctly on any processor, with `threads` threads per run.

    With `external`, these bytes are the external data, by the names that the graph has for them, and no other file is
    read. They must not be freed before the session.
    """
    _share_memory()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    if external is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if external:
        options.add_external_initializers_from_files_in_memory(
            list(external), list(external.values()), [len(content) for content in external.values()]
        )
    # One thread per run, with several runs at a time, has the highest throughput: the slots are the parallelism.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads use a core for a second after each run. A run of several threads needs them during the run:
    # waking the others for each product would cost what they gain.
    if threads == 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    else:
        options.add_session_config_entry("session.force_spinning_stop", "1")  # at the end of a run
    # Without VNNI, sums of products of int8 weights and uint8 activations overflow 16 bits and labels are wrong
    # (microsoft/onnxruntime#6004). Exact products take 1.4 times as long, so they are used only there.
    if overflows_in_int8():
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Memory patterns are kept for each input shape, and texts have every length.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return ort.InferenceSession(
        graph if isinstance(graph, bytes) else str(graph),
        options,
        providers=[_PROVIDERS[device]],
        disabled_optimizers=_SLOWER_FUSED[device],
    )
