"""Export a checkpoint to ONNX, quantise it to int8, and compare int8 with float32.

The artifact is only written if int8 stays within the limits. If its scores depend on the other texts in a batch, the
artifact is served in float32 instead.
"""

import argparse
import json
import logging
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from app.errors import SentimentError
from app.inference.artifact import open_artifact
from app.inference.files import GOLDEN, MANIFEST
from app.inference.golden import render_golden
from app.inference.text import normalise
from app.inference.tokenizer import Tokenizer
from onnx_export.calibrate import record
from onnx_export.export import COMPANIONS, naming, prepare
from onnx_export.fuse import fuse
from onnx_export.golden import add_golden_argument, hold_out, read_golden_source
from onnx_export.manifest import write_manifest
from onnx_export.narrow import narrow
from onnx_export.quantize import down_projections, products, quantize, simplify
from onnx_export.samples import evenly, samples_of, texts_of
from onnx_export.unpad import unpad
from onnx_export.verify import (
    Invariance,
    Limits,
    Parity,
    ParityError,
    Report,
    Sample,
    can_load,
    compare,
    invariance,
    logits_of,
    same_logits,
    spell,
)
from training.data import add_layout_arguments, read_tables
from training.errors import InputError
from training.files import read_json, replace_directory

_LIMITS = Limits()
_CALIBRATION_TEXTS = 400
_INVARIANCE_TEXTS = 400
_PASSAGES, _SENTENCES = 8, 40  # joined texts, and how many texts each has: as long as the model reads


def main(argv: list[str] | None = None) -> None:
    """Run the command line. If int8 differs too much from float32, exit with code 1 and write nothing."""
    parser = argparse.ArgumentParser(prog="python -m onnx_export", description=__doc__)
    parser.add_argument("model", help="directory or hub name of a sequence classifier")
    parser.add_argument(
        "--out", type=Path, required=True, help="directory for the artifact; an existing artifact is replaced"
    )
    parser.add_argument(
        "--dev",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="labelled text to compare on (formats: docs/training.md; default: sentences of the behavioural suite)",
    )
    parser.add_argument(
        "--calibration",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="text from which the ranges of activations are taken (default: that of --dev)",
    )
    add_golden_argument(parser)
    add_layout_arguments(parser)
    parser.add_argument("--version", default="1", help="version of the model, for the manifest (default: %(default)s)")
    parser.add_argument("--fp32", action="store_true", help="also keep the float32 ONNX file")
    parser.add_argument(
        "--max-lost-points",
        type=float,
        default=_LIMITS.lost_points,
        metavar="P",
        help="percentage points of accuracy that int8 may lose on each set (default: %(default)s)",
    )
    parser.add_argument(
        "--max-other-labels",
        type=float,
        default=_LIMITS.other_labels,
        metavar="P",
        help="percentage of texts in each set that may get another label from int8 (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    limits = Limits(args.max_lost_points, args.max_other_labels)
    logging.root.setLevel(logging.WARNING)  # importing the quantiser enables all log messages
    try:
        samples = samples_of(read_tables(args.dev, args).rows if args.dev else [])
        texts = read_tables(args.calibration, args, labelled=False) if args.calibration else []
        calibration = [example.text for example in texts]
        report = build(
            args.model,
            args.out,
            samples,
            calibration,
            golden=read_golden_source(args),
            version=args.version,
            keep_fp32=args.fp32,
            limits=limits,
        )
    except (ParityError, SentimentError, InputError, OSError, MemoryError) as error:
        sys.exit(f"nothing was written: {str(error) or type(error).__name__}")
    print(json.dumps(asdict(report), indent=2))
    print(f"To serve it: SENTIMENT_MODEL={shlex.quote(str(args.out))} make serve")


def build(
    model: str,
    out: Path,
    samples: list[Sample],
    calibration: Sequence[str] = (),
    *,
    held_out: Sequence[str] = (),
    golden: Sequence[str] = (),
    version: str,
    keep_fp32: bool,
    limits: Limits = _LIMITS,
) -> Report:
    """Export `model` to the artifact `out`, and return how it was checked.

    Ranges of activations are taken from the texts `calibration`, or from those of `samples`. The development
    distributions are those of the texts `held_out`, or of `samples`. The golden texts are chosen from `golden`, or from
    the same texts. If int8 scores depend on
    the other texts in a batch, the artifact has float32 instead. Raises `ParityError` if int8 exceeds the limits, or if
    float32 scores depend on other texts, too. `out` is unchanged then.
    """
    _check_places(model, out)
    labels = open_artifact(model).labels
    samples = [spell(sample, labels) for sample in samples]
    with tempfile.TemporaryDirectory() as scratch, naming(model, Path(scratch)):
        work = Path(scratch)
        prepare(model, work)
        texts = texts_of(samples)
        shipped = texts_of(samples_of([]))
        # A range that fits only a few texts is too narrow for others.
        ranges = list(calibration or texts)
        ranges += shipped if len(ranges) < _CALIBRATION_TEXTS else []
        parities = quantize_within_limits(work, samples, limits, ranges)
        invariant = _precision_to_serve(work, [*texts, *shipped])
        kept = {"int8": ["model_int8.onnx"], "fp32": ["model.onnx"]}[invariant.precision]

        fresh = work / "artifact"
        fresh.mkdir()
        for name in COMPANIONS:
            if (work / "half" / name).is_file():
                shutil.copyfile(work / "half" / name, fresh / name)
        for name in {"half/model.safetensors", *kept, *(["model.onnx"] if keep_fp32 else [])}:
            shutil.copyfile(work / name, fresh / Path(name).name)
        report = Report(parities if invariant.precision == "int8" else {}, invariant)
        golden_texts, development = hold_out(fresh, held_out or texts, golden)
        (fresh / GOLDEN).write_text(render_golden(golden_texts), encoding="utf-8")
        write_manifest(fresh, version, asdict(report), development.render(), _provenance(model))
        open_artifact(str(fresh))

        if (out / "MODEL_CARD.md").is_file():
            shutil.copyfile(out / "MODEL_CARD.md", fresh / "MODEL_CARD.md")  # written by hand
        replace_directory(out, fresh)
    return report


def _precision_to_serve(directory: Path, texts: Sequence[str]) -> Invariance:
    """Return the result of the fastest precision whose scores do not depend on the other texts in a batch."""
    compared = evenly(texts, _INVARIANCE_TEXTS)
    result = invariance(directory, "int8", compared)
    if not result.passes:
        print(f"{result}; the artifact is served in float32 instead", file=sys.stderr)
        result = invariance(directory, "fp32", compared)
        if not result.passes:
            raise ParityError(str(result))
    return result


def _check_places(model: str, out: Path) -> None:
    """Raise `InputError` if `model` does not exist, or if `out` holds anything but an artifact."""
    if model.startswith(("/", "./", "../", "~")) and not Path(model).expanduser().is_dir():
        raise InputError(f"{model}: no such directory")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / MANIFEST).is_file():
        raise InputError(f"{out} exists and is not an artifact; choose a new directory")
    if out.resolve() == Path(model).resolve():
        raise InputError("the artifact cannot replace the checkpoint that it is made from")


