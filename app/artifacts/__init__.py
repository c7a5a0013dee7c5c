"""How an artifact reaches this machine, and what must be true of it before it is loaded. Methods block."""

from .memory import check_fits, memory_limit, memory_needed, memory_used
from .signature import sign, verify_signature
from .store import ArtifactStore

__all__ = [
    "ArtifactStore",
    "check_fits",
    "memory_limit",
    "memory_needed",
    "memory_used",
    "sign",
    "verify_signature",
]
