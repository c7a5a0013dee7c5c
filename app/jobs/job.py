"""A job, as Redis holds it: its state, and what is needed to run it, but never a text."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

Status = Literal["pending", "running", "completed", "failed", "cancelled"]
STATUSES: tuple[Status, ...] = get_args(Status)
JobType = Literal["inference", "training"]
TYPES: tuple[JobType, ...] = get_args(JobType)
Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)  # the first are run first
TRAINING = "training"  # the queue of all trainings, which take other workers


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are seconds since 1970. `transitions` has every change that is allowed."""

    id: str
    type: JobType
    owner: str  # only this caller sees it
    request: Mapping[str, Any]  # what is to be done: see `request`
    created_at: float
    updated_at: float
    max_failures: int
    ttl_s: int  # after its end
    priority: Priority = "normal"
    queue: str = "normal"
    status: Status = "pending"
    started_at: float | None = None
    finished_at: float | None = None
    run_at: float | None = None  # when its owner wants it to begin
    due_at: float = 0.0  # it does not begin before: then, or after the pause that follows a failure
    every_s: float | None = None  # it is repeated so often
    attempts: int = 0  # how often it was begun
    failures: int = 0  # in a row, without a row that was finished in between
    token: str | None = None  # of the process that runs it: nobody else may change it
    done: int = 0
    total: int | None = None
    per_s: float = 0.0
    stage: Mapping[str, Any] = field(default_factory=dict)  # of a training: its phase and its loss
    checkpoint: Mapping[str, Any] = field(default_factory=dict)  # from where it goes on
    result: Mapping[str, Any] | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    trace: Mapping[str, str] = field(default_factory=dict)  # the headers with which its trace goes on
    input_bytes: int = 0  # that it has, or may have, in the store
    store: str = ""  # the identity of the store that has its files
    version: int = 0  # counts the changes

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Read what `to_json` wrote, also in an older or a newer version, which has other fields."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(data).items() if name in known})

    def to_json(self) -> bytes:
        # Not with orjson, which refuses half a surrogate pair: the name of a column may have one.
        return json.dumps(asdict(self)).encode()

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed", "cancelled")

    def view(self) -> dict[str, Any]:
        """Return what its owner sees."""
        eta_s = None
        about: dict[str, Any] = {"name": self.request["name"]} if "name" in self.request else {}
        schedule: dict[str, Any] = {"run_at": _iso(self.run_at)} if self.run_at else {}
        if self.every_s:
            schedule["every_s"] = self.every_s
        if self.status == "running" and self.total is not None and self.per_s:
            eta_s = round(max(0, self.total - self.done) / self.per_s, 1)
        return {
            "id": self.id,
            "type": self.type,
            "status": self.status,
            "created_at": _iso(self.created_at),
            "updated_at": _iso(self.updated_at),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "progress": {
                "done": self.done,
                "total": self.total,
                "per_s": round(self.per_s, 2),
                "eta_s": eta_s,
                "phase": self.stage.get("phase") if self.status == "running" else None,
                "loss": self.stage.get("loss"),
            },
            "attempts": self.attempts,
            "result": self.result,
            "error": self.error,
            "metadata": {**about, "priority": self.priority, **schedule, **self.metadata},
        }


def queue_of(kind: JobType, priority: Priority) -> str:
    """Return the queue in which a job begins to wait."""
    return TRAINING if kind == "training" else priority


def _iso(time_s: float | None) -> str | None:
    if time_s is None:
        return None
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
