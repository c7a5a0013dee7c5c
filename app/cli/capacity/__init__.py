"""`rt-sentiment capacity`: how many replicas a load needs."""

from .command import capacity

__all__ = ["capacity"]
