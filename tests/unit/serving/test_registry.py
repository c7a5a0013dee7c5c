"""Which versions of a model answer, whatever happens to them, and which model is the default."""

import random
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import NotFound, NotReady
from app.serving import Registry, ServedModel, Version
from app.serving.version import State
from tests.support.serving import spec_of


def version(source: str, weight: float = 100, state: State = "ready", *, shadow: bool = False) -> Version:
    return Version(spec_of(source, weight, shadow=shadow), state=state, service=Mock())


def model_of(*wanted: Version, old: tuple[tuple[Version, float], ...] = ()) -> ServedModel:
    """A model whose versions `old` answer callers now, and that is to have `wanted`."""
    model = ServedModel("m")
    model.wanted = [each for each, _ in old]
    model.shares = [*old]
    model.versions = [*dict.fromkeys([*(each for each, _ in old), *wanted])]
    model.wanted = [*wanted]
    return model


class TestSettle:
    def test_versions_that_are_ready_have_their_weights(self) -> None:
        one, two = version("1", 90), version("2", 10)
        model = model_of(one, two)
        assert model.settle() == []
        assert model.shares == [(one, 90), (two, 10)]
        assert model.main is one

    def test_at_the_start_the_first_that_is_ready_gets_all_callers(self) -> None:
        one, two = version("1", 90, "loading"), version("2", 10)
        model = model_of(one, two)
        model.settle()
        assert model.shares == [(two, 10)]

    @pytest.mark.parametrize("state", ["loading", "failed"])
    def test_the_old_version_answers_as_long_as_the_new_one_cannot(self, state: State) -> None:
        old, new = version("1"), version("2", 100, state)
        model = model_of(new, old=((old, 100),))
        assert model.settle() == []
        assert model.shares == [(old, 100)]
        new.become("ready")
        assert model.settle() == [old]
        assert model.shares == [(new, 100)]

    @pytest.mark.parametrize("state", ["loading", "failed"])
    def test_a_canary_does_not_get_the_callers_of_a_version_that_is_replaced(self, state: State) -> None:
        old, canary, new = version("1", 90), version("2", 10), version("3", 90, state)
        model = model_of(new, canary, old=((old, 90), (canary, 10)))
        assert model.settle() == []
        assert model.shares == [(old, 90), (canary, 10)]

    @pytest.mark.parametrize("state", ["loading", "failed"])
    def test_a_weight_of_0_counts_at_once_while_another_one_loads(self, state: State) -> None:
        main, bad, new = version("1", 90), version("2", 0), version("3", 10, state)
        model = model_of(main, bad, new, old=((main, 90), (bad, 10)))
        assert model.settle() == []
        assert model.shares == [(main, 90)]

    def test_a_promoted_version_gets_the_callers_once_it_is_ready(self) -> None:
        old, canary, new = version("1", 0), version("2", 0), version("3", 100, "loading")
        model = model_of(old, canary, new, old=((old, 90), (canary, 10)))
        model.settle()
        assert model.shares == [(old, 90), (canary, 10)]
        new.become("ready")
        assert model.settle() == []  # they stay in memory for a rollback
        assert model.shares == [(new, 100)]

    def test_several_old_versions_share_what_one_that_loads_will_have(self) -> None:
        one, two, kept, new = version("1", 60), version("2", 20), version("3", 20), version("4", 40, "loading")
        model = model_of(kept, new, old=((one, 60), (two, 20), (kept, 20)))
        kept.spec = spec_of("3", 60)
        model.settle()
        assert model.shares == [(kept, 60), (one, 30), (two, 10)]

    def test_the_callers_of_a_version_that_fails_go_to_the_others(self) -> None:
        one, two = version("1", 90), version("2", 10)
        model = model_of(one, two)
        model.settle()
        one.become("failed")
        assert model.settle() == []
        assert model.shares == [(two, 10)]
        one.become("ready")
        model.settle()
        assert model.shares == [(one, 90), (two, 10)]

    def test_nobody_answers_if_all_fail_and_no_old_one_is_left(self) -> None:
        one = version("1")
        model = model_of(one)
        model.settle()
        one.become("failed", "/secret")
        assert model.settle() == []
        assert model.main is None
        with pytest.raises(NotReady, match=r"^the model is failing$"):
            model.pick("me")

    def test_a_version_with_weight_0_answers_only_if_all_others_failed(self) -> None:
        one, two, shadow = version("1", 100, "loading"), version("2", 0), version("3", 0, shadow=True)
        model = model_of(one, two, shadow)
        model.settle()
        assert model.shares == []
        one.become("failed")
        assert model.settle() == []
        assert [(each.spec.source, weight) for each, weight in model.shares] == [("2", 100.0)]
        one.become("ready")
        assert model.settle() == []
        assert model.shares == [(one, 100)]

    def test_a_model_is_lost_once_no_version_can_answer(self) -> None:
        one, two, shadow = version("1", 100, "failed"), version("2", 0, "loading"), version("3", 0, shadow=True)
        model = model_of(one, two, shadow)
        one.lost = True
        model.settle()
        assert not model.is_lost
        two.lost, _ = True, two.become("failed")
        model.settle()
        assert model.is_lost

    def test_an_old_version_that_fails_answers_no_more(self) -> None:
        old, new = version("1", 100, "failed"), version("2", 100, "loading")
        model = model_of(new, old=((old, 100),))
        assert model.settle() == [old]
        assert model.shares == []

    def test_a_version_that_loads_is_not_freed_before_that_has_ended(self) -> None:
        one, two = version("1"), version("2", 100, "loading")
        model = model_of(one)
        model.versions.append(two)
        assert model.settle() == []
        two.become("ready")
        assert model.settle() == [two]
        two.become("draining")
        assert model.settle() == []

    def test_a_model_that_is_removed_answers_nobody_at_once(self) -> None:
        one = version("1")
        model = model_of(old=((one, 100),))
        assert model.settle() == [one]
        assert model.is_over
        with pytest.raises(NotReady, match="loading"):
            model.pick("me")


