"""Lets a model answer its golden texts, as the service does before it serves the model."""

from ...errors import ArtifactError
from ...inference import Model, compare_golden, read_golden


def compare_golden_texts(model: Model, needed: float) -> str:
    """Return how many golden texts get the answer that the model was published with.

    Raises `ArtifactError` if that is less than the part `needed`, from 0 to 1, of them.
    """
    golden = read_golden(model.artifact)
    if not golden:
        return "it has none"
    result = compare_golden(golden, model.predict([each.text for each in golden]))
    figures = f"{result.agreeing} of {result.texts} ({result.agreement:.0%}) get the published answer"
    if result.agreement < needed:
        raise ArtifactError(f"{figures}; {needed:.0%} are needed (SENTIMENT_GOLDEN_AGREEMENT)")
    return f"{figures}; the largest difference of a score is {result.largest_difference:.4f}"
