"""`rt-sentiment capacity`."""

import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from ..console import print_json
from ..exits import FAILED, OK
from ..flags import MODEL_SETTINGS, read_settings, setting_flags

if TYPE_CHECKING:
    from ...capacity import Costs, Lengths, Plan
    from ...config import Settings

_MEAN_TOKENS = 29.0  # of a model that does not say how long its texts are: about a sentence and a half
_BATCH_SIZE, _BATCH_TOKENS = 16, 512  # on a CPU, as the settings say
_POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.option("--rps", type=_POSITIVE, required=True, help="Requests per second, of one text each.")
@click.option("--p99-ms", type=_POSITIVE, required=True, help="99 % of the requests must be answered within this time.")
@click.option(
    "--tokens", type=click.FloatRange(1, 100_000), help="Mean tokens of a text.  [default: as the model says]"
)
@click.option(
    "--hit-rate", type=click.FloatRange(0, 1), default=0.0, help="Share that the cache answers.  [default: 0]"
)
@click.option("--cores", type=click.IntRange(1, 256), help="Cores of a replica.  [default: the best of 1, 2 and 4]")
@click.option("--replicas", type=click.IntRange(1), help="Only say what so many replicas would do.")
@click.option("--max-cores", type=click.IntRange(1), help="Cores that all replicas may use together.")
@click.option("--max-memory-mb", type=_POSITIVE, help="Memory that all replicas may use together.")
@click.option(
    "--cost", type=(_POSITIVE, _POSITIVE), metavar="BASE_MS TOKEN_MS", help="Measure nothing: a batch costs this."
)
@click.option("--request-ms", type=_POSITIVE, help="Processor time of the event loop for a request.")
@click.option("--hit-ms", type=_POSITIVE, help="The same for a request that the cache answers.")
@click.option("--memory-mb", type=_POSITIVE, help="Memory of a process.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags((*MODEL_SETTINGS, "max_wait_ms"))
def capacity(
    *,
    rps: float,
    p99_ms: float,
    tokens: float | None,
    hit_rate: float,
    cores: int | None,
    replicas: int | None,
    max_cores: int | None,
    max_memory_mb: float | None,
    cost: tuple[float, float] | None,
    request_ms: float | None,
    hit_ms: float | None,
    memory_mb: float | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Say how many replicas, cores and how much memory a load needs, and how long requests would take.

    Starts a server with one core on this machine, measures for about fifteen seconds what a batch, a request and a
    cache hit cost, and simulates replicas behind a proxy that sends each request to the one with the fewest in
    progress. With --cost, nothing is measured, and figures that are not given are those of a reference machine. Exits
    with 1 if the goal cannot be reached with what is given.
    """
    from ...capacity import REFERENCE, Goal, Limits, Load, describe, plan
    from .depths import read_depths
    from .measure import measure

    settings = read_settings(flags)
    lengths = _lengths(settings, tokens)
    costs = replace(REFERENCE, base_ms=cost[0], token_ms=cost[1]) if cost else measure(settings)
    given: dict[str, Any] = {"request_ms": request_ms, "hit_ms": hit_ms, "memory_mb": memory_mb}
    costs = replace(costs, **{name: value for name, value in given.items() if value is not None})
    costs = replace(costs, depths=read_depths(settings, measured=not cost))
    limits = Limits(
        settings.max_wait_ms,
        settings.max_batch_size or _BATCH_SIZE,
        settings.max_batch_tokens or _BATCH_TOKENS,
        skips_padding=settings.backend != "torch",
    )
    load, goal = Load(rps, lengths, hit_rate), Goal(p99_ms, max_cores or math.inf, max_memory_mb or math.inf)
    result = plan(load, costs, goal, limits, cores=cores or 0, replicas=replicas or 0)
    if as_json:
        print_json(_document(result, costs, lengths))
    else:
        click.echo(describe(result, load, costs, goal))
    return OK if result.missing is None else FAILED


def _lengths(settings: "Settings", mean: float | None) -> "Lengths":
    """Return how long texts are: as given, or as the manifest of the model says."""
    from ...capacity import Lengths
    from ...errors import ArtifactError
    from ...inference import open_artifact, read_development

    most, development = _BATCH_TOKENS, None
    if settings.backend != "mock":
        try:
            artifact = open_artifact(settings.model)
            most, development = artifact.max_tokens, read_development(artifact)
        except ArtifactError:
            if mean is None:
                raise
    if mean is None and development:
        return Lengths.of_shares(development.tokens.edges, development.tokens.shares, most)
    return Lengths.around(mean or _MEAN_TOKENS, most)


def _document(result: "Plan", costs: "Costs", lengths: "Lengths") -> dict[str, Any]:
    expected = asdict(result.expected)
    hours = result.expected.core_hours_per_million
    figures = asdict(costs)
    del figures["delays_ms"]
    return {
        "reached": result.missing is None,
        "missing": result.missing,
        "expected": expected
        | {
            "total_cores": result.expected.layout.total_cores,
            "core_hours_per_million": hours if math.isfinite(hours) else None,
            "processor_dominated_by": result.expected.processor.largest,
            "p99_dominated_by": result.expected.slow.largest,
        },
        "needed": asdict(result.needed) if result.needed else None,
        "alone_p99_ms": result.alone_p99_ms,
        "mean_tokens": lengths.mean,
        "costs": figures | {"delay_p99_ms": costs.delay_p99_ms},
    }
