"""Makes the models of a process those that are wanted, and keeps them so: loads, switches, drains."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from ..catalog import Catalog, ModelSpec, VersionSpec
from ..errors import SentimentError
from ..logs import log, log_exception
from .canary import CanaryLimits
from .lifecycle import Lifecycle
from .loader import Loader
from .registry import Registry, ServedModel
from .version import Version

_DRAIN_POLL_S = 0.05
_CANARY_POLL_S = 5.0
_FIRST_RETRY_S, _LAST_RETRY_S = 5.0, 300.0  # each pause is twice as long as the one before


@dataclass(frozen=True, slots=True)
class Source:
    """Where the follower learns what is wanted. Both functions block, so they run in threads."""

    read: Callable[[], Catalog]
    # What changes when the files of a version do: a folder that gets another model is loaded again.
    stamp: Callable[[VersionSpec], object]
    poll_s: float


class Follower:
    """Loads the wanted models into `registry`. `on_ready` is called once the default model can answer.

    `on_broken` is called when no version of it can any more, or none could be loaded; then the process has to be
    restarted.
    """

    def __init__(
        self,
        loader: Loader,
        registry: Registry,
        lifecycle: Lifecycle,
        *,
        on_ready: Callable[[], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._loader = loader
        self._registry = registry
        self._lifecycle = lifecycle
        self._on_ready = on_ready
        self._on_broken = on_broken
        self._is_ready = False
        self._catalog: Mapping[str, ModelSpec] = {}  # by name, as it was applied last
        self._loads: asyncio.Queue[tuple[ServedModel, Version]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self.first = asyncio.Event()  # set once the default model answers, or cannot

    async def serve(self, spec: VersionSpec) -> None:
        """Load one model, whose name its files say. Never raises."""
        self._registry.arrange([""])
        model = self._registry.models[""]
        model.wanted = [self._new_version(model, spec, None)]
        await self._load_next()

    async def follow(self, source: Source) -> None:
        """Serve what `source` says, as it changes. Ends only when it is cancelled, or if there is no valid start."""
        try:
            self._apply(*await asyncio.to_thread(self._look, source))
        except SentimentError as error:
            self.refuse(str(error))
            return
        except Exception as error:  # otherwise the process would be loading for ever
            log_exception("models file not usable", error)
            self.refuse(type(error).__qualname__)
            return
        self._start(self._load_forever())
        problem = ""
        while True:
            await asyncio.sleep(source.poll_s)
            try:
                self._apply(*await asyncio.to_thread(self._look, source))
                problem = ""
            except SentimentError as error:
                if str(error) != problem:  # once, and not at each look
                    problem = str(error)
                    log(logging.ERROR, "models file not usable, the models stay as they are", reason=problem)
            except Exception as error:  # whatever a file system raises: the next look may succeed
                if type(error).__qualname__ != problem:
                    problem = type(error).__qualname__
                    log_exception("models file not usable, the models stay as they are", error)

    @staticmethod
    def _look(source: Source) -> tuple[Catalog, Mapping[str, object]]:
        catalog = source.read()
        specs = [spec for model in catalog.models for spec in model.versions]
        return catalog, {spec.source: source.stamp(spec) for spec in specs}

    def _apply(self, catalog: Catalog, stamps: Mapping[str, object]) -> None:
        """Make what is wanted that of the catalog; new versions are loaded one after the other."""
        before, self._catalog = self._catalog, {model.name: model for model in catalog.models}
        self._registry.arrange([*self._catalog])
        for name, model in self._registry.models.items():
            if spec := self._catalog.get(name):
                if spec != before.get(name):
                    self._restore(model)
                model.wanted = [self._version_for(model, each, stamps[each.source]) for each in spec.versions]
            elif model is not self._registry.default:
                model.wanted = []  # the default goes on until another model can take its place: see `settle`
        for model in list(self._registry.models.values()):
            self.settle(model)

    def _restore(self, model: ServedModel) -> None:
        for version in [each for each in model.versions if each.rolled_back]:
            self._loader.restore(version)

    def _version_for(self, model: ServedModel, spec: VersionSpec, stamp: object) -> Version:
        """Return the version that is loaded from there already, or a new one."""
        same = [
            each
            for each in model.versions
            if (each.spec.source, each.spec.digest) == (spec.source, spec.digest)
            and (each.service or each.state != "draining")
        ]
        for version in reversed(same):
            if version.state == "loading" or (version.stamp == stamp and not _is_retried(version)):
                version.spec = spec
                if version.state == "draining":
                    version.recover()
                return version
        failed = [version for version in same if version.state == "failed" and version.service is None]
        for version in failed:
            model.versions.remove(version)
        version = self._new_version(model, spec, stamp)
        version.attempts = failed[-1].attempts if failed and failed[-1].stamp == stamp else 0
        return version

    def _new_version(self, model: ServedModel, spec: VersionSpec, stamp: object) -> Version:
        version = Version(spec, stamp)
        model.versions.append(version)
        self._loads.put_nowait((model, version))
        return version

    async def _load_forever(self) -> None:
        while True:
            await self._load_next()

    async def _load_next(self) -> None:
        """Load the next version; one at a time, because each takes memory and cores."""
        model, version = await self._loads.get()
        if version in model.wanted:
            ids = {each.info.id for each in model.versions if each.info and each.service}
            await self._loader.load(version, model.name, frozenset(ids))
        else:
            version.become("failed", "not wanted any more")
        if not model.name and version.info:
            self._registry.rename(model, version.info.model)
        self.settle(model)
        await self._loader.tidy()

    def settle(self, model: ServedModel) -> None:
        """Switch to the versions that are to answer now; what nobody needs any more is drained."""
        before = model.shares
        unused = model.settle()
        if before != model.shares:
            shares = {version.info.id if version.info else "": weight for version, weight in model.shares}
            log(logging.INFO, "versions switched", model=model.name, shares=shares)
        for version in unused:
            version.become("draining")
            self._start(self._drain(model, version))
        former = self._registry.default
        changed = self._registry.choose_default()
        default = self._registry.default
        if default and (changed or model is default):
            self._report(default)
        if changed and former and former.name not in self._catalog:
            former.wanted = []
            self.settle(former)

    def _report(self, model: ServedModel) -> None:
        """Report the state of the default model, which is that of the process."""
        if model.shares:
            self._lifecycle.ready()
            if not self._is_ready:
                self._is_ready = True
                self._on_ready()
        elif model.is_lost and any(not each.is_lost for each in self._registry.models.values()):
            self._lifecycle.degrade(model.public_reason)  # others may answer, and this one is loaded again later
        elif model.is_lost:
            lost = [version for version in model.wanted if version.lost]
            self._broken(lost[-1].public_reason, lost[-1].reason)
        elif self._is_ready:
            self._lifecycle.degrade(model.public_reason)
        if model.shares or model.is_lost:
            self.first.set()

    async def _drain(self, model: ServedModel, version: Version) -> None:
        while version.in_flight:  # noqa: ASYNC110 - it takes no event from each request for the rare case
            await asyncio.sleep(_DRAIN_POLL_S)
        if version.state == "draining":
            self._loader.unload(version)
            self._registry.drop(model, version)
            await self._loader.tidy()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def check_golden_texts(self, interval_s: float) -> None:
        """Let each version answer its golden texts every so many seconds; 0 means never."""
        while interval_s:
            await asyncio.sleep(interval_s)
            for model in list(self._registry.models.values()):
                for version in [each for each in model.versions if each.state == "ready"]:
                    try:
                        await self._loader.check_again(version)
                    except Exception as error:  # the checks of other versions must go on
                        log_exception("golden texts not checked", error)

    async def check_canaries(self, limits: CanaryLimits) -> None:
        """Take the callers from each canary that is beyond a limit, every few seconds; without limits, never."""
        while limits:
            await asyncio.sleep(_CANARY_POLL_S)
            for model in list(self._registry.models.values()):
                self._judge_canaries(model, limits)

    def _judge_canaries(self, model: ServedModel, limits: CanaryLimits) -> None:
        main = model.main
        for version, _ in model.shares:
            if version is main or main is None or main.statistics is None or version.statistics is None:
                continue
            if reason := limits.judge(version.statistics.recent(), main.statistics.recent()):
                self._loader.roll_back(version, f"rolled back: {reason}")
                return  # the shares are others now

    def changed(self, version: Version) -> None:
        """A version has failed, or works again."""
        for model in list(self._registry.models.values()):
            if version in model.versions:
                self.settle(model)

    def stop(self, reason: str) -> None:
        """The models of this process cannot answer any more."""
        self._broken(reason, reason)

    def refuse(self, reason: str) -> None:
        """There is nothing to load: what is to be served is not valid."""
        self._broken("the model could not be loaded", reason)

    def close(self) -> None:
        """Load and drain nothing more."""
        for task in self._tasks:
            task.cancel()

    def _broken(self, public_reason: str, reason: str) -> None:
        """Clients get a fixed phrase. The reason may name files, so it goes to the log only."""
        self._lifecycle.degrade(public_reason, final=True)
        log(logging.CRITICAL, "broken", reason=reason)
        self.first.set()
        self._on_broken()


def _is_retried(version: Version) -> bool:
    """Return whether it is time to load a version again that could not be loaded."""
    if version.state != "failed" or not version.lost or version.rolled_back:
        return False
    pause_s: float = min(_LAST_RETRY_S, _FIRST_RETRY_S * 2 ** (version.attempts - 1))
    return time.monotonic() >= version.changed_s + pause_s
