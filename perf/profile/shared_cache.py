"""`python -m perf.profile.shared_cache`: when a shared cache in Redis pays: the model's time against a round trip.

The same new texts go, one at a time, to three services in turn: one with the model alone (no cache), one that finds every
text in Redis, and one that asks Redis in vain and runs the model then. Ratios are those of each round, to the model alone.
The Redis is on this machine; `--round-trip-ms` adds the time of a network.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from app.inference import Model, load_model
from app.metrics import Metrics
from app.serving import Lifecycle, Loader, Query, RedisStore, Service, ServingLimits, SharedCache, SharedCacheOptions
from perf.load.texts import of_length, sentences

_PATIENT_MS = 600_000.0
