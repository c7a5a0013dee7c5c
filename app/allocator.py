"""The memory that the C library keeps after it was freed."""

import ctypes
import os
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_ARENAS = 2


def share_arenas() -> None:
    """Let all threads allocate from few arenas, where the C library can (glibc on Linux). Call it before they start.

    By default there are up to eight for each core, and memory that was freed in one is of no use in the others. ONNX
    Runtime has an arena of its own, so threads seldom wait for each other. MALLOC_ARENA_MAX takes precedence.
    """
    if sys.platform == "linux" and "MALLOC_ARENA_MAX" not in os.environ:
        if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
            mallopt(_ARENA_MAX, _ARENAS)


def return_freed_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc on Linux). Blocks for some milliseconds.

    Each thread has an arena of its own. What a model has used there would stay with the process: after ten swaps, as
    much as several models need.
    """
    if sys.platform != "linux":
        return
    # Of the process itself, whichever C library that has. ctypes releases the interpreter lock meanwhile.
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
