"""What the service and the workers must agree on."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The settings of background jobs, with the names that they have there."""

    redis_url: str
    job_store: str  # a folder, or the URL of an object store
    job_sources: tuple[str, ...]  # places from which jobs may read
    job_ttl_s: int
    job_attempts: int
    job_max_open: int
    job_max_open_bytes: int
    job_max_upload_bytes: int
    redis_password_file: Path | None = None
    job_bases: Path | None = None  # where trainings may find what they start from

    @property
    def max_input_bytes(self) -> int:
        """What one job may have in the store."""
        return min(self.job_max_upload_bytes, self.job_max_open_bytes)

    @classmethod
    def of(cls, settings: Any) -> Self:
        """Take them from an object that has them all."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})
