"""Background jobs: what the API does with them, and the workers that run them.

Redis and RQ are imported only when `Jobs` is created or `work` is called.
"""

from .job import PRIORITIES, STATUSES, TRAINING, TYPES, Job, JobType, Priority, Status
from .options import JobOptions
from .process import work
from .queue import QUEUES
from .request import MODEL_NAME, InferenceRequest, TrainingRequest, why_no_name
from .results import MEDIA_TYPES, ResultFile
from .service import Jobs, NewJob, Upload
from .tasks import TraceJob, untraced
from .training import why_not_here

__all__ = [
    "MEDIA_TYPES",
    "MODEL_NAME",
    "PRIORITIES",
    "QUEUES",
    "STATUSES",
    "TRAINING",
    "TYPES",
    "InferenceRequest",
    "Job",
    "JobOptions",
    "JobType",
    "Jobs",
    "NewJob",
    "Priority",
    "ResultFile",
    "Status",
    "TraceJob",
    "TrainingRequest",
    "Upload",
    "untraced",
    "why_no_name",
    "why_not_here",
    "work",
]
