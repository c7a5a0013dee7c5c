"""`rt-sentiment jobs`: the commands and their flags."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from ...jobs import MEDIA_TYPES, PRIORITIES, STATUSES, TYPES
from ...tables import INPUTS
from ..console import print_json, print_table
from ..exits import FAILED, OK, WRONG_USAGE, Failure
from ..score.remote import Server
from .client import JobsClient, path_of

_LAYOUT = ("format", "text_column", "encoding", "delimiter", "no_header", "no_quotes")
_SCHEDULE = ("priority", "run_at", "every")
_OPTIONS = ("on_bad_row", "prefix", "long_text")


def _server_flags(function: Callable[..., Any]) -> Callable[..., Any]:
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


def _call(url: str, api_key: str | None, use: Callable[[JobsClient], int]) -> int:
    with closing(Server(url, api_key)) as server:
        return use(JobsClient(server))


@click.group()
def jobs() -> None:
    """Score files in the background: send jobs to a server, follow them, and fetch their results."""


@jobs.command()
@click.argument("source", metavar="FILE|URL")
@click.option("-c", "--text-column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option("--input-format", "format_", type=click.Choice(INPUTS), help="Needed if the name does not say it.")
@click.option("--encoding", metavar="NAME", help="Encoding of the input.  [default: UTF-8, or by its BOM]")
@click.option("--delimiter", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'.")
@click.option("--no-header", is_flag=True, help="The first line of CSV and TSV is a row; columns have numbers.")
@click.option("--no-quotes", is_flag=True, help="Quotes in CSV and TSV are ordinary characters.")
@click.option("--on-bad-row", type=click.Choice(("error", "keep")), help="A row that cannot be read: see `score`.")
@click.option("--prefix", help="Begins the names of the new columns: label, confidence, scores, …")
@click.option("--long-text", type=click.Choice(("truncate", "window")), help="A text that is too long: see `score`.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True)
@click.option("--run-at", metavar="TIME", help="Begin then, such as 2027-01-31T04:00:00Z.")
@click.option("--every", metavar="DURATION", help="Repeat, such as PT1H; only with a URL.")
@click.option("--wait", is_flag=True, help="Show the progress, and return when the job is over.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_server_flags
def submit(
    *,
    source: str,
    format_: str | None,
    wait: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
    **flags: Any,
) -> int:
    """Send a job for FILE, which is uploaded, or for URL, which the worker reads. Prints the id of the job."""
    given = {name: value for name, value in ({"format": format_} | flags).items() if value}

    def use(client: JobsClient) -> int:
        if "://" in source:
            layout = {name: value for name, value in given.items() if name in _LAYOUT}
            options = {name: value for name, value in given.items() if name in _OPTIONS}
            schedule = {name: value for name, value in given.items() if name in _SCHEDULE}
            accepted = client.submit_url(source, layout, options, schedule)
        elif Path(source).is_file():
            accepted = client.upload(Path(source), given)
        else:
            raise Failure(f"{source}: no such file", WRONG_USAGE)
        if not wait:
            print_json(accepted) if as_json else click.echo(accepted["id"])
            return OK
        return _finish(client, accepted["id"], as_json=as_json)

    return _call(url, api_key, use)


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--type", "type_", type=click.Choice(TYPES))
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many jobs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_server_flags
def list_jobs(
    *, status: str | None, type_: str | None, limit: int, as_json: bool, url: str, api_key: str | None
) -> int:
    """Print your jobs, the newest first."""

    def use(client: JobsClient) -> int:
        found = client.list({"status": status, "type": type_}, limit)
        if as_json:
            print_json(found)
            return OK
        rows = [
            (job["id"], job["status"], job["created_at"][:19], _progress(job), str(job["attempts"]), job["error"] or "")
            for job in found
        ]
        print_table(("id", "status", "created", "rows", "attempts", "error"), rows, numbers=(3, 4))
        return OK

    return _call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@_server_flags
def show(*, job_id: str, url: str, api_key: str | None) -> int:
    """Print the state of a job as JSON."""

    def use(client: JobsClient) -> int:
        print_json(client.call("GET", path_of(job_id)))
        return OK

    return _call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON.")
@_server_flags
def wait(*, job_id: str, as_json: bool, url: str, api_key: str | None) -> int:
    """Show the progress of a job until it is over. Exit status: 0 completed, 1 failed or cancelled."""
    return _call(url, api_key, lambda client: _finish(client, job_id, as_json=as_json))


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("-o", "--out", default="-", metavar="FILE", help="Where to write.  [default: standard output]")
@click.option("--format", "form", type=click.Choice(tuple(MEDIA_TYPES)), default="ndjson", show_default=True)
@_server_flags
def result(*, job_id: str, out: str, form: str, url: str, api_key: str | None) -> int:
    """Fetch the result of a completed job."""

    def use(client: JobsClient) -> int:
        client.download(job_id, form, out)
        return OK

    return _call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@_server_flags
def retry(*, job_id: str, url: str, api_key: str | None) -> int:
    """Try a job again that failed or was cancelled. It goes on after the last row that was scored."""

    def use(client: JobsClient) -> int:
        click.echo(client.call("POST", f"{path_of(job_id)}/retry")["status"])
        return OK

    return _call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@_server_flags
def cancel(*, job_id: str, url: str, api_key: str | None) -> int:
    """Cancel a job. One that is over is forgotten, with its result."""

    def use(client: JobsClient) -> int:
        cancelled = client.call("DELETE", path_of(job_id))
        click.echo(cancelled["status"] if cancelled else "forgotten")
        return OK

    return _call(url, api_key, use)


def _finish(client: JobsClient, job_id: str, *, as_json: bool) -> int:
    job = client.wait(job_id, quiet=as_json)
    if as_json:
        print_json(job)
    elif job["status"] == "completed":
        click.echo(f"{job_id} completed: {job['result']['rows']:,} rows, {job['result']['errors']:,} with an error")
    else:
        click.echo(f"{job_id} {job['status']}" + (f": {job['error']}" if job["error"] else ""))
    return OK if job["status"] == "completed" else FAILED


def _progress(job: dict[str, Any]) -> str:
    done, total = job["progress"]["done"], job["progress"]["total"]
    return f"{done:,}" if total in (None, done) else f"{done:,} of {total:,}"
