"""`rt-sentiment models verify`."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..console import print_json, print_table
from ..exits import FAILED, OK
from ..flags import read_settings, setting_flags

_SIGNS = {"passed": "[green]passed[/]", "failed": "[red]failed[/]", "skipped": "[dim]skipped[/]"}


@click.command(short_help="Check that a model can be served.")
@click.argument("model", metavar="PATH")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Public key that the model must be signed with; may be given several times, and one is enough "
    "[SENTIMENT_MODELS_KEYS].",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(("backend", "device", "precision", "slots"))
def verify(*, model: str, keys: tuple[Path, ...], as_json: bool, **flags: Any) -> int:
    """Check that a model can be served.

    This checks its files, signature, format, labels and memory. Then it loads the model, runs it, and compares its
    answers to its golden texts with those that it was published with.

    PATH is a directory, the name of an embedded model, a name on the Hugging Face hub, or an address such as
    s3://bucket/folder. The exit status is 1 if a check fails.
    """
    from ... import logs
    from .checks import Verification
    from .golden import compare_golden_texts

    settings = read_settings(flags)
    logs.configure("console", "error")
    checks = Verification(
        settings, keys or settings.models_keys, partial(compare_golden_texts, needed=settings.golden_agreement)
    ).run(model)
    failed = any(check.result == "failed" for check in checks)
    if as_json:
        print_json({"model": model, "passed": not failed, "checks": [asdict(check) for check in checks]})
    else:
        from rich.markup import escape

        print_table(
            ("check", "result", "detail"),
            [(check.name, _SIGNS[check.result], escape(check.detail)) for check in checks],
        )
    return FAILED if failed else OK
