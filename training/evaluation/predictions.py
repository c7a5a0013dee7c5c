"""What a model answers to each text: all predictions as CSV, and its worst mistakes as CSV and as a page."""

import csv
from collections.abc import Iterable
from html import escape
from pathlib import Path

from training.evaluation.evaluation import Answer, Evaluation

WORST = 100
_HEADER = ("set", "line", "text", "label", "predicted", "confidence", "confidence_of_label")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins with one
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1a1a1a }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4rem .8rem; border-bottom: 1px solid #ddd }
th { position: sticky; top: 0; background: #fff }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td.text { white-space: pre-wrap; overflow-wrap: anywhere }
"""

Named = tuple[str, Answer]  # with the name of its set


def write_predictions(evaluation: Evaluation, file: Path) -> None:
    """Write every text with its label and its prediction to `file`, as CSV."""
    _write_csv(((name, answer) for name, answers in evaluation.answers.items() for answer in answers), file)


def worst_mistakes(evaluation: Evaluation, most: int = WORST) -> list[Named]:
    """Return the wrong answers with the highest confidence. Many of them are wrong labels in the data."""
    wrong = [(name, each) for name, answers in evaluation.answers.items() for each in answers if not each.is_right]
    return sorted(wrong, key=lambda named: -named[1].confidence)[:most]


def write_mistakes(evaluation: Evaluation, directory: Path, title: str) -> None:
    """Write the worst mistakes to `mistakes.csv` and `mistakes.html` in `directory`."""
    worst = worst_mistakes(evaluation)
    directory.mkdir(parents=True, exist_ok=True)
    _write_csv(worst, directory / "mistakes.csv")
    (directory / "mistakes.html").write_text(_page(worst, title), encoding="utf-8")


def _write_csv(answers: Iterable[Named], file: Path) -> None:
    # utf-8-sig: Excel reads other files in the encoding of the system.
    with file.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_HEADER)
        for name, each in answers:
            scores = (f"{each.confidence:.4f}", f"{each.confidence_of_label:.4f}")
            writer.writerow(
                (_cell(name), each.line or "", *map(_cell, (each.text, each.label, each.predicted)), *scores)
            )


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _page(worst: list[Named], title: str) -> str:
    head = "".join(
        f"<th>{name}</th>" for name in ("line", "text", "label", "predicted", "confidence", "confidence of the label")
    )
    count = f"The {len(worst)} wrong answers"
    if len(worst) == WORST:
        count += " with the highest confidence"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<h1>{escape(title)}</h1>
<p>{count}, the most confident first. Many of them are wrong labels in the data.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{chr(10).join(_row(each) for _, each in worst)}
</tbody>
</table>
</html>
"""


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
