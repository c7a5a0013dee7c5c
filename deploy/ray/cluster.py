"""A Ray of this process alone, on this machine, or the one that `RAY_ADDRESS` names.

Anyone who can reach the ports of Ray can run code on it. So one that starts here asks for a token that is made for this
run and that only its processes know. It sends no usage statistics.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "token")
if os.environ["RAY_AUTH_MODE"] == "token" and not {"RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # otherwise Ray stores one in the home directory
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# The application never blocks its event loop, so it can share one with Serve. Direct ingress, which this turns on as
# well, would only make each replica wait for 30 s before it stops: the proxy here does not use it.
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_SERVE_ENABLE_DIRECT_INGRESS", "0")

import ray

from app.cpu import usable_cores


@contextmanager
def running(**options: Any) -> Iterator[None]:
    """Connect to `RAY_ADDRESS`, or start a Ray with these options of `ray.init`; at the end, leave or stop it."""
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level="warning", log_to_driver=options.get("log_to_driver", True))
        try:
            yield
        finally:
            ray.shutdown()
        return
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=usable_cores(),
            include_dashboard=False,
            logging_level="warning",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            **options,
        )
        try:
            yield
        finally:
            ray.shutdown()


def cores_of_all() -> int:
    """Return the cores of all machines of the Ray that is running."""
    return int(ray.cluster_resources().get("CPU", 1))
