"""Export a checkpoint to ONNX, quantise it to int8, and compare int8 with float32.

The artifact is only written if int8 stays within the limits.
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
from app.inference.artifact import MANIFEST, open_artifact
from onnx_export.export import COMPANIONS, naming, prepare
from onnx_export.fuse import fuse
from onnx_export.manifest import write_manifest
from onnx_export.narrow import narrow
from onnx_export.pack import pack
from onnx_export.quantize import down_projections, quantize
from onnx_export.verify import Limits, Parity, ParityError, Sample, can_load, compare, isolates_texts, logits_of
from training.data import Example, read_all
from training.errors import InputError
from training.evaluation import suite_examples
from training.files import read_json

_SUITE_STEP = 5  # every fifth sentence of the behavioural suite is compared
_LIMITS = Limits()


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
        samples = samples_of(read_all(args.dev))
        parities = build(args.model, args.out, samples, version=args.version, keep_fp32=args.fp32, limits=limits)
    except (ParityError, SentimentError, InputError, OSError) as error:
        sys.exit(f"nothing was written: {error}")
    print(json.dumps(_as_dicts(parities), indent=2))
    print(f"To serve it: SENTIMENT_MODEL={shlex.quote(str(args.out))} make serve")


def build(
    model: str, out: Path, samples: list[Sample], *, version: str, keep_fp32: bool, limits: Limits = _LIMITS
) -> dict[str, Parity]:
    """Export `model` to the artifact `out`, and return the parity of int8 and float32 on each sample.

    Raises `ParityError` if int8 exceeds the limits. `out` is unchanged then.
    """
    _check_places(model, out)
    with tempfile.TemporaryDirectory() as scratch, naming(model, Path(scratch)):
        work = Path(scratch)
        prepare(model, work)
        parities = quantize_within_limits(work, samples, limits)

        fresh = work / "artifact"
        fresh.mkdir()
        for name in COMPANIONS:
            if (work / "half" / name).is_file():
                shutil.copyfile(work / "half" / name, fresh / name)
        for name in ("half/model.safetensors", "model_int8.onnx", *(["model.onnx"] if keep_fp32 else [])):
            shutil.copyfile(work / name, fresh / Path(name).name)
        write_manifest(fresh, version, _as_dicts(parities), _provenance(model))
        open_artifact(str(fresh))

        if (out / "MODEL_CARD.md").is_file():
            shutil.copyfile(out / "MODEL_CARD.md", fresh / "MODEL_CARD.md")  # written by hand
        _replace(out, fresh)
    return parities


def _check_places(model: str, out: Path) -> None:
    """Raise `InputError` if `model` does not exist, or if `out` holds anything but an artifact."""
    if model.startswith(("/", "./", "../")) and not Path(model).is_dir():
        raise InputError(f"{model}: no such directory")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / MANIFEST).is_file():
        raise InputError(f"{out} exists and is not an artifact; choose a new directory")
    if out.resolve() == Path(model).resolve():
        raise InputError("the artifact cannot replace the checkpoint that it is made from")


def _replace(out: Path, fresh: Path) -> None:
    """Replace `out` with a copy of `fresh`. The old files stay until the copy is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    copy = out.with_name(f".{out.name}.new")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(fresh, copy)
    if out.exists():
        shutil.rmtree(out)
    copy.rename(out)


def quantize_within_limits(directory: Path, samples: list[Sample], limits: Limits) -> dict[str, Parity]:
    """Write `model_int8.onnx` next to `model.onnx`: the fastest variant that passes on every sample.

    If a sample does not pass, one more down-projection is quantised in parts, which is slower and more precise. The
    first layers come first, because their errors affect all later layers. Raises `ParityError` if all of them are not
    enough.
    """
    names = open_artifact(str(directory)).labels
    source, target = directory / "model.onnx", directory / "model_int8.onnx"
    references = [logits_of(directory, "fp32", sample.texts) for sample in samples]
    graph, packs = _optimise(source, samples)
    sensitive = down_projections(graph)
    for in_parts in range(len(sensitive) + 1):
        quantize(graph, target, sensitive[:in_parts])
        if packs and not pack(target, target):
            print("rows cannot hold several texts, because quantisation changed the graph too much", file=sys.stderr)
        parities = {
            sample.name: compare(sample, names, reference, logits_of(directory, "int8", sample.texts))
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


def _optimise(source: Path, samples: Sequence[Sample]) -> tuple[Path, bool]:
    """Write a graph with fewer operations. Return its path, and whether its rows can hold several texts."""
    fused, narrowed, packed = (source.with_name(f"{name}.onnx") for name in ("fused", "narrow", "packed"))
    fuse(source, fused)
    narrow(fused, narrowed)
    if not can_load(narrowed):
        return fused, False
    return narrowed, pack(narrowed, packed) and isolates_texts(packed, narrowed, _texts([*samples, *samples_of([])]))


def _texts(samples: Sequence[Sample]) -> list[str]:
    return [text for sample in samples for text in sample.texts]


def samples_of(examples: list[Example]) -> list[Sample]:
    """Return the sets in `examples`, or sentences of all kinds from the behavioural suite if there are none."""
    sets: dict[str, list[Example]] = {}
    for example in examples or suite_examples()[::_SUITE_STEP]:
        sets.setdefault(example.source, []).append(example)
    return [Sample(name, *_columns(rows)) for name, rows in sets.items()]


def _columns(rows: list[Example]) -> tuple[list[str], list[str] | None]:
    labels = [row.label for row in rows if row.label is not None]
    return [row.text for row in rows], labels if len(labels) == len(rows) else None


def _as_dicts(parities: dict[str, Parity]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(parity) for name, parity in parities.items()}


def _provenance(model: str) -> dict[str, object]:
    record = Path(model) / "training.json"
    if record.is_file():
        return {"training": read_json(record)}
    return {"source": Path(model).name if Path(model).exists() else model}


if __name__ == "__main__":
    main()
