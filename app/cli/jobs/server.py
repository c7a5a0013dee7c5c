"""What the commands of jobs share: where the server is, and how a job ends in the terminal."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import click

from ..console import print_json
from ..exits import FAILED, OK
from ..score.remote import Server
from .client import JobsClient


def server_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags that say where the server is."""
    key = click.option("--api-key", envvar="RT_SENTIMENT_API_KEY", show_envvar=True, help="Key with the scope jobs.")
    url = click.option(
        "--url",
        envvar="RT_SENTIMENT_URL",
        show_envvar=True,
        default="http://127.0.0.1:8000",
        show_default=True,
        help="The server.",
    )
    return url(key(function))


def call(url: str, api_key: str | None, use: Callable[[JobsClient], int]) -> int:
    with closing(Server(url, api_key)) as server:
        return use(JobsClient(server))


def finish(client: JobsClient, job_id: str, *, as_json: bool) -> int:
    job = client.wait(job_id, quiet=as_json)
    if as_json:
        print_json(job)
    elif job["status"] == "completed":
        click.echo(f"{job_id} completed: {_summary(job)}")
    else:
        click.echo(f"{job_id} {job['status']}" + (f": {job['error']}" if job["error"] else ""))
    return OK if job["status"] == "completed" else FAILED


def _summary(job: dict[str, Any]) -> str:
    result = job["result"]
    if job["type"] == "training":
        accuracy, macro_f1 = 100 * result["accuracy"], 100 * result["macro_f1"]
        return f"{result['model']}, accuracy {accuracy:.1f} %, macro F1 {macro_f1:.1f} %"
    return f"{result['rows']:,} rows, {result['errors']:,} with an error"
