"""How good a model is: metrics on labelled text, and the behavioural suite."""

from training.evaluation.behaviour import Outcome, judge, rates, scorer
from training.evaluation.cases import Case, read_cases, suite_examples
from training.evaluation.evaluation import ALL, Answer, Evaluation, as_json, evaluate_target
from training.evaluation.metrics import Indices, Report, classes_of, measure, score
from training.evaluation.pages import write_confusion
from training.evaluation.predictions import worst_mistakes, write_mistakes, write_predictions
from training.evaluation.tables import aligned, classes, confusions, overview, show_confusion
from training.evaluation.targets import Target, logits, open_targets

__all__ = [
    "ALL",
    "Answer",
    "Case",
    "Evaluation",
    "Indices",
    "Outcome",
    "Report",
    "Target",
    "aligned",
    "as_json",
    "classes",
    "classes_of",
    "confusions",
    "evaluate_target",
    "judge",
    "logits",
    "measure",
    "open_targets",
    "overview",
    "rates",
    "read_cases",
    "score",
    "scorer",
    "show_confusion",
    "suite_examples",
    "worst_mistakes",
    "write_confusion",
    "write_mistakes",
    "write_predictions",
]
