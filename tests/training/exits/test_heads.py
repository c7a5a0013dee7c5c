"""The head of an exit learns the answers of the whole model, and means by its confidence what that does."""

import numpy as np
import pytest

from training.exits.heads import answer, fit_head, fit_temperature

RNG = np.random.default_rng(0)
STATES = RNG.normal(size=(2000, 64)).astype(np.float32)
# The label depends on one of the states, and is clear for most texts.
LOGITS = np.stack([4 * STATES[:, 3], -4 * STATES[:, 3]], axis=1)
TARGETS = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_a_head_learns_what_the_states_say() -> None:
    head = fit_head(STATES, TARGETS, units=32, epochs=30, seed=1)
    assert (answer(head, STATES).argmax(axis=1) == TARGETS.argmax(axis=1)).mean() > 0.9


def test_the_same_seed_gives_the_same_head() -> None:
    one, same, other = (fit_head(STATES, TARGETS, units=4, epochs=1, seed=seed) for seed in (1, 1, 2))
    assert (one.hidden == same.hidden).all()
    assert not (one.hidden == other.hidden).all()


def test_weights_use_all_of_8_bits() -> None:
    head = fit_head(STATES, TARGETS, units=4, epochs=1, seed=1)
    assert head.hidden.dtype == np.int8
    assert np.abs(head.hidden).max(axis=0).tolist() == [127] * 4


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_temperature_makes_the_confidence_that_of_the_whole_model(temperature: float) -> None:
    logits = (np.log(TARGETS) * temperature).astype(np.float32)
    assert fit_temperature(logits, TARGETS) == pytest.approx(temperature, rel=0.03)
