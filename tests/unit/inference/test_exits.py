"""Exits: a text leaves the model after the part whose head is sure, and its depth depends on the text alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import ArtifactError, BackendError
from app.inference import Runner
from app.inference.exits import EXITS, Exit, Exits, read_exits
from app.inference.files import ModelFiles
from app.inference.padding import pad
from app.types import Batch, Depth, Encoding, FloatArray, Prediction, Unfinished

BAD = 666  # a token that every part fails on
STATED: dict[str, Any] = {
    "of": "model_int8.onnx",
    "layers": 6,
    "parts": ["a.part1.onnx", "a.part2.onnx", "a.part3.onnx"],
    "exits": [
        {"layers": 3, "temperature": 1.0, "thresholds": [0.9, 0.9]},
        {"layers": 4, "temperature": 2.0, "thresholds": [0.8, 0.8]},
    ],
}


class Parts:
    """Three parts. The logit of the second label is the first token of a text times the number of parts.

    The states of a token are the token, and how many parts it has been through.
    """

    name, device, precision, slots, skips_padding = "parts", "cpu", "fp32", 1, True

    def __init__(self, noise: float = 0.0) -> None:
        self.exits: Exits | None = Exits(
            "whole", 6, ("a", "b", "c"), (Exit(3, 1.0, (0.95, 0.9)), Exit(4, 2.0, (0.8, 0.8)))
        )
        self.runs: list[tuple[int, int]] = []  # the part and the number of texts
        self.noise = noise  # what a batch of several texts adds to the logits

    def run(self, batch: Batch) -> FloatArray:
        states = None
        for part in range(3):
            logits, states = self.run_part(part, batch, states)
        return logits

    def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
        self.runs.append((part, len(batch)))
        tokens = batch.input_ids[batch.attention_mask == 1].astype(np.float32)
        if BAD in tokens:
            raise RuntimeError("bad token")
        before = np.stack([tokens, np.zeros_like(tokens)], axis=1) if states is None else states
        assert (before[:, 0] == tokens).all(), "the states of other texts"
        assert (before[:, 1] == part).all(), "the states after other parts"
        firsts = batch.input_ids[:, 0].astype(np.float32) / 100 + self.noise * (len(batch) > 1)
        logits = np.stack([np.zeros_like(firsts), firsts * (part + 1)], axis=1)
        return logits, before + np.array([0, 1], dtype=np.float32) if part < 2 else np.empty((0, 0), dtype=np.float32)


def text(first: int, length: int = 1, depth: Depth = "auto", most_parts: int = 0) -> Encoding:
    return Encoding([first, *[7] * (length - 1)], truncated=False, depth=depth, most_parts=most_parts)


def run(texts: Sequence[Encoding], backend: Parts | None = None) -> list[Prediction]:
    results = Runner(backend or Parts(), ("no", "yes"), pad_id=0).run(texts)
    assert all(isinstance(each, Prediction) for each in results)
    return [each for each in results if isinstance(each, Prediction)]


class TestRunner:
    def test_a_text_leaves_after_the_part_whose_head_is_sure(self) -> None:
        # Sure above 0.9 after 3 layers is a logit of 2.2; above 0.8 with the temperature 2 after 4, one of 2.8.
        predictions = run([text(300), text(150), text(10)])
        assert [each.layers for each in predictions] == [3, 4, 6]
        assert [round(each.confidence, 3) for each in predictions] == [0.953, 0.818, 0.574]

    def test_each_label_has_its_threshold(self) -> None:
        yes, no = run([text(270), text(-270)])
        assert yes.scores["yes"] == pytest.approx(no.scores["no"], abs=0.01)
        assert (yes.layers, no.layers) == (3, 4)

    def test_only_texts_that_are_not_sure_run_the_next_part(self) -> None:
        backend = Parts()
        run([text(300), text(150), text(10), text(20)], backend)
        assert backend.runs == [(0, 4), (1, 3), (2, 2)]

    def test_texts_of_other_lengths_keep_their_own_states(self) -> None:
        lengths = [3, 200, 1, 40, 90, 5, 300, 2]
        predictions = run([text(10 + place, length) for place, length in enumerate(lengths)])
        alone = [run([text(10 + place, length)])[0] for place, length in enumerate(lengths)]
        assert predictions == alone
        assert {each.layers for each in predictions} == {6}

    def test_a_text_that_must_go_through_all_layers_does(self) -> None:
        (prediction,) = run([text(300, depth="full")])
        assert (prediction.layers, round(prediction.confidence, 4)) == (6, 0.9999)

    @pytest.mark.parametrize(("most_parts", "layers"), [(1, [3, 3, 3]), (2, [3, 4, 4]), (0, [3, 4, 6])])
    def test_a_text_goes_through_no_more_parts_than_it_may(self, most_parts: int, layers: list[int]) -> None:
        predictions = run([text(first, most_parts=most_parts) for first in (300, 150, 10)])
        assert [each.layers for each in predictions] == layers

    def test_a_text_that_was_sure_is_not_shallow(self) -> None:
        sure, unsure = run([text(300, most_parts=1), text(10, most_parts=1)])
        assert (sure.shallow, unsure.shallow) == (False, True)
        assert sure == run([text(300)])[0]
        assert "shallow" not in sure.render()
        assert unsure.render()["shallow"] is True

    @pytest.mark.parametrize("noise", [0.01, -0.01])
    @pytest.mark.parametrize("first", [219, 220])  # a logit of 2.197 has the confidence 0.9
    def test_the_depth_is_that_of_the_text_alone(self, noise: float, first: int) -> None:
        alone = run([text(first)])[0]
        together = run([text(first), text(1)], Parts(noise))[0]
        assert together.layers == alone.layers
        assert together.confidence == pytest.approx(alone.confidence, abs=1e-3)

    @pytest.mark.parametrize("noise", [0.03, -0.03])
    @pytest.mark.parametrize("mate", [300, 1])  # it leaves after the first part, or goes on
    def test_a_text_whose_mates_have_left_has_the_depth_that_it_has_alone(self, noise: float, mate: int) -> None:
        class Noisy(Parts):
            """A batch changes the states, and so the logits of the parts that come next, whatever shares their runs."""

            def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
                logits, after = super().run_part(part, batch, None if states is None else np.round(states))
                added = np.zeros(len(batch)) if states is None else (states - np.round(states))[:, 1]
                if part < 2:
                    after[:, 1] += noise * (len(batch) > 1)
                return logits + added[:, np.newaxis] * np.array([0, 1]), after

        (alone,) = run([text(139)], Noisy())
        together = run([text(139), text(mate)], Noisy())[0]
        assert (alone.layers, together.layers) == (4, 4)

    def test_labels_that_are_as_likely_do_not_decide_the_depth(self) -> None:
        """One of them would leave from a confidence of 0.4 on, and the other never would."""

        class Tie(Parts):
            def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
                _, after = super().run_part(part, batch, states)
                return np.array([[1.0, 1.0 + self.noise * (len(batch) > 1), 0.0]] * len(batch), np.float32), after

        for noise in (1e-6, -1e-6):
            backend = Tie(noise)
            backend.exits = Exits(
                "whole", 6, ("a", "b", "c"), (Exit(3, 1.0, (0.4, 1.01, 1.01)), Exit(4, 1.0, (1, 1, 1)))
            )
            runner = Runner(backend, ("a", "b", "c"), pad_id=0)
            (alone,), (together, _) = runner.run([text(1)]), runner.run([text(1), text(1)])
            assert isinstance(alone, Prediction)
            assert isinstance(together, Prediction)
            assert alone.layers == together.layers

    def test_a_text_that_is_close_runs_alone_from_the_start(self) -> None:
        backend = Parts()
        close, other = run([text(139), text(1)], backend)  # after the second part, the confidence is 0.8006
        assert (close.layers, other.layers) == (4, 6)
        assert backend.runs == [(0, 2), (1, 2), (0, 1), (1, 1), (2, 1)]

    def test_a_text_that_is_far_from_the_threshold_runs_once(self) -> None:
        backend = Parts(0.01)
        run([text(100), text(1)], backend)
        assert backend.runs == [(0, 2), (1, 2), (2, 2)]

    def test_a_bad_text_fails_alone_in_each_part(self) -> None:
        class FailsLater(Parts):
            def run_part(self, part: int, batch: Batch, states: FloatArray | None) -> tuple[FloatArray, FloatArray]:
                if part == 1 and 13 in batch.input_ids:
                    raise MemoryError
                return super().run_part(part, batch, states)

        runner = Runner(FailsLater(), ("no", "yes"), pad_id=0)
        good, first, second, sure = runner.run([text(10), text(BAD), text(13), text(300)])
        assert isinstance(first, BackendError)
        assert str(second) == "the model failed on this text (MemoryError)"
        assert (good, sure) == tuple(run([text(10), text(300)]))

    def test_a_step_returns_what_has_to_go_on(self) -> None:
        runner = Runner(Parts(), ("no", "yes"), pad_id=0)
        sure, unfinished = runner.step([text(300), text(10, 2)])
        assert isinstance(sure, Prediction)
        assert isinstance(unfinished, Unfinished)
        assert (unfinished.parts, len(unfinished), unfinished.truncated) == (1, 2, False)
        assert unfinished.states.tolist() == [[10, 1], [7, 1]]

    def test_logits_are_those_of_the_whole_model(self) -> None:
        assert Runner(Parts(), ("no", "yes"), pad_id=0).logits([text(300)]).tolist() == [[0, 9]]

    def test_the_warm_up_runs_all_parts_and_measures_each(self) -> None:
        backend = Parts()
        measured = Runner(backend, ("no", "yes"), pad_id=0).warm_up(max_tokens=10, max_batch_size=2, text=[300])
        assert {part for part, _ in backend.runs} == {0, 1, 2}
        assert all(len(elapsed_ms) == 3 and min(elapsed_ms) > 0 for _, elapsed_ms in measured)

    def test_a_backend_whose_model_has_no_exits_runs_whole_batches(self) -> None:
        backend = Parts()
        backend.exits = None
        assert run([text(300)], backend)[0].layers == 0


class TestFile:
    def read(self, directory: Path, **changes: object) -> Exits | None:
        (directory / EXITS).write_text(json.dumps(STATED | changes))
        for name in (STATED["of"], *STATED["parts"]):
            (directory / name).touch()
        return read_exits(ModelFiles(directory), 2)

    def test_a_model_without_the_file_has_no_exits(self, tmp_path: Path) -> None:
        assert read_exits(ModelFiles(tmp_path), 2) is None

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        exits = self.read(tmp_path)
        assert exits
        assert exits.exits[1] == Exit(4, 2.0, (0.8, 0.8))
        assert json.loads(json.dumps(exits.render())) == STATED

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"of": None}, "`of` must name a graph"),
            ({"layers": "6"}, "`layers` must be a number of layers"),
            ({"layers": 4}, "before the last of 4"),
            ({"exits": []}, "`exits` must be a list of objects"),
            ({"exits": [3, 4]}, "`exits` must be a list of objects"),
            ({"exits": STATED["exits"][::-1]}, "in the order of their layers"),
            ({"exits": [STATED["exits"][0]] * 2}, "in the order of their layers"),
            ({"exits": [{"layers": True, "temperature": 1, "thresholds": [1, 1]}]}, "`layers` of an exit"),
            ({"exits": [{"layers": 3, "temperature": 0, "thresholds": [1, 1]}]}, "`temperature` of an exit"),
            ({"exits": [{"layers": 3, "temperature": 1, "thresholds": [1, float("nan")]}]}, "`thresholds` of an exit"),
            ({"exits": [{"layers": 3, "temperature": 1, "thresholds": [1]}]}, "`thresholds` of an exit"),
            ({"layers": 70_000}, "`layers` must be a number of layers"),
            ({"exits": [{"layers": 3, "temperature": 10**400, "thresholds": [1, 1]}]}, "`temperature` of an exit"),
            ({"of": "model_int4.onnx"}, "the file model_int4.onnx is missing"),
            ({"of": STATED["parts"][0]}, "must name different graphs"),
            ({"parts": [STATED["parts"][0]] * 3}, "must name different graphs"),
            ({"parts": ["b.part1.onnx", *STATED["parts"][1:]]}, "the file b.part1.onnx is missing"),
            ({"parts": STATED["parts"][1:]}, "one graph more than there are exits"),
            ({"parts": ["../a.onnx", "b.onnx", "c.onnx"]}, "one graph more than there are exits"),
            ({"parts": ["a.bin", "b.onnx", "c.onnx"]}, "one graph more than there are exits"),
        ],
    )
    def test_what_is_not_valid_is_refused(self, tmp_path: Path, changes: dict[str, object], message: str) -> None:
        with pytest.raises(ArtifactError, match=message) as caught:
            self.read(tmp_path, **changes)
        assert str(caught.value).startswith(str(tmp_path / EXITS))


def test_texts_of_a_batch_are_padded_apart_from_their_states() -> None:
    batch = pad([text(10, 2), text(20, 4)], 0)
    assert Parts().run_part(0, batch, None)[1].shape == (6, 2)
