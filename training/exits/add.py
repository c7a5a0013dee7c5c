"""Add exits to an artifact: train their heads, choose their thresholds, cut the graph, and check what comes out."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from app.inference.artifact import Artifact, open_artifact
from app.inference.exits import EXITS, PARTS, Exit, Exits
from app.inference.files import MANIFEST, SIGNATURE
from app.inference.model import load_model
from app.inference.scores import softmax
from app.inference.text import normalise
from onnx_export.cut import Head, check_layers, cut
from onnx_export.golden import measure_held_out
from onnx_export.manifest import describe
from onnx_export.samples import texts_of
from onnx_export.verify import Sample
from training.errors import InputError
from training.exits.check import check, measure
from training.exits.heads import answer, fit_head, fit_temperature
from training.exits.states import Array, Pooled, pool
from training.exits.thresholds import Answers, Integers, Limits, Outcome, choose
from training.files import read_json, replace_directory

_HELD_OUT_SHARE, _MOST_HELD_OUT = 0.1, 4000  # of the texts: the thresholds must hold on them, too
FEWEST_TEXTS = 200
_OWN = "(held out)"  # the name of that part of the texts, as a set
_PLACES = (1 / 2, 2 / 3)  # of exits, in shares of the layers

Heads = Mapping[int, tuple[Head, float]]  # with their temperatures, by layers


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train heads. `after` are the layers that may get an exit; none means half of them and two thirds."""

    after: tuple[int, ...] = ()
    units: int = 16
    epochs: int = 10
    seed: int = 7


_SETTINGS, _LIMITS = Settings(), Limits()


def add_exits(
    directory: Path,
    texts: Sequence[str],
    samples: Sequence[Sample],
    *,
    settings: Settings = _SETTINGS,
    limits: Limits = _LIMITS,
    version: str | None = None,
    on_note: Callable[[str], object] = print,
) -> dict[str, Outcome]:
    """Give the artifact in `directory` exits; return what they change on each sample, as it is served.

    Heads learn from `texts`, which need no labels. The thresholds are those with the least work that keep to `limits`
    on every one of `samples`, and on a part of the texts. Raises `InputError` if the graph cannot be cut, or if no exit
    keeps to the limits; then nothing is changed.
    """
    artifact = replace(open_artifact(str(directory)), exits=None)
    if not artifact.manifest or not (file := artifact.files.get("int8") or artifact.files.get("onnx")):
        raise InputError(f"{directory} is not an artifact; export it first, with python -m onnx_export")
    texts = [text for text in dict.fromkeys(texts) if normalise(text)]
    if len(texts) < FEWEST_TEXTS:
        raise InputError(f"heads need at least {FEWEST_TEXTS} texts to learn from, and there are {len(texts)}")
    layers = count_layers(artifact)
    after = settings.after or usual_exits(layers)
    check_layers(onnx.load(file, load_external_data=False), after)
    if (directory / SIGNATURE).is_file():
        on_note("The signature does not cover exits and is removed; sign the artifact again")

    on_note(f"The whole model answers {len(texts):,} texts")
    everything = pool(artifact, file, texts, after)
    order = np.random.default_rng(settings.seed).permutation(len(texts))
    held_out, learnt = np.split(order, [min(_MOST_HELD_OUT, round(_HELD_OUT_SHARE * len(texts)))])
    on_note(f"Heads after {' and '.join(map(str, after))} of {layers} layers learn from {len(learnt):,} of them")
    targets = softmax(everything.logits, artifact.temperature)
    heads = {layer: _fit(states, targets, learnt, held_out, settings) for layer, states in everything.states.items()}
    sets = [_answers(artifact, heads, pool(artifact, file, sample.texts, after), sample) for sample in samples]
    thresholds = choose([*sets, _answers(artifact, heads, everything.take(held_out))], after, layers, limits)
    if not thresholds:
        raise InputError("no exit keeps to the limits on all sets; nothing was changed")
    parts = tuple(f"{file.stem}.part{number}.onnx" for number in range(1, len(thresholds) + 2))
    chosen = tuple(Exit(layer, heads[layer][1], row) for layer, row in sorted(thresholds.items()))
    graphs = cut(file, {layer: heads[layer][0] for layer in thresholds})

    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / directory.name
        shutil.copytree(directory, fresh)
        for old in [*fresh.glob(PARTS), fresh / SIGNATURE]:
            old.unlink(missing_ok=True)
        for name, graph in zip(parts, graphs, strict=True):
            (fresh / name).write_bytes(graph.SerializeToString())
        _write(fresh / EXITS, Exits(file.name, layers, parts, chosen).render())
        record = read_json(fresh / MANIFEST)
        files = {name: each for name, each in record["files"].items() if not Path(name).match(PARTS)}
        files |= {name: describe(fresh / name) for name in (EXITS, *parts)}
        _write(fresh / MANIFEST, record | {"files": dict(sorted(files.items()))})
        served = load_model(str(fresh), backend="onnx", device="cpu")
        check(served, load_model(str(fresh), backend="onnx", device="cpu", depth="full"), texts_of(samples))
        outcomes = {each.name: measure(served, each.texts, sets[place]) for place, each in enumerate(samples)}
        figures = {name: asdict(each) for name, each in outcomes.items()}
        record = read_json(fresh / MANIFEST) | ({"version": version} if version else {})
        record["metrics"] = record.get("metrics", {}) | {"exits": figures}
        record["development"] = measure_held_out(served, texts_of(samples)).render()
        _write(fresh / MANIFEST, record)
        replace_directory(directory, fresh)
    return outcomes


def usual_exits(layers: int) -> tuple[int, ...]:
    """Return after which of so many layers exits are tried if nothing else is said."""
    return tuple(sorted({max(1, round(layers * place)) for place in _PLACES}))


def count_layers(artifact: Artifact) -> int:
    """Return how many layers a model has. Raises `InputError` if it does not say so."""
    config = artifact.source.read_json("config.json")
    layers = config.get("n_layers", config.get("num_hidden_layers"))
    if not isinstance(layers, int) or layers < 2:
        raise InputError(f"{artifact.directory / 'config.json'} does not say that the model has several layers")
    return layers


def _fit(
    states: Array, targets: NDArray[np.float64], learnt: Integers, held_out: Integers, settings: Settings
) -> tuple[Head, float]:
    """Return a head, and its temperature."""
    head = fit_head(states[learnt], targets[learnt], units=settings.units, epochs=settings.epochs, seed=settings.seed)
    return head, fit_temperature(answer(head, states[held_out]), targets[held_out])


def _answers(artifact: Artifact, heads: Heads, pooled: Pooled, sample: Sample | None = None) -> Answers:
    early = {
        layer: softmax(answer(head, pooled.states[layer]), temperature) for layer, (head, temperature) in heads.items()
    }
    labels = sample.labels if sample else None
    truth = np.array([artifact.labels.index(label) for label in labels]) if labels else None
    whole = softmax(pooled.logits, artifact.temperature)
    return Answers(sample.name if sample else _OWN, early, whole, pooled.tokens, truth)


def _write(file: Path, record: Mapping[str, object]) -> None:
    file.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
