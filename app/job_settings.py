"""The settings of background jobs: a part of `Settings`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from .setting_types import RedisUrl, Sources


class JobSettings(BaseSettings):
    """What the service and the workers must agree on."""

    redis_url: RedisUrl = Field(
        "",
        description="Redis of background jobs, such as redis://user:password@host:6379/0 or rediss://… for TLS; empty "
        "turns jobs off",
    )
    redis_password_file: Path | None = Field(
        None, description="file with the password of that Redis, if its URL has none"
    )
    job_store: str = Field(
        "~/.local/state/rt-sentiment/jobs",
        description="where uploads and results of jobs lie, for the service and its workers: a folder, or s3://…, "
        "gs://… or abfs://…",
    )
    job_sources: Sources = Field(
        (),
        description="places from which jobs may read, such as file:///data,s3://bucket/in; none by default",
    )
    job_bases: Path | None = Field(
        None,
        description="folder of the workers with models that training jobs may start from by their names, beside "
        "sentiment-en and encoder",
    )
    job_ttl_s: int = Field(7 * 24 * 3600, ge=60, description="seconds for which a finished job and its result are kept")
    job_attempts: int = Field(
        3, ge=1, le=100, description="times that a job may fail in a row, without a row scored in between"
    )
    job_max_open: int = Field(100, ge=1, description="maximum jobs of an API key that are not finished; more get 429")
    job_max_open_bytes: int = Field(
        10 * 1024**3,
        ge=1024,
        description="maximum bytes in the uploads and texts of these jobs together; more get 429. A source at "
        "https://… counts as the largest upload",
    )
    worker_port: int = Field(
        0, ge=0, le=65535, description="port of a worker for /livez and /metrics, on SENTIMENT_HOST; 0 means none"
    )
    job_max_upload_bytes: int = Field(1024**3, ge=1024, description="maximum bytes in the upload of a job")
