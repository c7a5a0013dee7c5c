"""The models file: what it says, how it changes, and the log of its changes. Loads no model."""

from .audit import Change, appending, audit_file, previous, read_log
from .changes import add, canary, promote, remove, rollback, shadow
from .file import locate, locked, loses_comments, read, write
from .spec import Catalog, Kind, ModelSpec, Shares, VersionSpec, kind_of

__all__ = [
    "Catalog",
    "Change",
    "Kind",
    "ModelSpec",
    "Shares",
    "VersionSpec",
    "add",
    "appending",
    "audit_file",
    "canary",
    "kind_of",
    "locate",
    "locked",
    "loses_comments",
    "previous",
    "promote",
    "read",
    "read_log",
    "remove",
    "rollback",
    "shadow",
    "write",
]