class TestShadows:
    def test_shadows_are_ready_and_answer_nobody(self) -> None:
        main, shadow = version("1"), version("2", 0, shadow=True)
        model = model_of(main, shadow, version("3", 0, "loading", shadow=True))
        assert model.settle() == []
        assert model.shadows == [shadow]
        assert model.shares == [(main, 100)]

    def test_a_version_that_becomes_a_shadow_is_none_while_it_answers(self) -> None:
        old, new = version("1", 0, shadow=True), version("2", 100, "loading")
        model = model_of(old, new, old=((old, 100),))
        model.settle()
        assert (model.shares, model.shadows) == ([(old, 100)], [])
        new.become("ready")
        model.settle()
        assert (model.shares, model.shadows) == ([(new, 100)], [old])

    def test_a_shadow_becomes_a_canary_without_being_loaded_again(self) -> None:
        main, shadow = version("1"), version("2", 0, shadow=True)
        model = model_of(main, shadow)
        model.settle()
        main.spec, shadow.spec = spec_of("1", 90), spec_of("2", 10)
        assert model.settle() == []
        assert (model.shares, model.shadows) == ([(main, 90), (shadow, 10)], [])


class TestIsLost:
    @pytest.mark.parametrize(
        ("lost", "rolled_back", "expected"),
        [((True, True), (), True), ((True, False), (), False), ((True, False), (1,), True)],
    )
    def test_a_model_is_lost_if_no_version_may_answer_again(
        self, lost: tuple[bool, ...], rolled_back: tuple[int, ...], expected: bool
    ) -> None:
        versions = [version("1", 50, "failed"), version("2", 50, "failed")]
        for place, each in enumerate(versions):
            each.lost, each.rolled_back = lost[place], place in rolled_back
        model = model_of(*versions, version("3", 0, shadow=True))
        model.settle()
        assert model.is_lost == expected

    def test_a_model_that_answers_is_not_lost(self) -> None:
        one = version("1")
        model = model_of(one)
        one.lost = True
        model.settle()
        assert not model.is_lost


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_the_right_versions_answer(seed: int) -> None:
    rng = random.Random(seed)
    model = ServedModel("m")
    for _ in range(40):
        _happen(model, rng)
        before = [each for each, _ in model.shares if each.state == "ready"]
        unused = model.settle()
        answering = [each for each, _ in model.shares]
        weighted = [each for each in model.wanted if each.spec.weight]
        ready = [each for each in weighted if each.state == "ready"]
        assert all(each.state == "ready" and weight > 0 for each, weight in model.shares)
        assert len(set(answering)) == len(answering)
        assert set(ready) <= set(answering)
        if before and weighted:
            assert answering, "somebody answered, works, and must go on"
        if ready == weighted:
            assert model.shares == [(each, each.spec.weight) for each in weighted]
        if ready:
            assert not any(each in answering for each in model.wanted if not each.spec.weight)
            share = {each: weight / sum(part for _, part in model.shares) for each, weight in model.shares}
            for each in ready:
                assert share[each] >= each.spec.weight / sum(one.spec.weight for one in weighted) - 1e-9
        if answering:
            assert {model.pick(str(caller)) for caller in range(20)} <= set(answering)
        for each in unused:
            assert each not in model.wanted
            assert each not in answering
            assert each.state in ("ready", "failed")
            each.become("draining")
        for each in model.versions:
            assert each in model.wanted or each in answering or each.state in ("draining", "loading")


