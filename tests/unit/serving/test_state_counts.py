from app.catalog import VersionSpec
from app.serving.registry import Registry
from app.serving.version import State, Version


def version(state: State) -> Version:
    return Version(VersionSpec("next", "path", 100.0, shadow=False), state=state)


def test_versions_are_counted_by_model_and_state() -> None:
    registry = Registry()
    registry.arrange(["a", "b", ""])  # a model without a name has not been loaded
    registry.models["a"].versions += [version("failed"), version("ready"), version("failed")]
    counts = registry.count_versions()
    assert {names: count for names, count in counts.items() if count} == {("a", "failed"): 2, ("a", "ready"): 1}
    assert {model for model, _ in counts} == {"a", "b"}
    assert {state for _, state in counts} == {"loading", "ready", "failed", "draining"}
