"""How long a Redis that fails is left alone."""

from app.serving.shared.health import Health


def test_a_first_failure_pauses_nothing_and_further_ones_double_the_pause() -> None:
    health = Health()
    assert [health.failed(0.0) for _ in range(10)] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert not health.is_ok


def test_it_may_be_tried_again_when_the_pause_is_over() -> None:
    health = Health()
    assert health.may_try(100.0)
    health.failed(100.0)
    assert health.may_try(100.0)
    health.failed(100.0)
    assert not health.may_try(100.9)
    assert health.may_try(101.0)


def test_few_successes_do_not_make_up_for_failures() -> None:
    health = Health()
    health.failed(0.0)
    for _ in range(99):
        health.succeeded()
    assert health.is_ok
    assert health.failed(0.0) == 1
    for _ in range(100):
        health.succeeded()
    assert health.failed(0.0) == 0


def test_endless_failures_are_counted() -> None:
    health = Health()
    for _ in range(5000):
        pause_s = health.failed(0.0)
    assert pause_s == 60
