"""Results as pages for a browser, which has fonts for every language: worst mistakes, and confusion matrices."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from training.evaluation.evaluation import Answer, Evaluation
from training.evaluation.metrics import Report

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem; border-bottom: 1px solid #ddd }
thead th { position: sticky; top: 0; background: #fff }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.text { white-space: pre-wrap; overflow-wrap: anywhere }
.matrix { font-size: 13px }
.matrix th, .matrix td { padding: .15rem .35rem; border: 1px solid #eee; white-space: nowrap }
.matrix thead th { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left }
.matrix tbody th { position: sticky; left: 0; background: #fff }
"""
_COLUMNS = ("line", "text", "label", "predicted", "confidence", "confidence of the label")


def mistakes_page(worst: Sequence[Answer], title: str, *, is_cut: bool) -> str:
    count = f"The {len(worst)} wrong answers{' with the highest confidence' if is_cut else ''}"
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "\n".join(map(_row, worst))
    return _page(
        title,
        f"<p>{count}, the most confident first. Look at the labels first: some of them may be wrong in the data.</p>\n"
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>",
    )


def write_confusion(evaluation: Evaluation, file: Path, title: str) -> None:
    """Write the confusion matrix of each set to `file`."""
    parts = [f"<h2>{escape(name)}</h2>\n{_matrix(report)}" for name, report in evaluation.reports.items()]
    text = "<p>Each row is a true class, each column a predicted class. A cell has the number of texts.</p>\n"
    file.write_text(_page(title, text + "\n".join(parts)), encoding="utf-8")


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">\n{head}\n<h1>{escape(title)}</h1>\n{body}\n</html>\n'


def _row(answer: Answer) -> str:
    cells = [
        ("number", str(answer.line or "")),
        ("text", answer.text),
        ("label", answer.label),
        ("label", answer.predicted),
        ("number", f"{100 * answer.confidence:.1f} %"),
        ("number", f"{100 * answer.confidence_of_label:.1f} %"),
    ]
    return "<tr>" + "".join(f'<td class="{kind}">{escape(cell)}</td>' for kind, cell in cells) + "</tr>"


def _matrix(report: Report) -> str:
    labels = list(map(escape, report.classes))
    head = "".join(f"<th>{label}</th>" for label in ("", *labels))
    lines = []
    for label, counts in zip(labels, report.confusion, strict=True):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td class="number" title="{label} as {other}: {100 * count / total:.0f} %" '
            f'style="background: rgb(47 109 181 / {0.7 * count / total:.2f})">{count or ""}</td>'
            for other, count in zip(labels, counts, strict=True)
        )
        lines.append(f"<tr><th>{label}</th>{cells}</tr>")
    body = "\n".join(lines)
    return f'<table class="matrix">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'
