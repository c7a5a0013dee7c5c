"""`python -m onnx_export MODEL --out DIRECTORY`: export, quantise, compare, and only then write the artifact."""

import argparse
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError

from app.errors import SentimentError
from app.inference.artifact import MANIFEST, open_artifact
from onnx_export.export import COMPANIONS, export, save_half
from onnx_export.fuse import fuse
from onnx_export.manifest import write_manifest
from onnx_export.narrow import narrow
from onnx_export.pack import pack
from onnx_export.quantize import down_projections, quantize
from onnx_export.verify import Limits, Parity, Sample, Unfaithful, compare, keeps_apart, loads, logits_of
from training.data import Example, read_all
from training.errors import InputError
from training.evaluation import suite_examples
from training.files import read_json

_EVERY = 5  # of how many sentences of the suite one is compared
_LIMITS = Limits()


def main(argv: list[str] | None = None) -> None:
    """Parse the command line; exit with 1, and write nothing, when int8 is not faithful to fp32."""
    parser = argparse.ArgumentParser(prog="python -m onnx_export", description=__doc__)
    parser.add_argument("model", help="directory or hub name of a sequence classifier")
    parser.add_argument("--out", type=Path, required=True, help="directory of the artifact; replaced if it exists")
    parser.add_argument("--dev", nargs="+", default=[], metavar="SOURCE", help="labelled texts to compare on")
    parser.add_argument("--version", default="1", help="version of the model, for the manifest (%(default)s)")
    parser.add_argument("--fp32", action="store_true", help="keep the float32 ONNX file too")
    parser.add_argument(
        "--max-lost-points",
        type=float,
        default=_LIMITS.lost_points,
        metavar="P",
        help="points of accuracy that int8 may lose on each set (%(default)s)",
    )
    parser.add_argument(
        "--max-other-labels",
        type=float,
        default=_LIMITS.other_labels,
        metavar="P",
        help="percent of the texts of each set to which int8 may give another label (%(default)s)",
    )
    args = parser.parse_args(argv)
    limits = Limits(args.max_lost_points, args.max_other_labels)
    logging.root.setLevel(logging.WARNING)  # importing the quantiser turns everything on
    try:
        samples = samples_of(read_all(args.dev))
        parities = build(args.model, args.out, samples, version=args.version, keep_fp32=args.fp32, limits=limits)
    except (Unfaithful, SentimentError, InputError, OSError) as error:
        sys.exit(f"nothing was written: {error}")
    print(json.dumps(_plain(parities), indent=2))


def build(
    model: str, out: Path, samples: list[Sample], *, version: str, keep_fp32: bool, limits: Limits = _LIMITS
) -> dict[str, Parity]:
    """Make the artifact `out` of `model` and return how faithful int8 is to fp32 on each sample.

    Raises `Unfaithful`, leaving `out` as it was, when int8 loses too much.
    """
    _check_places(model, out)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        try:
            export(model, work)
        except (ValueError, SafetensorError) as error:  # of a model that it cannot export
            raise InputError(f"{model}: {error}") from error
        parities = quantize_faithfully(work, samples, limits)
        save_half(model, work / "half")

        fresh = work / "artifact"
        fresh.mkdir()
        for name in COMPANIONS:
            if (work / "half" / name).is_file():
                shutil.copyfile(work / "half" / name, fresh / name)
        for name in ("half/model.safetensors", "model_int8.onnx", *(["model.onnx"] if keep_fp32 else [])):
            shutil.copyfile(work / name, fresh / Path(name).name)
        write_manifest(fresh, version, _plain(parities), _provenance(model))
        open_artifact(str(fresh))

        if (out / "MODEL_CARD.md").is_file():
            shutil.copyfile(out / "MODEL_CARD.md", fresh / "MODEL_CARD.md")  # written by people
        _replace(out, fresh)
    return parities


def _check_places(model: str, out: Path) -> None:
    """Raise `InputError` when there is nothing to export, or rather than replace anything but an artifact."""
    if model.startswith(("/", "./", "../")) and not Path(model).is_dir():
        raise InputError(f"{model}: no such directory")
    if out.exists() and (not out.is_dir() or any(out.iterdir())) and not (out / MANIFEST).is_file():
        raise InputError(f"{out} exists and is no artifact; name a new directory")
    if out.resolve() == Path(model).resolve():
        raise InputError("the artifact cannot take the place of the checkpoint that it is made from")


def _replace(out: Path, fresh: Path) -> None:
    """Put the files of `fresh` at `out`; what was there stays until they are all there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(fresh, beside)
    if out.exists():
        shutil.rmtree(out)
    beside.rename(out)


def quantize_faithfully(directory: Path, samples: list[Sample], limits: Limits) -> dict[str, Parity]:
    """Write `model_int8.onnx` beside `model.onnx`, as fast as it can be and as precise as it must be.

    One down-projection after the other is quantised in parts, from the first on, where errors have the longest way
    ahead of them, until every sample passes. Raises `Unfaithful` when not even all of them are enough.
    """
    names = open_artifact(str(directory)).labels
    source, target = directory / "model.onnx", directory / "model_int8.onnx"
    references = [logits_of(directory, "fp32", sample.texts) for sample in samples]
    graph, packs = _lean(source, samples)
    delicate = down_projections(graph)
    for in_parts in range(len(delicate) + 1):
        quantize(graph, target, delicate[:in_parts])
        if packs and not pack(target, target):
            print("rows cannot hold several texts: quantising changed the graph too much", file=sys.stderr)
        parities = {
            sample.name: compare(sample, names, reference, logits_of(directory, "int8", sample.texts))
            for sample, reference in zip(samples, references, strict=True)
        }
        try:
            for name, parity in parities.items():
                parity.check(name, limits)
        except Unfaithful as error:
            print(f"{in_parts} of {len(delicate)} down-projections in parts: {error}", file=sys.stderr)
            if in_parts == len(delicate):
                raise
        else:
            break
    return parities


def _lean(source: Path, samples: Sequence[Sample]) -> tuple[Path, bool]:
    """The graph at `source` with fewer operations, and whether it can be made to read rows of several texts."""
    fused, narrowed, packed = (source.with_name(f"{name}.onnx") for name in ("fused", "narrow", "packed"))
    fuse(source, fused)
    narrow(fused, narrowed)
    if not loads(narrowed):
        return fused, False
    return narrowed, pack(narrowed, packed) and keeps_apart(packed, narrowed, _texts([*samples, *samples_of([])]))


def _texts(samples: Sequence[Sample]) -> list[str]:
    return [text for sample in samples for text in sample.texts]


def samples_of(examples: list[Example]) -> list[Sample]:
    """The sets among `examples`; where there are none, sentences of the behavioural suite, which is of all kinds."""
    sets: dict[str, list[Example]] = {}
    for example in examples or suite_examples()[::_EVERY]:
        sets.setdefault(example.source, []).append(example)
    return [Sample(name, *_columns(rows)) for name, rows in sets.items()]


def _columns(rows: list[Example]) -> tuple[list[str], list[str] | None]:
    labels = [row.label for row in rows if row.label is not None]
    return [row.text for row in rows], labels if len(labels) == len(rows) else None


def _plain(parities: dict[str, Parity]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(parity) for name, parity in parities.items()}


def _provenance(model: str) -> dict[str, object]:
    record = Path(model) / "training.json"
    if record.is_file():
        return {"training": read_json(record)}
    return {"source": Path(model).name if Path(model).exists() else model}


if __name__ == "__main__":
    main()
