"""What may happen to a job, and what may not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.jobs import Job, transitions
from app.jobs.transitions import Refused


def pending(**fields: object) -> Job:
    job = Job("a1", "inference", "all", {}, created_at=0.0, updated_at=0.0, max_failures=3, ttl_s=60)
    return replace(job, **fields)  # type: ignore[arg-type]


def running(token: str = "t", **fields: object) -> Job:
    return replace(transitions.claim(pending(), token, 1.0), **fields)  # type: ignore[arg-type]


def checkpoint(job: Job, rows: int, token: str = "t") -> Job:
    return transitions.progress(job, token, 2.0, done=rows, total=9, per_s=1.0, checkpoint={"rows": rows})


def test_a_job_is_claimed_once() -> None:
    job = running()
    assert (job.status, job.attempts, job.started_at) == ("running", 1, 1.0)
    with pytest.raises(Refused):
        transitions.claim(job, "u", 1.0)


def test_a_job_does_not_begin_before_its_time() -> None:
    with pytest.raises(Refused):
        transitions.claim(pending(due_at=10.0), "t", 9.0)
    assert transitions.claim(pending(due_at=10.0), "t", 10.0).status == "running"


def test_a_training_that_gets_on_may_fail_as_often_as_before() -> None:
    def save(job: Job, steps: int) -> Job:
        return transitions.progress(job, "t", 2.0, done=steps, total=9, per_s=1.0, checkpoint={"steps": steps})

    job = save(running(failures=2, type="training"), 3)
    assert job.failures == 0
    assert save(replace(job, failures=2), 3).failures == 2


def test_a_repeated_training_waits_with_the_trainings() -> None:
    job = pending(type="training", queue="training", every_s=60.0)
    assert transitions.successor(job, "a2", 90.0).queue == "training"


CHANGES: list[Callable[[Job], Job]] = [
    lambda job: checkpoint(job, 1, "other"),
    lambda job: transitions.complete(job, "other", 2.0, {}),
    lambda job: transitions.fail(job, "other", 2.0, "why"),
    lambda job: transitions.hand_back(job, "other", 2.0),
    lambda job: transitions.lose(job, 2.0, "other"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_process_that_lost_the_job_changes_nothing(change: Callable[[Job], Job]) -> None:
    with pytest.raises(Refused):
        change(running("t"))
    change(running("other"))  # its own process may


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_changes_a_job_that_was_cancelled(change: Callable[[Job], Job]) -> None:
    with pytest.raises(Refused):
        change(transitions.cancel(running("other"), 2.0))


def test_a_failure_is_tried_again_after_growing_pauses_until_it_is_final() -> None:
    job, pauses = pending(), []
    for _ in range(2):
        job = transitions.fail(transitions.claim(job, "t", job.due_at), "t", 100.0, "why")
        pauses.append(job.due_at - 100.0)
        assert (job.status, job.error) == ("pending", "why")
    assert pauses == [5.0, 20.0]
    job = transitions.fail(transitions.claim(job, "t", job.due_at), "t", 300.0, "why")
    assert (job.status, job.finished_at, job.attempts) == ("failed", 300.0, 3)


def test_pauses_do_not_grow_without_end() -> None:
    assert transitions.pause_s(100) == transitions.pause_s(1000) == 600.0


def test_a_job_that_gets_on_may_be_lost_any_number_of_times() -> None:
    job = pending()
    for rows in range(1, 9):
        job = checkpoint(transitions.claim(job, "t", 1.0), rows)
        job = transitions.lose(job, 2.0)
        assert (job.status, job.due_at) == ("pending", 0.0)  # at once
    assert job.attempts == 8


def test_a_job_that_kills_its_worker_each_time_fails() -> None:
    job = pending()
    for _ in range(3):
        assert job.status == "pending"
        job = transitions.lose(transitions.claim(job, "t", 9.0), 2.0)
    assert job.status == "failed"


def test_an_error_that_cannot_pass_is_final_at_once() -> None:
    assert transitions.fail(running(), "t", 2.0, "why", is_final=True).status == "failed"


def test_handing_a_job_back_does_not_count_as_an_attempt() -> None:
    job = transitions.hand_back(checkpoint(running(), 5), "t", 3.0)
    assert (job.status, job.attempts, job.failures, job.token) == ("pending", 0, 0, None)
    assert job.checkpoint == {"rows": 5}


def test_trying_again_goes_on_from_the_checkpoint() -> None:
    failed = transitions.fail(checkpoint(running(), 5), "t", 3.0, "why", is_final=True)
    again = transitions.retry(failed, 4.0)
    assert (again.status, again.failures, again.finished_at) == ("pending", 0, None)
    assert again.checkpoint == {"rows": 5}


@pytest.mark.parametrize("job", [pending(), running(), transitions.complete(running(), "t", 2.0, {})])
def test_only_what_failed_or_was_cancelled_is_tried_again(job: Job) -> None:
    with pytest.raises(Refused):
        transitions.retry(job, 4.0)


def test_each_change_has_a_number_of_its_own() -> None:
    job = running()
    assert [job.version, checkpoint(job, 1).version] == [1, 2]


def test_a_job_survives_json_also_with_fields_of_another_version() -> None:
    job = checkpoint(running(), 5)
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(job.to_json()[:-1] + b',"new":1}') == job


def test_the_time_left_is_known_while_a_job_runs() -> None:
    job = transitions.progress(running(), "t", 2.0, done=3, total=9, per_s=2.0)
    figures = {"done": 3, "total": 9, "per_s": 2.0, "eta_s": 3.0}
    assert job.view()["progress"] == figures | {"phase": None, "loss": None}
    assert transitions.cancel(job, 3.0).view()["progress"]["eta_s"] is None


@pytest.mark.parametrize(("now_s", "run_at"), [(100.0, 160.0), (159.0, 160.0), (160.0, 220.0), (1000.0, 1060.0)])
def test_a_job_that_is_repeated_leaves_out_times_that_are_over(now_s: float, run_at: float) -> None:
    job = pending(every_s=60.0, run_at=100.0, checkpoint={"rows": 5}, queue="high")
    following = transitions.successor(job, "a2", now_s)
    assert (following.run_at, following.due_at, following.every_s) == (run_at, run_at, 60.0)
    assert (following.status, following.checkpoint, following.queue) == ("pending", {}, "normal")
