"""`rt-sentiment worker`."""

import logging
from typing import TYPE_CHECKING, Any

import click

from ..config import PREFIX
from ..errors import SetupError
from .exits import OK, WRONG_USAGE, Failure
from .flags import MODEL_SETTINGS, read_settings, setting_flags

if TYPE_CHECKING:
    from ..jobs import TraceJob

_JOB_SETTINGS = ("redis_url", "job_store", "job_sources", "job_bases", "job_ttl_s", "job_attempts")


@click.command()
@click.option(
    "--queues",
    metavar="NAMES",
    help="Which jobs to run, the first ones first.  [default: high,normal,low, and training if it can train]",
)
@click.option("--slots", "at_a_time", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at a time.")
@setting_flags((*_JOB_SETTINGS, *MODEL_SETTINGS, "host", "worker_port", "tracing", "log_format", "log_level"))
def worker(*, queues: str | None, at_a_time: int, **flags: Any) -> int:
    """Run background jobs until SIGTERM or Ctrl-C. Another worker then goes on with the jobs in progress.

    Each job has its own copy of the model, and its share of all cores, or SENTIMENT_SLOTS of them. Trainings take
    PyTorch and a clone of the repository; give them a worker of their own with --queues training.
    """
    settings = read_settings(flags)
    from .. import logs
    from ..jobs import PRIORITIES, QUEUES, TRAINING, JobOptions, untraced, why_not_here, work
    from ..sockets import authority, listen
    from ..tables import ModelScorer
    from ..types import LongText
    from .scorer import load_model

    cannot_train = why_not_here()
    default = PRIORITIES if cannot_train else QUEUES
    names = [name.strip() for name in queues.split(",")] if queues else [*default]
    if unknown := [name for name in names if name not in QUEUES]:
        raise Failure(f"--queues: no queue {unknown[0]!r}; expected {', '.join(QUEUES)}", WRONG_USAGE)
    if cannot_train and TRAINING in names:
        raise Failure(f"--queues {TRAINING}: {cannot_train}", WRONG_USAGE)
    if not settings.redis_url:
        raise Failure(f"a worker needs {PREFIX}REDIS_URL", WRONG_USAGE)
    logs.configure(settings.log_format, settings.log_level)
    if cannot_train and not queues:
        logs.log(logging.INFO, "no trainings", reason=cannot_train)

    def load_scorer(long_text: LongText) -> ModelScorer:
        return ModelScorer(load_model(settings, processes=at_a_time), long_text)

    trace = _trace_job() if settings.tracing else untraced
    try:
        listener = listen(settings.host, settings.worker_port) if settings.worker_port else None
    except OSError as error:
        raise Failure(f"cannot listen on {authority(settings.host, settings.worker_port)}: {error.strerror}") from None
    work(JobOptions.of(settings), names, load_scorer, listener, at_a_time, trace=trace)
    return OK


def _trace_job() -> "TraceJob":
    """Return what traces jobs."""
    try:
        from ..tracing import check_variables, trace_job

        check_variables()
    except SetupError as error:
        raise Failure(str(error), WRONG_USAGE) from None
    return trace_job
