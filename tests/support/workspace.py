"""A folder like a clone of the repository, in which the commands of the documents run.

Programs that serve, train, measure or need an engine are replaced by one that records its arguments and settings.
"""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import ROOT, clean_environment

_RECORD = """\
#!/bin/sh
file=$(mktemp "$RECORDS/XXXXXXXX")
printf '%s\\0' "${0##*/}" "$@" > "$file"
env -0 > "$file.env"
"""
_RT_SENTIMENT = f"""\
#!/bin/sh
case "$1" in serve|train) exec "${{0%/*}}/recorded" "$@";; esac
PYTHONPATH='{ROOT}' exec '{sys.executable}' -m app "$@"
"""
# Every other status of grep than "no line matches" is an error.
_GREP = """\
#!/bin/sh
PATH=${PATH#*:}
grep "$@"
status=$?
[ $status -eq 1 ] || exit $status
"""
_RECORDED = (
    "recorded", "sudo", "python", "python3", "pip", "coverage", "ruff", "mypy", "bandit", "watchfiles", "pre-commit",
    "docker",
)  # fmt: skip
_OUTPUTS = ("dist", "runs")  # commands write to them, or remove them
_STAMPS = ("serve", "dev", "perf", "docs")


# The documents say that readers have such files.
_FILES = {
    "reviews.csv": "id,day,body\n1,Monday,Loved every minute.\n2,Tuesday,Never again.\n",
    "posts.jsonl": '{"text": "Loved every minute."}\n{"text": "Never again."}\n',
    "labelled.csv": "body,stars\nLoved every minute.,positive\nNever again.,negative\n",
}


@dataclass(frozen=True)
class Call:
    """A recorded program with its arguments, and the settings in its environment."""

    program: str
    arguments: list[str]
    settings: dict[str, str]


class Workspace:
    """A copy of the repository in which files can be written; most of it consists of links."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records = folder / "records"
        self._bin = folder / ".venv" / "bin"
        for directory in (self._records, self._bin, folder / "models"):
            directory.mkdir(parents=True)
        (folder / "models" / "sentiment-en").symlink_to(ROOT / "models" / "sentiment-en")
        shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        for entry in ROOT.iterdir():
            if not (folder / entry.name).exists() and entry.name not in _OUTPUTS and not entry.name.startswith("."):
                (folder / entry.name).symlink_to(entry)
        programs = dict.fromkeys(_RECORDED, _RECORD) | {"rt-sentiment": _RT_SENTIMENT, "grep": _GREP}
        for name, script in programs.items():
            (self._bin / name).write_text(script)
            (self._bin / name).chmod(0o755)
        for name, rows in _FILES.items():
            (folder / name).write_text(rows)
            (folder / f"{name}.gz").write_bytes(gzip.compress(rows.encode()))
        for name in _STAMPS:  # so that make installs nothing
            (folder / ".venv" / f"{name}.stamp").touch()

    def run(self, script: str) -> str:
        """Run a shell script with the recording programs first in its path; return its output."""
        environment = {name: value for name, value in clean_environment().items() if not name.startswith("MAKE")}
        environment |= {"PATH": f"{self._bin}:{os.environ['PATH']}", "RECORDS": str(self._records)}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def calls(self) -> Iterator[Call]:
        """Yield what was recorded so far."""
        for file in sorted(self._records.iterdir()):
            if file.suffix == ".env":
                continue
            program, *arguments = file.read_text().split("\0")[:-1]
            variables = dict(pair.split("=", 1) for pair in Path(f"{file}.env").read_text().split("\0")[:-1])
            settings = {name: value for name, value in variables.items() if name.startswith("SENTIMENT_")}
            yield Call(program, arguments, settings)
