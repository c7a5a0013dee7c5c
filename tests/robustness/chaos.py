"""Faults against real servers: `make chaos`, `make chaos ARGS="--rounds 100"`.

Each fault happens while well-behaved clients send requests. The program prints what they saw, whether any request was
lost, and how long the recovery took.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

# Importing these registers their faults.
from tests.robustness import caller_faults, client_faults, job_faults, model_faults, process_faults, replica_faults  # noqa: F401
from tests.robustness.fault import FAULTS, Outcome
from training.evaluation import aligned

_HEADER = ("fault", "requests", "lost", "recovery, s", "responses")
_TEXT_COLUMNS = {0, 4}


def _row(outcome: Outcome) -> tuple[str, ...]:
    recovery = "" if outcome.recovery_s is None else f"{outcome.recovery_s:.2f}"
    responses = ", ".join(f"{count} {response}" for response, count in outcome.responses.items())
    return outcome.fault, f"{outcome.requests}", f"{outcome.lost}", recovery, responses


def main() -> None:
    """Cause every fault; exit with 1 if any request was lost."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="how many times to cause each fault (%(default)s)")
    parser.add_argument("--only", metavar="WORDS", default="", help="only faults whose names contain these words")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all outcomes to a file")
    args = parser.parse_args()
    outcomes = []
    for number in range(args.rounds):
        rows = [_HEADER]
        for name, run in FAULTS.items():
            if args.only in name:
                print(f"round {number + 1}: {name}", file=sys.stderr)
                outcomes.append(run())
                rows.append(_row(outcomes[-1]))
        print(aligned(rows, _TEXT_COLUMNS))
    if args.json:
        args.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    if lost := sum(outcome.lost for outcome in outcomes):
        sys.exit(f"{lost} requests were lost")


if __name__ == "__main__":
    main()
