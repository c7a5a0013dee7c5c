"""The queues of RQ, which bring jobs to workers. What is in them is only the id of a job; `Records` has the rest.

RQ may lose a delivery if a process dies at the wrong moment, and may deliver twice. Neither matters: a job begins only
if it is pending, and `sweep` delivers again what is pending and in no queue.
"""

import secrets
from typing import Any

from .connection import translated
from .job import PRIORITIES, TRAINING, Job

QUEUES = (*PRIORITIES, TRAINING)
_QUEUE = "rt-sentiment-{}"
# The package is called `app` in a working tree and `rt_sentiment` in the wheel; workers know the function by this name.
TASK_MODULE = "rt_sentiment_jobs"
_TASK = f"{TASK_MODULE}.run_job"
_FAILURE_TTL_S = 60  # of the record of RQ, which nobody reads


class Queues:
    """Puts jobs into queues."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def deliver(self, job: Job) -> None:
        """Put a job into its queue, from where the next free worker takes it."""
        with translated():
            self.queue(job.queue).enqueue_call(
                _TASK,
                args=(job.id,),
                timeout=-1,  # no limit
                result_ttl=0,
                failure_ttl=_FAILURE_TTL_S,
                job_id=f"{job.id}-{secrets.token_hex(4)}",
                description=job.id,
                at_front=job.queue == TRAINING and job.priority == "high",
            )

    def waiting(self, name: str) -> list[str]:
        """Return the ids of the deliveries in a queue, the next one first."""
        with translated():
            return [str(each) for each in self.queue(name).job_ids]

    def withdraw(self, name: str, delivery: str) -> None:
        with translated():
            self.queue(name).remove(delivery)

    def queue(self, name: str) -> Any:
        from rq import Queue
        from rq.serializers import JSONSerializer  # the default is pickle, which runs code that it reads

        return Queue(_QUEUE.format(name), connection=self._redis, serializer=JSONSerializer)


def job_of(delivery: str) -> str:
    """Return the id of the job that a delivery brings."""
    return delivery.partition("-")[0]
