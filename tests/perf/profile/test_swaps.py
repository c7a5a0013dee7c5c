"""What `python -m perf.profile.swaps` concludes from the answers."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from app.catalog import read
from app.inference import open_artifact, read_golden
from perf.load.closedloop import Answer, Response
from perf.profile import swaps
from perf.profile.swaps import Change, Swap, judge, measure, report, request_of, state, totals

TEXTS = [f"text {number}" for number in range(100)]


def single(label: str, model: str = "sentiment-en@a", status: int = 200) -> Response:
    return Response(1, status, model, json.dumps({"label": label, "scores": {label: 1.0}}).encode())


def listed(labels: list[str], model: str = "sentiment-en@a") -> Response:
    return Response(0, 200, model, json.dumps({"predictions": [{"label": label} for label in labels]}).encode())


@pytest.mark.parametrize(
    ("response", "note"),
    [
        (single("positive-a"), "a"),
        (single("positive-b", "sentiment-en@b"), "b"),
        (single("positive-b"), "contradicted"),
        (single("positive-a", ""), "contradicted"),
        (single("positive-a", status=429), "failed"),
        (Response(1, 0, "", b""), "failed"),
        (listed(["positive-a", "neutral-a"] * 4), "a"),
        (listed(["positive-a"] * 7 + ["positive-b"]), "mixed"),
        (listed(["positive-a"] * 7), "failed"),
    ],
)
def test_a_response_is_judged_by_its_labels(response: Response, note: str) -> None:
    assert judge(response) == note


def test_no_two_requests_have_a_text_in_common() -> None:
    texts: list[str] = []
    for connection in range(16):
        for count in range(10):
            head, _, body = request_of(TEXTS, "http://h", connection, count).partition(b"\r\n\r\n")
            sent = json.loads(body)
            is_list = connection in {0, 8}
            assert head.startswith(b"POST /predict/batch " if is_list else b"POST /predict ")
            texts += sent["texts"] if is_list else [sent["text"]]
    assert len(set(texts)) == len(texts) == 14 * 10 + 2 * 10 * 8


def answers(times_s: list[tuple[float, float]], note: str) -> list[Answer]:
    return [Answer(sent_s, answered_s, 200, note) for sent_s, answered_s in times_s]


def test_latency_counts_before_and_until_a_second_after_the_switch() -> None:
    every = [
        *answers([(4.0, 4.9)], "a"),  # too early
        *answers([(6.0, 6.1), (9.0, 9.1)], "a"),
        *answers([(9.9, 10.3)], "a"),  # sent before the change, and held up by it
        *answers([(12.0, 12.2)], "b"),
        *answers([(13.0, 13.3)], "b"),  # later than a second after the switch
    ]
    swap = measure(every, Change("b", 10.0, 1.0, 1.0))
    assert swap.seconds == pytest.approx(2.2)
    assert swap.before_ms == pytest.approx(100)
    assert swap.during_ms == pytest.approx(398)  # the 99th percentile of 0.4 and 0.2 s
    assert swap.ratio == pytest.approx(3.98)


def test_an_answer_of_an_earlier_turn_is_no_switch() -> None:
    swap = measure(answers([(1.0, 2.0)], "b"), Change("b", 3.0, 1.0, 1.0))
    assert swap.seconds == math.inf
    assert math.isnan(swap.during_ms)


def test_the_totals_name_medians_and_memory_after_ten_and_twenty_swaps() -> None:
    changes = [Change("b", 0.0, 1e8, 1e8 + 1e6 * number) for number in range(20)]
    each = [Swap(1.0, 10.0, 15.0), Swap(2.0, 10.0, 12.0), Swap(4.0, 10.0, 40.0)]
    text = totals(each, changes, Counter(a=5, b=1234, mixed=1, failed=2))
    assert text.splitlines() == [
        "requests 1,242, failed 2, lists with labels of two versions 1, X-Model and labels differ 0",
        "seconds: median 2.00",
        "p99 during / before: median 1.50, worst 4.00",
        "memory after 10 swaps / after the first: 1.090",
        "memory after 20 swaps / after the first: 1.190",
    ]
    assert "memory after 3 swaps / after the first: 1.020" in totals(each, changes[:3], Counter())


def test_the_table_has_a_row_for_each_swap() -> None:
    header, row = report([Swap(1.5, 10.0, 15.0)], [Change("b", 0.0, 1e8, 1.1e8)]).splitlines()
    assert header.split() == ["swap", "seconds", "MB", "before", "after", "p99", "before", "during", "ratio"]
    assert row.split() == ["1", "1.50", "100.0", "110.0", "10.0", "ms", "15.0", "ms", "1.50"]


def test_a_copy_has_labels_and_a_version_of_its_own(tmp_path: Path) -> None:
    swaps.copy_as("b", swaps.ROOT / "models" / "sentiment-en", tmp_path / "b")
    artifact = open_artifact(str(tmp_path / "b"))
    assert (artifact.version, artifact.labels) == ("b", ("negative-b", "neutral-b", "positive-b"))
    assert {golden.label for golden in read_golden(artifact)} <= set(artifact.labels)


def test_the_models_file_states_one_version_for_all_callers(tmp_path: Path) -> None:
    for version in ("a", "b"):
        state(tmp_path / "models.yaml", tmp_path / version)
        (model,) = read(tmp_path / "models.yaml").models
        assert [(each.source, each.weight) for each in model.versions] == [(str(tmp_path / version), 100.0)]
