"""A version: its states, and the requests that keep it in memory."""

from unittest.mock import Mock

import pytest

from app.errors import NotReady
from app.serving import Version
from tests.support.serving import spec_of


def version(**fields: object) -> Version:
    return Version(spec_of(), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "service", "reason"),
    [
        ("loading", None, "the model is loading"),
        ("ready", Mock(), ""),
        ("failed", None, "the model could not be loaded"),
        ("failed", Mock(), "the model is failing"),
        ("draining", Mock(), "the model has been replaced"),
    ],
)
def test_clients_get_a_fixed_phrase_for_each_state(state: str, service: object, reason: str) -> None:
    each = version(service=service)
    each.become(state, "/secret/path")  # type: ignore[arg-type]
    assert each.public_reason == reason
    assert each.reason == "/secret/path"


def test_a_version_counts_its_requests() -> None:
    each = version(service=Mock())
    assert each.enter() is each.service
    assert each.enter() is each.service
    assert each.in_flight == 2
    each.leave()
    with each.held() as service:
        assert service is each.service
        assert each.in_flight == 2
    assert each.in_flight == 1


def test_what_fails_while_it_is_held_leaves_it_all_the_same() -> None:
    each = version(service=Mock())
    with pytest.raises(ValueError, match="oops"), each.held():
        raise ValueError("oops")
    assert each.in_flight == 0


def test_a_version_that_is_not_in_memory_cannot_be_entered() -> None:
    each = version()
    with pytest.raises(NotReady, match="loading"):
        each.enter()
    assert each.in_flight == 0


def test_the_predicted_wait_is_that_of_the_service() -> None:
    assert version().predicted_wait_ms("me") == 0
    each = version(service=Mock(predicted_wait_ms=Mock(return_value=7.0)))
    assert each.predicted_wait_ms("me") == 7.0


def test_a_version_recovers_only_if_its_model_works() -> None:
    each = version(service=Mock(), failing="the model is failing")
    each.become("draining")
    each.recover()
    assert (each.state, each.reason) == ("failed", "the model is failing")
    each.failing = ""
    each.recover()
    assert (each.state, each.reason) == ("ready", "")


def test_a_change_of_state_has_a_time() -> None:
    each = version()
    before_s = each.changed_s
    each.become("ready")
    assert each.changed_s >= before_s
