"""What the models of a process share: slots, queue, cache and threads. Turns a loaded model into a service."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..inference import Model, fingerprint_of
from ..logs import log
from ..scheduling import BatchObserver, CostModel, Lane, RunBatch, Scheduler, SchedulerLimits
from ..types import Payload, Prediction, Unfinished
from .cache import Cache
from .observer import Observer as ServiceObserver
from .offload import Offload
from .resolution import Item
from .service import Service
from .shadow import Shadows
from .shared import Entries, SharedCache, SharedPredictions

# The largest batch, in texts and tokens, unless the limits say otherwise. A processor gains nothing from more than 16
# texts. On a GPU little but the fixed cost of a batch counts (`python -m perf.profile.simulate --cost 1.5 0.0002`).
_CPU_BATCH = (16, 512)
_GPU_BATCH = (128, 16_384)

_COMPARED = (4, 32)  # texts, and tokens of each, of the batch that tells what a model costs beside another
_ROUNDS = 3
_SAME = 0.15  # costs that differ by less are taken to be equal: that much is chance
_CHEAPEST, _DEAREST = 1 / 64, 64.0


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """The bounds of a service; a batch size or token limit of 0 fits the device."""

    max_batch_size: int = 0
    max_batch_tokens: int = 0
    max_queue_texts: int = 4096
    max_wait_ms: float = 1000.0
    backend_timeout_ms: float = 30_000.0
    max_text_chars: int = 10_000
    cache_entries: int = 10_000
    cache_per_caller: bool = False
    brownout_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an engine has to know about a model before it can serve it."""

    model: Model
    weight: float  # of a token, in those of the models that came before
    fingerprint: bytes | None
    cache_salt: bytes
    shared: SharedPredictions | None


class Engine:
    """Serves models with the slots of the first one. All but `prepare` is called on the event loop.

    `on_stall` is called when a batch takes longer than allowed, after which the process has to be restarted.
    """

    def __init__(
        self,
        limits: ServingLimits,
        observer: BatchObserver,
        *,
        on_stall: Callable[[], None],
        shared: SharedCache | None = None,
    ) -> None:
        self.limits = limits
        self._observer = observer
        self._on_stall = on_stall
        self._shared = shared
        self._cache: Cache[bytes, Prediction, Item] = Cache(limits.cache_entries)
        self._offload = Offload()
        self._scheduler: Scheduler[Payload, Prediction] | None = None
        self._serving: dict[Service, Prepared] = {}
        self._prepared = 0
        self._distrusted: Counter[bytes] = Counter()  # how often predictions of a fingerprint proved wrong
        self.texts_at_once = 1  # that the models run
        self.shadows = Shadows(lambda: self._scheduler is not None and self._scheduler.has_spare_slot)

    @property
    def queue_depth(self) -> int:
        """Texts that wait for a model."""
        return self._scheduler.depth if self._scheduler else 0

    @property
    def predicted_wait_ms(self) -> float:
        """How long a text that arrived now would wait."""
        return self._scheduler.predicted_wait_ms() if self._scheduler else 0.0

    def prepare(self, model: Model) -> Prepared:
        """Find out what the model costs, and with which other ones it shares predictions. Blocks; runs in a thread."""
        weight, digest = 1.0, fingerprint_of(model)
        fingerprint = digest
        if digest and (times := self._distrusted[digest]):
            digest = hashlib.blake2b(digest, digest_size=len(digest), salt=times.to_bytes(8)).digest()
        if others := list(self._serving.values()):
            weight = others[-1].weight * relative_cost(model, others[-1].model)
        self._prepared += 1
        salt = digest[:16] if digest else self._prepared.to_bytes(8)
        return Prepared(model, weight, fingerprint, salt, self._predictions_of(model, digest))

    def _predictions_of(self, model: Model, digest: bytes | None) -> SharedPredictions | None:
        """Return the predictions that this model shares with those of other processes, if any."""
        if self._shared is None:
            return None
        if digest is None:
            log(logging.WARNING, "shared cache not in use", reason="it is unknown which model the backend runs")
            return None
        return SharedPredictions(self._shared, Entries(digest, model.info.labels, model.info.abstain_below))

    def serve(self, prepared: Prepared, run: RunBatch[Payload, Prediction], observer: ServiceObserver) -> Service:
        """Return a service with this model. `run` runs its batches; `observer` counts what only this model does."""
        model = prepared.model
        scheduler = self._scheduler = self._scheduler or self._new_scheduler(model)
        service = Service(
            model.tokenizer,
            scheduler,
            _lane(model, run, prepared.weight),
            self._cache,
            offload=self._offload,
            observer=observer,
            model=model.info.id,
            max_text_chars=self.limits.max_text_chars,
            cache_salt=prepared.cache_salt,
            cache_per_caller=self.limits.cache_per_caller,
            shared=prepared.shared,
            layers=model.info.layers,
            brownout_ms=self.limits.brownout_ms,
        )
        self._serving[service] = prepared
        return service

    def retire(self, service: Service) -> None:
        """Forget a service that gets no more requests, so that its model can be freed."""
        self._serving.pop(service, None)

    def distrust(self, service: Service) -> None:
        """Let no later model, not even one of the same files, answer with what this one has predicted."""
        if fingerprint := self._serving[service].fingerprint:
            self._distrusted[fingerprint] += 1

    def _new_scheduler(self, model: Model) -> Scheduler[Payload, Prediction]:
        limits = self.limits
        cost = CostModel()
        for tokens, elapsed_ms in model.warmup:
            cost.observe(tokens, elapsed_ms[0])  # of the first part: `part_costs` has the others
        max_texts, max_tokens = _GPU_BATCH if model.backend.device == "cuda" else _CPU_BATCH
        max_texts = limits.max_batch_size or max_texts
        self.texts_at_once = max_texts * model.backend.slots
        return Scheduler(
            slots=model.backend.slots,
            limits=SchedulerLimits(
                max_batch_size=max_texts,
                max_batch_tokens=limits.max_batch_tokens or max_tokens,
                max_queue_texts=limits.max_queue_texts,
                max_wait_ms=limits.max_wait_ms,
                run_timeout_s=limits.backend_timeout_ms / 1000,
            ),
            cost=cost,
            observer=self._observer,
            on_stall=self._on_stall,
        )

    def close(self) -> None:
        """Accept nothing more; requests that still wait get `NotReady`."""
        if self._scheduler:
            self._scheduler.close()


def _lane(model: Model, run: RunBatch[Any, Prediction], weight: float) -> Lane:
    """Return the lane of the first part of a model, with those of the other parts behind it."""
    lane = None
    for cost in reversed(model.part_costs):
        lane = Lane(run, model.backend.skips_padding, weight * cost, lane, Unfinished if lane else None)
    assert lane
    return lane


def relative_cost(model: Model, other: Model) -> float:
    """Return how many times as long as `other` the first part of a model takes for the same batch.

    They run in turns, so that whatever else the machine does slows down both.
    """
    texts, tokens = _COMPARED
    length = min(tokens, model.artifact.max_tokens, other.artifact.max_tokens)
    batches = [[each.tokenizer.encode("a " * (length - 2))] * texts for each in (model, other)]
    best_s = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):
        for side, each in enumerate((model, other)):
            started_s = time.perf_counter()
            each.runner.step(batches[side])
            best_s[side] = min(best_s[side], time.perf_counter() - started_s)
    ratio = best_s[0] / max(best_s[1], 1e-9)
    return 1.0 if abs(ratio - 1) < _SAME else min(_DEAREST, max(_CHEAPEST, ratio))
