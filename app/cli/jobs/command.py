"""`rt-sentiment jobs`: the commands and their flags."""

from typing import Any

import click

from ...jobs import MEDIA_TYPES, STATUSES, TYPES
from ..console import print_json, print_table
from ..exits import OK
from .client import JobsClient, path_of
from .result import file_for, format_for, write
from .server import call, finish, server_flags
from .submit import submit, train


@click.group()
def jobs() -> None:
    """Score files and train models in the background: send jobs to a server, follow them, and fetch their results."""


jobs.add_command(submit)
jobs.add_command(train)


@jobs.command("list")
@click.option("--status", type=click.Choice(STATUSES))
@click.option("--type", "type_", type=click.Choice(TYPES))
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many jobs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_flags
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
            (
                job["id"], job["type"], job["status"], job["created_at"][:19], _progress(job), str(job["attempts"]),
                job["error"] or "",
            )
            for job in found
        ]  # fmt: skip
        print_table(("id", "type", "status", "created", "done", "attempts", "error"), rows, numbers=(4, 5))
        return OK

    return call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@server_flags
def show(*, job_id: str, url: str, api_key: str | None) -> int:
    """Print the state of a job as JSON."""

    def use(client: JobsClient) -> int:
        print_json(client.call("GET", path_of(job_id)))
        return OK

    return call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the state as JSON.")
@server_flags
def wait(*, job_id: str, as_json: bool, url: str, api_key: str | None) -> int:
    """Show the progress of a job until it is over. Exit status: 0 completed, 1 failed or cancelled."""
    return call(url, api_key, lambda client: finish(client, job_id, as_json=as_json))


@jobs.command()
@click.argument("job_id", metavar="ID")
@click.option("-o", "--out", default="-", metavar="FILE", help="Where to write.  [default: standard output]")
@click.option(
    "--format", "form", type=click.Choice(tuple(MEDIA_TYPES)), help="[default: by the name of FILE, or ndjson and tar]"
)
@click.option("--force", is_flag=True, help="Replace FILE.")
@server_flags
def result(*, job_id: str, out: str, form: str | None, force: bool, url: str, api_key: str | None) -> int:
    """Fetch the result of a completed job: its rows, or the archive (tar) with a model.

    The name of FILE says the format, as in `score`, and may end in .gz.
    """
    wanted, target = format_for(out, form), file_for(out, force=force)

    def use(client: JobsClient) -> int:
        write(client.result(job_id, wanted), target)
        return OK

    return call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@server_flags
def retry(*, job_id: str, url: str, api_key: str | None) -> int:
    """Try a job again that failed or was cancelled. It goes on from where it was."""

    def use(client: JobsClient) -> int:
        click.echo(client.call("POST", f"{path_of(job_id)}/retry")["status"])
        return OK

    return call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@server_flags
def cancel(*, job_id: str, url: str, api_key: str | None) -> int:
    """Cancel a job that is not over. A running one stops within seconds."""

    def use(client: JobsClient) -> int:
        click.echo(client.cancel(job_id))
        return OK

    return call(url, api_key, use)


@jobs.command()
@click.argument("job_id", metavar="ID")
@server_flags
def delete(*, job_id: str, url: str, api_key: str | None) -> int:
    """Delete a job that is over, with its result."""

    def use(client: JobsClient) -> int:
        client.delete(job_id)
        click.echo("deleted")
        return OK

    return call(url, api_key, use)


def _progress(job: dict[str, Any]) -> str:
    done, total = job["progress"]["done"], job["progress"]["total"]
    return f"{done:,}" if total in (None, done) else f"{done:,} of {total:,}"