def quantize_within_limits(
    directory: Path, samples: list[Sample], limits: Limits, calibration: Sequence[str]
) -> dict[str, Parity]:
    """Write `model_int8.onnx` next to `model.onnx`: the fastest variant that passes on every sample.

    If a sample does not pass, one more down-projection is quantised in parts, which is slower and more precise. The
    first layers come first, because their errors affect all later layers. Raises `ParityError` if all of them are not
    enough.
    """
    artifact = open_artifact(str(directory))
    target = directory / "model_int8.onnx"
    references = [logits_of(directory, "fp32", sample.texts) for sample in samples]
    graph = _optimise(directory / "model.onnx", samples)
    tokenizer = Tokenizer.load(directory, artifact.max_tokens)
    encodings = tokenizer.encode_many([normalise(text) for text in _calibration(calibration)])
    activations = record(graph, products(graph), encodings, artifact.pad_id)
    sensitive = down_projections(graph)
    for in_parts in range(len(sensitive) + 1):
        quantize(graph, target, activations, sensitive[:in_parts])
        parities = {
            sample.name: compare(sample, artifact.labels, reference, logits_of(directory, "int8", sample.texts))
            for sample, reference in zip(samples, references, strict=True)
        }
        try:
            for name, parity in parities.items():
                parity.check(name, limits)
        except ParityError as error:
            print(f"{in_parts} of {len(sensitive)} down-projections in parts: {error}", file=sys.stderr)
            if in_parts == len(sensitive):
                raise
        else:
            break
    return parities


def _optimise(source: Path, samples: Sequence[Sample]) -> Path:
    """Write a float32 graph with fewer operations and, if possible, none for padding; return its path."""
    names = ("fused", "narrow", "simple", "unpadded")
    fused, narrowed, simple, unpadded = (source.with_name(f"{name}.onnx") for name in names)
    fuse(source, fused)
    narrow(fused, narrowed)
    simplify(narrowed if can_load(narrowed) else fused, simple)
    texts = texts_of([*samples, *samples_of([])])
    return unpadded if unpad(simple, unpadded) and same_logits(unpadded, simple, texts) else simple


def _calibration(texts: Sequence[str]) -> list[str]:
    """Return some of `texts`, and passages made of them, because long texts have other activations."""
    chosen = evenly(texts, _CALIBRATION_TEXTS)
    passages = [" ".join(chosen[start : start + _SENTENCES]) for start in range(0, len(chosen), _SENTENCES)]
    return [*chosen, *passages[:_PASSAGES]]


def _provenance(model: str) -> dict[str, object]:
    record = Path(model) / "training.json"
    if record.is_file():
        return {"training": read_json(record)}
    return {"source": Path(model).name if Path(model).exists() else model}


if __name__ == "__main__":
    main()
