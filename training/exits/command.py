"""`python -m training exits`: let a model answer after some of its layers, where it is sure.

The artifact is changed, and its graph stays as it was: other programs run it as before. Heads learn from texts like
those that will be served; no labels are needed. They may change the labels of few texts of each set of --dev.
"""

import argparse
from pathlib import Path

from app.inference.artifact import open_artifact
from onnx_export.samples import samples_of
from onnx_export.verify import spell
from training.data import add_layout_arguments, read_tables
from training.errors import UsageError
from training.exits.add import Settings, add_exits
from training.exits.thresholds import Limits, describe_exits

_SETTINGS, _LIMITS = Settings(), Limits()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("artifact", type=Path, help="directory that the exporter has written, which is changed")
    parser.add_argument(
        "--texts", nargs="+", required=True, metavar="SOURCE", help="text to learn from (formats: docs/training.md)"
    )
    parser.add_argument(
        "--dev", nargs="+", required=True, metavar="SOURCE", help="labelled text on which the limits must hold"
    )
    add_layout_arguments(parser)
    parser.add_argument(
        "--after",
        type=_layers,
        default=(),
        metavar="N,…",
        help="layers after which an exit is tried (default: half of them, and two thirds)",
    )
    parser.add_argument("--units", type=int, default=_SETTINGS.units, help="units of a head (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=_SETTINGS.epochs, help="times that each text is seen (default: %(default)s)"
    )
    parser.add_argument(
        "--max-other-labels",
        type=float,
        default=_LIMITS.other_labels,
        metavar="P",
        help="percentage of texts in each set that may get another label (default: %(default)s)",
    )
    parser.add_argument(
        "--max-lost-points",
        nargs="+",
        default=[str(_LIMITS.lost_points)],
        metavar="P",
        help="percentage points of accuracy that may be lost on each set; SET=P for one of them "
        f"(default: {_LIMITS.lost_points})",
    )
    parser.add_argument("--seed", type=int, default=_SETTINGS.seed, help="of the heads (default: %(default)s)")
    parser.add_argument("--version", help="another version for the manifest (default: the one that it has)")


def main(args: argparse.Namespace) -> None:
    labels = open_artifact(str(args.artifact)).labels
    samples = [spell(sample, labels) for sample in samples_of(list(read_tables(args.dev, args).rows))]
    texts = [row.text for row in read_tables(args.texts, args, labelled=False).rows]
    outcomes = add_exits(
        args.artifact,
        texts,
        samples,
        settings=Settings(args.after, args.units, args.epochs, args.seed),
        limits=_limits(args, {sample.name for sample in samples}),
        version=args.version,
    )
    print("\n".join(describe_exits(outcomes)))


def _limits(args: argparse.Namespace, names: set[str]) -> Limits:
    points: dict[str, float] = {}
    for stated in args.max_lost_points:
        name, _, number = stated.rpartition("=")
        if name and name not in names:
            raise UsageError(f"--max-lost-points: no set is called {name}; the sets are {', '.join(sorted(names))}")
        try:
            points[name] = float(number)
        except ValueError:
            raise UsageError(f"--max-lost-points takes a number, or SET=number, and not {stated!r}") from None
    return Limits(args.max_other_labels, points.pop("", _LIMITS.lost_points), points)


def _layers(value: str) -> tuple[int, ...]:
    try:
        layers = tuple(sorted({int(each) for each in value.split(",")}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes numbers of layers, such as 2,3, and not {value!r}") from None
    if layers[0] < 1:
        raise argparse.ArgumentTypeError("counts layers from 1")
    return layers
