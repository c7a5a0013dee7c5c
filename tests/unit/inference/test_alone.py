"""Who is taken for a lone caller, and what ONNX Runtime does for one."""

import contextlib

import numpy as np
import pytest

from app.inference.artifact import open_artifact
from app.inference.backends.alone import Alone
from app.inference.backends.onnx import OnnxBackend
from app.inference.packing import pad
from app.inference.tokenizer import Tokenizer

MANY = 50


def times(alone: Alone, runs: int) -> list[bool]:
    told = []
    for _ in range(runs):
        with alone.run() as lone:
            told.append(lone)
    return told


class TestAlone:
    def test_a_caller_is_taken_for_a_lone_one_after_a_while_and_stays_it(self) -> None:
        told = times(Alone(), MANY)
        assert not any(told[:10])
        assert all(told[20:])

    def test_two_that_meet_are_not_alone(self) -> None:
        alone = Alone()
        times(alone, MANY)
        with alone.run() as first, alone.run() as second:
            assert (first, second) == (True, False)
        assert not any(times(alone, 10))
        assert times(alone, MANY)[-1]

    def test_a_run_that_fails_is_over(self) -> None:
        alone = Alone()
        for _ in range(MANY):
            with contextlib.suppress(RuntimeError), alone.run():
                raise RuntimeError
        assert times(alone, 1) == [True]

    def test_callers_who_always_meet_are_never_alone(self) -> None:
        alone = Alone()
        running = alone.run()
        assert not running.__enter__()
        for _ in range(MANY):
            following = alone.run()
            assert not following.__enter__()
            running.__exit__(None, None, None)
            running = following


class TestSessions:
    @pytest.mark.parametrize("words", [1, 20, 300])
    def test_a_lone_caller_gets_the_same_scores_from_several_threads(self, words: int) -> None:
        artifact = open_artifact("sentiment-en")
        backend = OnnxBackend(artifact, slots=2)
        tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
        batch = pad([tokenizer.encode("not bad at all " * words)], artifact.pad_id)
        asked: list[object] = []
        for session in (narrow := backend._session, wide := backend._wide):
            spied(session, asked)
        logits = [backend.run(batch) for _ in range(MANY)]
        assert asked[0] is narrow
        assert asked[-1] is wide
        assert wide.get_session_options().intra_op_num_threads == 2
        assert all(np.allclose(each, logits[0], atol=1e-5) for each in logits)

    def test_one_slot_has_one_session(self) -> None:
        backend = OnnxBackend(open_artifact("sentiment-en"), slots=1)
        assert backend._wide is backend._session


def spied(session: object, asked: list[object]) -> None:
    run = session.run  # type: ignore[attr-defined]

    def spy(*args: object) -> object:
        asked.append(session)
        return run(*args)

    session.run = spy  # type: ignore[attr-defined]
