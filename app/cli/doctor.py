"""`rt-sentiment doctor`."""

from dataclasses import asdict
from typing import Any

import click

from .console import print_json, print_rich
from .exits import FAILED, OK
from .flags import ALL_SETTINGS, read_settings, setting_flags

_SIGNS = {"ok": "[green]ok[/]      ", "warning": "[yellow]warning[/] ", "problem": "[red]problem[/] "}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(ALL_SETTINGS)
def doctor(*, as_json: bool, **flags: Any) -> int:
    """Check this machine, the model and the settings, and say how to fix what is wrong.

    It loads the model, runs one text, and tries to listen on the port; it changes nothing. With flags, it checks what
    `rt-sentiment serve` with the same flags would use. The exit status is 1 if there is a problem.
    """
    from .. import logs
    from .checks import run_checks

    settings = read_settings(flags)
    logs.configure("console", "error")
    findings = run_checks(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        from rich.markup import escape

        for finding in findings:
            fix = f"\n        {escape(finding.fix)}" if finding.fix else ""
            print_rich(f"{_SIGNS[finding.level]}[bold]{finding.name}[/]: {escape(finding.detail)}{fix}")
    return FAILED if any(finding.level == "problem" for finding in findings) else OK
