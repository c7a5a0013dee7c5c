"""Background jobs: what the API does with them, and the workers that run them.

Redis and RQ are imported only when `Jobs` is created or `work` is called.
"""

from .job import PRIORITIES, STATUSES, TYPES, Job, JobType, Priority, Status
from .options import JobOptions
from .process import work
from .queue import QUEUES
from .request import InferenceRequest
from .results import MEDIA_TYPES
from .service import Jobs, NewJob, Upload

__all__ = [
    "MEDIA_TYPES",
    "PRIORITIES",
    "QUEUES",
    "STATUSES",
    "TYPES",
    "InferenceRequest",
    "Job",
    "JobOptions",
    "JobType",
    "Jobs",
    "NewJob",
    "Priority",
    "Status",
    "Upload",
    "work",
]