def _happen(model: ServedModel, rng: random.Random) -> None:
    """Let one thing happen to a model: a new file, or a change of the state of a version."""
    if not model.versions or rng.random() < 0.3:
        kept = [each for each in model.versions if each.state != "draining" and rng.random() < 0.6]
        new = [version(str(rng.random()), 1, "loading") for _ in range(rng.randrange(3))]
        model.versions += new
        model.wanted = [*kept, *new]
        rng.shuffle(model.wanted)
        for each in model.wanted:
            each.spec = spec_of(each.spec.source, rng.choice([0, 1, 10, 90]))
        if model.wanted and not any(each.spec.weight for each in model.wanted):
            model.wanted[0].spec = spec_of(model.wanted[0].spec.source, 100)
        return
    each = rng.choice(model.versions)
    if each.state == "draining":
        model.versions.remove(each)
    elif each.state == "loading":
        each.become(rng.choice(["ready", "ready", "failed"]))
    else:
        each.become("failed" if each.state == "ready" else "ready")


class TestRegistry:
    @staticmethod
    def registry_of(**states: State) -> Registry:
        registry = Registry()
        registry.arrange([*states])
        for name, state in states.items():
            model = registry.models[name]
            model.versions = [version(name or "files", 100, state)]
            model.wanted = [*model.versions]
            model.settle()
        registry.choose_default()
        return registry

    def test_without_models_the_server_is_loading(self) -> None:
        assert Registry().default is None
        with pytest.raises(NotReady, match="the model is loading"):
            Registry().find("m")
        with pytest.raises(NotReady, match="the model is loading"):
            Registry().pick(None, "me")

    def test_the_first_model_is_the_default_and_others_are_found_by_name(self) -> None:
        registry = self.registry_of(one="ready", two="ready")
        assert registry.find(None) is registry.find("one") is registry.default
        assert registry.pick("two", "me").spec.source == "two"

    def test_an_unknown_name_is_not_repeated_in_the_error(self) -> None:
        with pytest.raises(NotFound, match=r"^no such model; this server has one, two$"):
            self.registry_of(one="ready", two="loading").find("secret")

    @pytest.mark.parametrize(
        ("state", "reason"), [("loading", "the model is loading"), ("failed", "the model could not be loaded")]
    )
    def test_nothing_is_found_while_the_only_model_has_no_name(self, state: State, reason: str) -> None:
        registry = self.registry_of(**{"": state})
        registry.models[""].wanted[0].service = None
        with pytest.raises(NotReady, match=f"^{reason}$"):
            registry.find("m")

    def test_a_model_that_is_removed_is_not_found_any_more(self) -> None:
        registry = self.registry_of(one="ready", two="ready")
        registry.arrange(["one"])
        registry.models["two"].wanted = []
        registry.models["two"].settle()
        with pytest.raises(NotFound, match=r"^no such model; this server has one$"):
            registry.find("two")

    def test_a_new_order_makes_another_model_the_default(self) -> None:
        registry = self.registry_of(one="ready", two="ready")
        registry.arrange(["two", "one"])
        assert registry.find(None).name == "two"
        assert [*registry.models] == ["two", "one"]

    def test_a_new_first_model_is_the_default_once_it_can_answer(self) -> None:
        registry = self.registry_of(one="ready")
        registry.arrange(["new", "one"])
        assert registry.find(None).name == "one"
        assert not registry.choose_default()
        new = registry.models["new"]
        new.versions = new.wanted = [version("new")]
        new.settle()
        assert registry.choose_default()
        assert registry.find(None).name == "new"

    def test_a_default_that_cannot_answer_makes_room_for_the_first_model(self) -> None:
        registry = self.registry_of(one="ready")
        registry.arrange(["new", "one"])
        registry.models["one"].wanted[0].become("failed")
        registry.models["one"].settle()
        assert registry.choose_default()
        assert registry.find(None).name == "new"

    def test_models_that_are_not_in_the_file_stay_until_they_are_dropped(self) -> None:
        registry = self.registry_of(one="ready", two="ready")
        registry.arrange(["three", "two"])
        assert [*registry.models] == ["three", "two", "one"]
        one = registry.models["one"]
        registry.drop(one, one.versions[0])
        assert "one" in registry.models  # it is wanted as yet
        one.wanted = []
        registry.drop(one, version("that is gone"))
        registry.drop(one, version("that is gone"))
        assert [*registry.models] == ["three", "two"]

    def test_a_model_gets_its_name_in_its_place(self) -> None:
        registry = self.registry_of(**{"": "ready", "two": "ready"})
        model = registry.models[""]
        registry.rename(model, "one")
        assert [*registry.models] == ["one", "two"]
        assert (model.name, registry.default) == ("one", model)
