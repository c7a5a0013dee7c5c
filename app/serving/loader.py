"""Loads one version of a model beside those that answer, and watches whether it goes on working."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Protocol

from ..allocator import return_freed_memory
from ..catalog import VersionSpec
from ..cpu import give_way
from ..errors import ArtifactError, DeadlineExceeded, NotReady, Overloaded, SentimentError
from ..inference import GoldenResult, Model, answer_golden, compare_golden, read_development, read_golden
from ..logs import log, log_exception
from ..scheduling import RunBatch
from ..types import ModelInfo, Payload, Prediction
from .breaker import Breaker
from .drift import Drift
from .engine import Engine
from .statistics import Statistics, VersionMetrics
from .version import Version

_GOLDEN_CALLER = "(golden texts)"
_GOLDEN_TIMEOUT_S = 30.0  # for one text, also under load


class Observer(Protocol):
    """Counts what happens."""

    def model_loaded(self, info: ModelInfo, slots: int) -> VersionMetrics:
        """A version can run from now on, `slots` batches at a time; return what counts its answers."""


class Loader:
    """Turns versions into services of `engine`. `open_model` blocks, so it runs in a thread.

    A version must give at least the part `agreement` of its golden texts the published answer. `on_change` is called
    whenever a version that was ready has failed, or works again; `on_unload` when one is no longer in memory.
    """

    def __init__(
        self,
        open_model: Callable[[VersionSpec], Model],
        engine: Engine,
        observer: Observer,
        *,
        agreement: float = 0.9,
        on_change: Callable[[Version], None],
        on_unload: Callable[[Version], None] = lambda _: None,
    ) -> None:
        self._open_model = open_model
        self._engine = engine
        self._observer = observer
        self._agreement = agreement
        self._on_change = on_change
        self._on_unload = on_unload
        # A model that answers callers goes first: see `give_way`. What opens a model has the priority of its slots,
        # because the threads of its backend keep it; what tries it out has a lower one.
        self._opening = ThreadPoolExecutor(1, "open", give_way)
        self._trying = ThreadPoolExecutor(1, "try", give_way, (2,))
        self._recoveries: set[asyncio.Task[None]] = set()  # the event loop holds only weak references to tasks

    async def load(self, version: Version, name: str = "", other_ids: frozenset[str] = frozenset()) -> None:
        """Load a version of the model `name`; by default, of what its files say. It is `ready` or `failed` then.

        Versions with one of `other_ids` are in memory: this one gets another id.
        """
        in_thread = asyncio.get_running_loop().run_in_executor
        started_s = time.perf_counter()
        source = version.spec.source
        version.attempts += 1
        try:
            model = await in_thread(self._opening, self._open_model, version.spec)
            version.folder = model.artifact.directory
            model = replace(model, info=_named(model.info, name, other_ids))
            prepared = await in_thread(self._trying, self._engine.prepare, model)
            development = read_development(model.artifact)
            version.info = model.info
            metrics = self._observer.model_loaded(model.info, model.backend.slots)
            version.statistics = Statistics(model.info.labels, metrics, Drift(development) if development else None)
            version.service = self._engine.serve(prepared, self._guarded(model, version), version.statistics)
            version.golden_texts = texts = await in_thread(self._trying, read_golden, model.artifact)
            self._judge(version, await in_thread(self._trying, answer_golden, model, texts))
            version.recover()
        except SentimentError as error:
            self._fail(version, str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # even a panic in a library: the process would stay up without a model
            log_exception("the model could not be loaded", error)
            self._fail(version, type(error).__qualname__)
        else:
            seconds = round(time.perf_counter() - started_s, 2)
            log(logging.INFO, "model loaded", source=source, seconds=seconds, **asdict(model.info))

    async def check_golden(self, version: Version) -> None:
        """Let a version answer its golden texts, each in its turn.

        Raises `ArtifactError` if too few agree, and `Overloaded` if most did not get their turn.
        """
        if not version.golden_texts or version.statistics is None:
            return
        texts = [golden.text for golden in version.golden_texts]
        with version.held() as service:
            answers = await service.recompute(texts, _GOLDEN_CALLER, _GOLDEN_TIMEOUT_S)
        self._judge(version, answers)

    def _judge(self, version: Version, answers: Sequence[Prediction | SentimentError]) -> None:
        """Note how many golden texts got the published answer. Raises as `check_golden` does."""
        if not version.golden_texts or version.statistics is None:
            return
        # What did not get its turn under load says nothing about the model.
        answered = [
            (golden, answer)
            for golden, answer in zip(version.golden_texts, answers, strict=True)
            if isinstance(answer, Prediction) or not _is_load(answer)
        ]
        if 2 * len(answered) < len(answers):
            raise Overloaded("the golden texts could not be checked, because the queue is too long", 1.0)
        version.golden = result = compare_golden([each for each, _ in answered], [each for _, each in answered])
        version.statistics.metrics.golden_checked(result.agreement)
        if result.agreement < self._agreement:
            raise ArtifactError(_disagreement(result, self._agreement))

    async def check_again(self, version: Version) -> None:
        """Check the golden texts of a version that answers callers; it fails if too few agree."""
        try:
            await self.check_golden(version)
        except ArtifactError as error:
            if version.state == "ready":  # and not on its way out by now
                if version.service:
                    self._engine.distrust(version.service)
                version.lost = True
                self._note_failure(version, str(error))
                self._on_change(version)
        except Overloaded as error:
            log(logging.WARNING, "golden texts not checked", source=version.spec.source, reason=str(error))

    def roll_back(self, version: Version, reason: str) -> None:
        """Let a version answer no more until `restore`. It stays in memory."""
        version.rolled_back = True
        self._note_failure(version, reason)
        self._on_change(version)

    def restore(self, version: Version) -> None:
        """Let a version that was rolled back answer again. Only its requests from now on count against it."""
        version.rolled_back = False
        if version.statistics:
            version.statistics.forget_recent()
        version.recover()
        self._report_state(version)

    async def tidy(self) -> None:
        """Give back the memory that was freed: that of a version that was unloaded, and what loading one took."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._trying, return_freed_memory)
        except Exception as error:  # such as no new thread: what waits to be loaded must be loaded all the same
            log_exception("freed memory not given back", error)

    def unload(self, version: Version) -> None:
        """Free the memory of a version that answers no requests any more. A second call does nothing."""
        if version.service:
            self._engine.retire(version.service)
        if version.statistics:
            version.statistics.metrics.forget()
        if version.folder is not None:
            self._on_unload(version)
        version.service = version.statistics = version.folder = None

    def _fail(self, version: Version, reason: str) -> None:
        version.lost = True
        self.unload(version)
        self._note_failure(version, reason)

    def _note_failure(self, version: Version, reason: str) -> None:
        version.become("failed", reason)
        self._report_state(version)
        model = version.info.id if version.info else None
        log(logging.ERROR, "version failed", model=model, source=version.spec.source, reason=reason)

    @staticmethod
    def _report_state(version: Version) -> None:
        if version.statistics:
            version.statistics.metrics.state_changed(failed=version.state == "failed")

    def _guarded(self, model: Model, version: Version) -> RunBatch[Payload, Prediction]:
        """Return what runs the model, with a circuit breaker around it."""
        loop = asyncio.get_running_loop()

        def recover(breaker: Breaker[Payload, Prediction]) -> None:
            self._set_failing(version, "the model is failing")
            recovery = asyncio.create_task(self._recover(breaker, version))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

        # It names no breaker: a circle of references would keep the model in memory after its time.
        def on_open(breaker: Breaker[Payload, Prediction]) -> None:
            loop.call_soon_threadsafe(recover, breaker)

        canary: Payload = replace(model.tokenizer.encode(""), depth="full")
        breaker: Breaker[Payload, Prediction] = Breaker(model.runner.step, canary, on_open=on_open)
        return breaker.run

    async def _recover(self, breaker: Breaker[Payload, Prediction], version: Version) -> None:
        log(logging.ERROR, "model failing", reason="several batches in a row failed, and so did the test text")
        if await breaker.recover(self._engine.limits.backend_timeout_ms / 1000):
            log(logging.INFO, "model recovered")
            self._set_failing(version, "")
        else:
            version.lost = True
            self._set_failing(version, "the model did not recover")

    def _set_failing(self, version: Version, reason: str) -> None:
        """Note that a version fails for a reason, or that it works again.

        One that loads, or is on its way out, stays so. One that has failed for another reason, too.
        """
        before, version.failing = version.failing, reason
        if version.state not in ("ready", "failed") or version.service is None:
            return
        if version.state == "failed" and version.reason != before:
            return
        version.recover()
        self._report_state(version)
        self._on_change(version)


def _named(info: ModelInfo, name: str, other_ids: frozenset[str]) -> ModelInfo:
    """Return what describes a model that callers know as `name`, with an id that no other version has."""
    info = replace(info, model=name or info.model)
    version, number = info.model_version, 2
    while info.id in other_ids:
        info, number = replace(info, model_version=f"{version}+{number}"), number + 1
    return info


def _is_load(error: SentimentError) -> bool:
    return isinstance(error, Overloaded | DeadlineExceeded | NotReady)


def _disagreement(result: GoldenResult, needed: float) -> str:
    return (
        f"{result.agreeing} of {result.texts} golden texts ({result.agreement:.0%}) got the answer that the model was "
        f"published with; {needed:.0%} are needed (SENTIMENT_GOLDEN_AGREEMENT)"
    )
