"""Output for people: tables and progress on a terminal, plain text elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_REPORT_EVERY_S = 10.0

Advance = Callable[[int], None]


def print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
    """Print a table; the columns whose indices are in `numbers` are aligned to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    print_rich(table)


def print_rich(*values: object) -> None:
    """Print with colours on a terminal, and in lines of any length elsewhere."""
    from rich.console import Console

    is_terminal = sys.stdout.isatty()
    Console(highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else 200).print(*values)


@contextmanager
def progress(total: int | None, done: int, unit: str, *, quiet: bool = False) -> Iterator[Advance]:
    """Show progress on standard error, with rate and time left: a bar on a terminal, elsewhere a line now and then.

    Yields a function that takes how many have been done by now.
    """
    if quiet:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _lines(total, done, unit)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        rate = TextColumn("{task.fields[rate]:,.0f} " + unit + "/s")
        bar = Progress(BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn(), console=Console(stderr=True))
        begun_s = time.monotonic()
        with bar:
            task = bar.add_task("", total=total, completed=done, rate=0.0)

            def advance(now: int) -> None:
                bar.update(task, completed=now, rate=(now - done) / max(0.001, time.monotonic() - begun_s))

            yield advance


def _lines(total: int | None, done: int, unit: str) -> Advance:
    begun_s = shown_s = time.monotonic()

    def advance(now: int) -> None:
        nonlocal shown_s
        now_s = time.monotonic()
        if now_s - shown_s < _REPORT_EVERY_S:
            return
        shown_s = now_s
        rate = (now - done) / (now_s - begun_s)
        left = f" of {total:,}, about {(total - now) / max(rate, 0.001):,.0f} s left" if total else ""
        print(f"{now:,} {unit}{left}, {rate:,.0f} {unit}/s", file=sys.stderr, flush=True)

    return advance
