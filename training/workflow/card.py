"""What a trained model is, for those who get it: its card, its figures, and their summary."""

import json
import shutil
from typing import Any

from app.inference.artifact import open_artifact
from training.files import read_json, replace
from training.workflow.train_table import Trained
from training.workflow.trials import main_report


def write_card(trained: Trained) -> dict[str, Any]:
    """Write `MODEL_CARD.md` and `report.json` to an exported model, and return the figures that matter most."""
    assert trained.model is not None
    artifact = open_artifact(str(trained.model))
    report = main_report(trained.evaluation)
    record = read_json(trained.run / "report.json")
    shutil.copyfile(trained.run / "report.json", trained.model / "report.json")
    summary = {
        "model": artifact.name,
        "digest": f"sha256:{artifact.manifest_sha256}",
        "labels": list(artifact.labels),
        "rows": sum(record["data"]["sets"].values()),
        "rows_measured": report.rows,
        "accuracy": round(report.accuracy, 4),
        "macro_f1": round(report.macro_f1, 4),
    }
    classes = "\n".join(
        f"| {label.replace('|', chr(92) + '|')} | {each.rows} | {100 * each.precision:.1f} | {100 * each.recall:.1f} | "
        f"{100 * each.f1:.1f} |"
        for label, each in report.classes.items()
    )
    finding = trained.calibration.finding if trained.calibration else "The confidence is not calibrated."
    card = f"""# {artifact.name}

Classifies a text as one of {len(artifact.labels)} labels.

- **Start**: {record["start"]["name"]}
- **Rows**: {summary["rows"]} to train on, {report.rows} to measure on, which also chose the checkpoint
- **Training**: {record["steps"]} steps, {record["seconds"]} s
- **Served in**: {", ".join(sorted(artifact.files))}; `manifest.json` has how int8 was compared with float32

Accuracy {100 * report.accuracy:.1f} %, macro F1 {100 * report.macro_f1:.1f} %, on the rows to measure on. On
texts of another kind, it may be far lower.

| label | rows | precision | recall | F1 |
|---|---|---|---|---|
{classes}

{finding}

All settings and figures: `report.json`
```json
{json.dumps(record["recipe"], indent=2)}
```
"""
    replace(trained.model / "MODEL_CARD.md", card)
    return summary
