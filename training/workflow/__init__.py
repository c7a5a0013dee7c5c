"""All steps from a table of labelled texts to a model that can be served, cross-validation, and sweeps."""

from training.workflow.train_table import Trained, train_rows, train_table

__all__ = ["Trained", "train_rows", "train_table"]
