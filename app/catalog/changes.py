"""Changes to a catalog: each returns a new one, and a sentence that says what the change does. No file is involved.

A version is named as `ModelSpec.find` says. Raises `ModelsFileError` for a change that is not possible.
"""

from collections.abc import Mapping
from dataclasses import replace

from ..errors import ModelsFileError
from .spec import MAX_WEIGHT, MIN_WEIGHT, WEIGHT_RULE, Catalog, ModelSpec, Shares, VersionSpec

Changed = tuple[Catalog, str]
_STEPS = 100  # of a weight of 1


def add(catalog: Catalog | None, name: str, spec: VersionSpec, weight: float | None = None) -> Changed:
    """Add a version to a model, or a model with its first version. The weight of `spec` does not count, `weight` does.

    The first version gets all callers. Another one gets none, or `weight` of 100, and the others share the rest in
    proportion. `catalog` is None if there is no models file yet.
    """
    models = catalog.models if catalog else ()
    if not any(model.name == name for model in models):
        if spec.shadow or weight not in (None, MAX_WEIGHT):
            raise ModelsFileError(f"{name} is a new model: its first version gets all callers, with a weight of 100")
        model = ModelSpec(name, (replace(spec, weight=MAX_WEIGHT),))
        return Catalog((*models, model)), f"{name} becomes a model, and {spec.source} its version for all callers"
    if spec.shadow and weight:
        raise ModelsFileError(f"{spec.source}: a shadow gets no callers, so it cannot have a weight")
    assert catalog is not None
    model = catalog.find(name)
    added = ModelSpec(name, (*model.versions, replace(spec, weight=0.0)))
    if weight:
        added = _give(added, spec.source, weight)
    what = "as a shadow, whose answers are never sent" if spec.shadow else f"for {_callers(weight)}"
    return _with(catalog, added), f"{name} gets the version {spec.source} {what}"


def canary(catalog: Catalog, name: str, version: str, weight: float) -> Changed:
    """Give a version `weight` of 100 of the callers. The others share the rest in proportion."""
    model = catalog.find(name)
    source = model.find(version).source
    return _with(catalog, _give(model, source, weight)), f"{source} of {name} gets {_callers(weight)}"


def promote(catalog: Catalog, name: str, version: str) -> Changed:
    """Give a version all callers. The others stay, with a weight of 0, so that a rollback needs no download."""
    model = catalog.find(name)
    source = model.find(version).source
    versions = [
        replace(each, weight=MAX_WEIGHT, shadow=False) if each.source == source else replace(each, weight=0.0)
        for each in model.versions
    ]
    return _with(catalog, ModelSpec(name, tuple(versions))), f"{source} of {name} gets all callers"


def rollback(catalog: Catalog, name: str, previous: Shares) -> Changed:
    """Give the versions their weights in `previous` again. A version that is newer gets none."""
    model = catalog.find(name)
    sources = [version.source for version in model.versions]
    if gone := [source for source, share in previous.items() if share not in (0, "shadow") and source not in sources]:
        raise ModelsFileError(
            f"{name}: {' and '.join(gone)} had callers before the last change, and is not in the file any more; "
            "add it again, and promote it"
        )
    versions = tuple(_restored(version, previous) for version in model.versions)
    return _with(catalog, ModelSpec(name, versions)), f"{name} goes back to the weights before its last change"


def remove(catalog: Catalog, name: str, version: str | None = None) -> Changed:
    """Remove a version, whose callers the others then share in proportion, or a model with all its versions."""
    model = catalog.find(name)
    if version is None:
        rest = tuple(each for each in catalog.models if each is not model)
        if not rest:
            raise ModelsFileError(f"{name} is the last model; without one, nothing could be served")
        default = f"; {rest[0].name} answers requests that name no model" if model is catalog.default else ""
        return Catalog(rest), f"{name} is removed, with all its versions{default}"
    gone = model.find(version)
    others = tuple(each for each in model.versions if each is not gone)
    if not any(each.weight for each in others):
        raise ModelsFileError(
            f"{gone.source} is the only version of {name} with callers; promote another one first, or remove the model"
        )
    if gone.weight:
        others = _scaled(others, MAX_WEIGHT)
    return _with(catalog, ModelSpec(name, others)), f"{name} loses the version {gone.source}"


def shadow(catalog: Catalog, name: str, version: str) -> Changed:
    """Turn a version into a shadow. If it had callers, the others share them in proportion."""
    model = catalog.find(name)
    source = model.find(version).source
    others = tuple(each for each in model.versions if each.source != source)
    if not any(each.weight for each in others):
        raise ModelsFileError(f"{source} is the only version of {name} with callers; promote another one first")
    if model.find(source).weight:
        others = _scaled(others, MAX_WEIGHT)
    scaled = {each.source: each for each in others}
    versions = [scaled.get(each.source) or replace(each, weight=0.0, shadow=True) for each in model.versions]
    changed = _with(catalog, ModelSpec(name, tuple(versions)))
    return changed, f"{source} of {name} becomes a shadow: it sees the same texts, and its answers are never sent"


def _give(model: ModelSpec, source: str, weight: float) -> ModelSpec:
    """Return the model with this weight for one version, and the rest of 100 for the others in proportion."""
    chosen = replace(model.find(source), weight=_rounded(source, weight), shadow=False)
    others = tuple(each for each in model.versions if each.source != source)
    rest = MAX_WEIGHT - chosen.weight
    if rest and not any(each.weight for each in others):
        raise ModelsFileError(
            f"{model.name}: {source} is the only version with callers, so none could take the rest of {rest:g}; "
            f"{'give one of the others a part instead' if others else 'add another version first'}"
        )
    scaled = {each.source: each for each in _scaled(others, rest)} | {source: chosen}
    return ModelSpec(model.name, tuple(scaled[each.source] for each in model.versions))


def _scaled(versions: tuple[VersionSpec, ...], total: float) -> tuple[VersionSpec, ...]:
    """Return the versions with weights in the same proportion that add up to `total`, in steps of 0.01.

    A weight that is less than half a step becomes 0.
    """
    before = sum(version.weight for version in versions)
    if not before:
        return versions
    steps_left, weight_left, scaled = round(total * _STEPS), before, []
    for version in versions:
        # What rounding adds or takes away is made up by the next ones, so that the sum is exact.
        steps = round(steps_left * version.weight / weight_left) if version.weight else 0
        steps_left, weight_left = steps_left - steps, weight_left - version.weight
        scaled.append(replace(version, weight=steps / _STEPS))
    return tuple(scaled)


def _rounded(source: str, weight: float) -> float:
    if not (weight == 0 or MIN_WEIGHT <= weight <= MAX_WEIGHT):
        raise ModelsFileError(f"{source}: {WEIGHT_RULE}, not {weight:g}")
    return round(weight * _STEPS) / _STEPS


def _restored(version: VersionSpec, previous: Mapping[str, object]) -> VersionSpec:
    share = previous.get(version.source, "shadow" if version.shadow else 0.0)
    if share == "shadow":
        return replace(version, weight=0.0, shadow=True)
    return replace(version, weight=float(str(share)), shadow=False)


def _with(catalog: Catalog, changed: ModelSpec) -> Catalog:
    return Catalog(tuple(changed if each.name == changed.name else each for each in catalog.models))


def _callers(weight: float | None) -> str:
    return f"{weight:g} % of the callers" if weight else "no callers"
