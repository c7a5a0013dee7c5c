"""Changes keep a catalog valid, and callers where they are not meant to move."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.catalog import Catalog, ModelSpec, VersionSpec, add, canary, promote, remove, rollback, shadow
from app.errors import ModelsFileError
from tests.support.catalog import one_model, version

PAIR = one_model(version("a", 90), version("b", 10))


def shares(catalog: Catalog) -> dict[str, object]:
    return dict(catalog.find("m").shares)


def test_the_first_version_of_a_model_gets_all_callers() -> None:
    catalog, description = add(None, "m", version("a"))
    assert catalog == one_model(version("a", 100))
    assert description == "m becomes a model, and a its version for all callers"
    more, _ = add(catalog, "n", version("b"), 100)
    assert [model.name for model in more.models] == ["m", "n"]
    assert more.find("n").shares == {"b": 100}


@pytest.mark.parametrize("weight", [0, 10])
def test_the_first_version_of_a_model_cannot_get_less(weight: float) -> None:
    with pytest.raises(ModelsFileError, match="m is a new model: its first version gets all callers"):
        add(None, "m", version("a"), weight)
    with pytest.raises(ModelsFileError, match="m is a new model"):
        add(None, "m", version("a", shadow=True))


def test_another_version_gets_no_callers_unless_a_weight_is_stated() -> None:
    catalog, description = add(PAIR, "m", version("c"))
    assert shares(catalog) == {"a": 90, "b": 10, "c": 0}
    assert description == "m gets the version c for no callers"
    catalog, description = add(PAIR, "m", version("c"), 20)
    assert shares(catalog) == {"a": 72, "b": 8, "c": 20}
    assert description == "m gets the version c for 20 % of the callers"


def test_a_shadow_is_added_without_a_weight() -> None:
    catalog, description = add(PAIR, "m", version("c", shadow=True))
    assert shares(catalog) == {"a": 90, "b": 10, "c": "shadow"}
    assert description.endswith("as a shadow, whose answers are never sent")
    with pytest.raises(ModelsFileError, match="c: a shadow gets no callers"):
        add(PAIR, "m", version("c", shadow=True), 10)


def test_a_version_is_not_added_twice() -> None:
    with pytest.raises(ModelsFileError, match="m: b is there twice"):
        add(PAIR, "m", version("b"))


def test_the_others_share_what_a_canary_leaves() -> None:
    catalog, description = canary(one_model(version("a", 60), version("b", 20), version("c", 20)), "m", "c", 60)
    assert shares(catalog) == {"a": 30, "b": 10, "c": 60}
    assert description == "c of m gets 60 % of the callers"
    assert shares(canary(one_model(version("a", 3), version("b", 1)), "m", "b", 10)[0]) == {"a": 90, "b": 10}


def test_a_canary_of_nothing_gets_no_callers() -> None:
    catalog, description = canary(PAIR, "m", "b", 0)
    assert shares(catalog) == {"a": 100, "b": 0}
    assert description == "b of m gets no callers"


def test_a_shadow_can_become_a_canary() -> None:
    before = one_model(version("a", 100), version("b", shadow=True))
    assert shares(canary(before, "m", "b", 5)[0]) == {"a": 95, "b": 5}
    assert shares(canary(before, "m", "b", 0)[0]) == {"a": 100, "b": 0}


def test_thirds_add_up_to_a_hundred() -> None:
    before = one_model(*(version(name, 1) for name in "abc"), version("d"))
    assert shares(canary(before, "m", "d", 0.01)[0]) == {"a": 33.33, "b": 33.33, "c": 33.33, "d": 0.01}


@pytest.mark.parametrize("weight", [-1, 0.001, 101, float("nan")])
def test_a_canary_with_an_impossible_weight_is_refused(weight: float) -> None:
    with pytest.raises(ModelsFileError, match="b: a weight is 0 or a number from "):
        canary(PAIR, "m", "b", weight)


def test_a_part_of_the_callers_needs_another_version_for_the_rest() -> None:
    only = "m: a is the only version with callers, so none could take the rest of 40; "
    with pytest.raises(ModelsFileError, match=f"{only}give one of the others a part instead"):
        canary(one_model(version("a", 100), version("b")), "m", "a", 60)
    with pytest.raises(ModelsFileError, match=f"{only}add another version first"):
        canary(one_model(version("a", 100)), "m", "a", 60)
    assert shares(canary(one_model(version("a", 50)), "m", "a", 100)[0]) == {"a": 100}


def test_promotion_keeps_the_others_for_a_rollback() -> None:
    before = one_model(version("a", 90), version("b", 10), version("c", shadow=True))
    catalog, description = promote(before, "m", "b")
    assert shares(catalog) == {"a": 0, "b": 100, "c": "shadow"}
    assert description == "b of m gets all callers"
    assert shares(promote(before, "m", "c")[0]) == {"a": 0, "b": 0, "c": 100}


def test_a_rollback_gives_newer_versions_no_callers() -> None:
    before = one_model(version("a"), version("b", 70), version("c", 30), version("d", shadow=True))
    catalog, description = rollback(before, "m", {"a": 90.0, "b": "shadow", "gone": 0.0})
    assert shares(catalog) == {"a": 90, "b": "shadow", "c": 0, "d": "shadow"}
    assert description == "m goes back to the weights before its last change"


def test_a_rollback_to_a_version_that_is_gone_is_refused() -> None:
    with pytest.raises(ModelsFileError, match="m: x and y had callers before the last change, and is not in"):
        rollback(PAIR, "m", {"x": 50.0, "y": 10.0, "a": 40.0, "z": "shadow"})


def test_a_version_that_leaves_gives_its_callers_to_the_others() -> None:
    before = one_model(version("a", 60), version("b", 20), version("c", 20), version("d"))
    catalog, description = remove(before, "m", "c")
    assert shares(catalog) == {"a": 75, "b": 25, "d": 0}
    assert description == "m loses the version c"
    assert shares(remove(one_model(version("a", 3), version("b")), "m", "b")[0]) == {"a": 3}


def test_the_only_version_with_callers_cannot_be_removed() -> None:
    before = one_model(version("a", 100), version("b"), version("c", shadow=True))
    with pytest.raises(ModelsFileError, match="a is the only version of m with callers; promote another one first, or"):
        remove(before, "m", "a")
    with pytest.raises(ModelsFileError, match="a is the only version of m with callers"):
        shadow(before, "m", "a")


def test_a_whole_model_is_removed_unless_it_is_the_last() -> None:
    both, _ = add(PAIR, "n", version("x"))
    catalog, description = remove(both, "m")
    assert [model.name for model in catalog.models] == ["n"]
    assert description == "m is removed, with all its versions; n answers requests that name no model"
    with pytest.raises(ModelsFileError, match="n is the last model"):
        remove(catalog, "n")


def test_a_version_that_becomes_a_shadow_leaves_its_callers() -> None:
    catalog, description = shadow(one_model(version("a", 60), version("b", 20), version("c", 20)), "m", "c")
    assert shares(catalog) == {"a": 75, "b": 25, "c": "shadow"}
    assert description.startswith("c of m becomes a shadow")
    assert shares(shadow(one_model(version("a", 3), version("b")), "m", "b")[0]) == {"a": 3, "b": "shadow"}


def test_other_models_stay_as_they_are() -> None:
    both, _ = add(PAIR, "n", version("a"))
    catalog, _ = promote(both, "m", "b")
    assert catalog.find("n") == both.find("n")
    assert [model.name for model in catalog.models] == ["m", "n"]


@pytest.mark.parametrize("change", [promote, shadow, remove])
def test_a_change_to_something_that_is_not_there_is_refused(change: Callable[..., object]) -> None:
    with pytest.raises(ModelsFileError, match="there is no model x; there is m"):
        change(PAIR, "x", "a")
    with pytest.raises(ModelsFileError, match="m has no version x; it has a, b"):
        change(PAIR, "m", "x")


steps = st.integers(0, 10_000)
versions = st.lists(st.one_of(steps, st.just("shadow")), min_size=1, max_size=6)


def catalog_of(parts: list[int | str]) -> Catalog:
    """The catalog with these weights in hundredths; its other models must not matter."""
    assume(any(part not in (0, "shadow") for part in parts))
    made = [
        version(str(number), shadow=True) if part == "shadow" else version(str(number), int(part) / 100)
        for number, part in enumerate(parts)
    ]
    return Catalog((ModelSpec("m", tuple(made)), ModelSpec("n", (version("a", 100),))))


def total(catalog: Catalog) -> float:
    return round(sum(each.weight for each in catalog.find("m").versions), 6)


@given(versions, st.integers(0, 5), st.integers(0, 10_000))
def test_a_canary_has_its_weight_and_all_add_up_to_a_hundred(parts: list[int | str], chosen: int, weight: int) -> None:
    catalog, name = catalog_of(parts), str(chosen % len(parts))
    others = [each for each in catalog.find("m").versions if each.source != name]
    assume(weight == 10_000 or any(each.weight for each in others))
    after, _ = canary(catalog, "m", name, weight / 100)
    assert total(after) == 100
    assert after.find("m").find(name).weight == weight / 100
    assert [each.source for each in after.find("m").versions] == [each.source for each in catalog.find("m").versions]
    old = sum(each.weight for each in others)
    for each in others:
        expected = each.weight / old * (100 - weight / 100) if old else 0
        # Each is rounded, and what that adds or takes away goes to the next ones.
        assert after.find("m").find(each.source).weight == pytest.approx(expected, abs=0.001 + 0.005 * len(others))


@given(versions, st.integers(0, 5))
def test_a_rollback_of_a_promotion_changes_nothing(parts: list[int | str], chosen: int) -> None:
    catalog = catalog_of(parts)
    after, _ = promote(catalog, "m", str(chosen % len(parts)))
    assert total(after) == 100
    assert rollback(after, "m", catalog.find("m").shares)[0] == catalog


@given(versions, st.integers(0, 5), st.sampled_from([remove, shadow, promote]))
def test_weights_that_add_up_to_a_hundred_go_on_to(
    parts: list[int | str], chosen: int, change: Callable[[Catalog, str, str], tuple[Catalog, str]]
) -> None:
    assume(any(part not in (0, "shadow") for part in parts))
    catalog, _ = canary(catalog_of([*parts, 1]), "m", str(len(parts)), 50)
    name = str(chosen % len(parts))
    assert total(change(catalog, "m", name)[0]) == 100


@given(versions, steps)
def test_an_added_version_takes_its_part_from_the_others(parts: list[int | str], weight: int) -> None:
    assume(weight < 10_000)
    catalog = catalog_of(parts)
    after, _ = add(catalog, "m", VersionSpec("owner/new@main", "hub", 0, shadow=False), weight / 100)
    assert total(after) == (100 if weight else total(catalog))
    assert after.find("m").versions[-1].weight == weight / 100
