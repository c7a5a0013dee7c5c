"""Freed memory goes back to the system, and threads share arenas, where the C library can do it."""

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


def test_threads_share_two_arenas_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *args: calls.append(args)))
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    allocator.share_arenas()
    assert calls == [(-8, 2)]
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    allocator.share_arenas()
    assert len(calls) == 1


def test_another_c_library_or_system_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    allocator.return_freed_memory()
    allocator.share_arenas()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", None)
    allocator.return_freed_memory()
    allocator.share_arenas()
