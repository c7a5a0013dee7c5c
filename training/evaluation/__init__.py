"""How good a model is: metrics on labelled text, and the behavioural suite."""

from training.evaluation.behaviour import Outcome, judge, rates, scorer
from training.evaluation.cases import Case, read_cases, suite_examples
from training.evaluation.evaluation import Answer, Evaluation, as_json, evaluate_target
from training.evaluation.metrics import Indices, Report, classes_of, measure, score
from training.evaluation.predictions import worst_mistakes, write_mistakes, write_predictions
from training.evaluation.tables import aligned, classes, confusion, confusions, frequent_confusions, overview
from training.evaluation.targets import Target, logits, open_targets

__all__ = [
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
    "confusion",
    "confusions",
    "evaluate_target",
    "frequent_confusions",
    "judge",
    "logits",
    "measure",
    "open_targets",
    "overview",
    "rates",
    "read_cases",
    "score",
    "scorer",
    "suite_examples",
    "worst_mistakes",
    "write_mistakes",
    "write_predictions",
]
