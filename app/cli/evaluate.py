"""`rt-sentiment evaluate`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..tables import INPUTS, Columns, Source, Window, open_reader, source_of
from .console import print_json, print_rich, print_table, progress
from .exits import FAILED, OK, WRONG_USAGE, Failure
from .flags import MODEL_SETTINGS, read_settings, setting_flags

if TYPE_CHECKING:
    from .metrics import Report


@click.command()
@click.argument("file", metavar="INPUT")
@click.option("-c", "--text-column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option("-l", "--label-column", default="label", show_default=True, metavar="NAME", help="Column of the label.")
@click.option("--input-format", type=click.Choice(INPUTS[:-1]), help="Needed if the name of the input does not say it.")
@click.option("--encoding", default="", metavar="NAME", help="Encoding of the input.  [default: UTF-8, or by its BOM]")
@click.option("--delimiter", default="", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'.")
@click.option("--no-quotes", is_flag=True, help="Quotes in CSV and TSV are ordinary characters.")
@click.option("--min-accuracy", type=click.FloatRange(0, 1), help="Exit with 1 if the accuracy is lower.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(MODEL_SETTINGS)
def evaluate(
    *,
    file: str,
    text_column: str | None,
    label_column: str,
    input_format: str | None,
    encoding: str,
    delimiter: str,
    no_quotes: bool,
    min_accuracy: float | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Measure the model on INPUT, a file of texts with labels.

    Reports the accuracy with its 95 % confidence interval, macro F1, the figures of each class, the confusion matrix
    and the calibration error. A label is a name of a class, in any letter case, or its number from 0.
    """
    source = source_of(file, input_format, encoding, delimiter, quotes=not no_quotes)
    texts, labels = _read(source, text_column, label_column)
    from .scorer import load_scorer

    settings = read_settings(flags)
    scorer = load_scorer(settings, "truncate")
    truth = [_index(label, scorer.labels, number) for number, label in enumerate(labels, 1)]
    from ..types import Prediction
    from .metrics import measure

    results = []
    with progress(len(texts), 0, "texts", quiet=as_json) as advance:
        for start in range(0, len(texts), scorer.window.rows):
            results += scorer.score(texts[start : start + scorer.window.rows])
            advance(len(results))
    rows = [(index, each) for index, each in zip(truth, results, strict=True) if isinstance(each, Prediction)]
    if not rows:
        raise Failure(f"{source.name}: it has no text that the model can read")
    answered = [index == scorer.labels.index(each.label) for index, each in rows if each.shown_label is not None]
    report = measure(
        [index for index, _ in rows],
        [scorer.labels.index(each.label) for _, each in rows],
        [each.confidence for _, each in rows],
        scorer.labels,
    )
    if as_json:
        print_json(
            {"model": scorer.description["model"], "errors": len(results) - len(rows), "answered": len(answered)}
            | asdict(report)
        )
    else:
        _show(report, len(results) - len(rows))
        if settings.abstain_below:
            share = sum(answered) / max(1, len(answered))
            print_rich(f"with a label       {len(answered):,} of {len(rows):,}, of which {share:.4f} are right")
    return FAILED if min_accuracy is not None and report.accuracy < min_accuracy else OK


def _read(source: Source, text_column: str | None, label_column: str) -> tuple[list[str], list[str]]:
    texts: list[str] = []
    labels: list[str] = []
    with open_reader(source, Columns(text_column)) as reader:
        for rows in reader.windows(Window()):
            try:
                labels += rows.column(label_column)
            except KeyError:
                raise Failure(f"{source.name}: no column {label_column}; use --label-column", WRONG_USAGE) from None
            texts += rows.texts
    if not texts:
        raise Failure(f"{source.name}: it has no rows")
    return texts, labels


def _index(label: str, labels: Sequence[str], row: int) -> int:
    """Return the index of a label that is a name or a number."""
    names = [name.lower() for name in labels]
    name = label.strip().lower()
    if name not in names and name.endswith(".0"):  # a column of integers becomes one of floats if a value is missing
        name = name.removesuffix(".0")
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise Failure(
        f"row {row}: its label is none of {', '.join(labels)}, and no number below {len(labels)}", WRONG_USAGE
    )


def _show(report: "Report", errors: int) -> None:
    low, high = report.interval
    print_rich(f"rows               {report.rows:,}" + (f", and {errors:,} without a prediction" if errors else ""))
    print_rich(f"accuracy           {report.accuracy:.4f}  (95 % interval {low:.4f} to {high:.4f})")
    print_rich(f"macro F1           {report.macro_f1:.4f}")
    print_rich(f"calibration error  {report.calibration_error:.4f}")
    figures = [
        (name, f"{each.rows:,}", f"{each.precision:.4f}", f"{each.recall:.4f}", f"{each.f1:.4f}")
        for name, each in report.classes.items()
    ]
    print_table(("class", "rows", "precision", "recall", "F1"), figures, numbers=range(1, 5))
    counts = [
        (name, *(f"{count:,}" for count in row)) for name, row in zip(report.classes, report.confusion, strict=True)
    ]
    columns = ("label, then predicted as", *report.classes)
    print_table(columns, counts, numbers=range(1, len(columns)))
