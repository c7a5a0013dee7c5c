"""The memory that the C library keeps after it was freed."""

import ctypes
import sys


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
