"""How deep texts go through a model with exits."""

from itertools import pairwise

from ...capacity import WHOLE, Depths
from ...config import Settings
from ...errors import ArtifactError
from ...inference import load_model, open_artifact, read_development


def read_depths(settings: Settings, *, measured: bool) -> Depths:
    """Return the shares of texts that the manifest states, and what each part of the model costs.

    Parts cost what is `measured` here, or as much as their layers.
    """
    runs_parts = settings.backend in ("auto", "onnx") and settings.device != "cuda" and settings.precision != "fp32"
    if settings.depth == "full" or not runs_parts:
        return WHOLE
    try:
        artifact = open_artifact(settings.model)
        development = read_development(artifact)
    except ArtifactError:
        return WHOLE
    if not artifact.exits or not development or not development.layers:
        return WHOLE
    after = [*(each.layers for each in artifact.exits.exits), artifact.exits.layers]
    costs = [float(end - start) for start, end in pairwise([0, *after])]
    if measured:
        model = load_model(
            settings.model, backend=settings.backend, device=settings.device, precision=settings.precision, slots=1
        )
        if model.runner.parts == 1:  # on this device, texts go through all layers
            return WHOLE
        costs = model.part_costs
    return Depths(
        tuple(cost / sum(costs) for cost in costs), tuple(development.layers.get(layers, 0.0) for layers in after)
    )
