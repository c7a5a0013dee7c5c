"""Freed memory goes back to the system where the C library can give it back."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from app import allocator


def test_freed_memory_is_returned_by_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(malloc_trim=calls.append))
    allocator.return_freed_memory()
    assert calls == [0]


def test_another_c_library_or_system_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    allocator.return_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    allocator.return_freed_memory()
