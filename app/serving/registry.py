"""The models of a process by name, and which version of each answers whom. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from ..errors import NotFound, NotReady
from .routing import Route
from .version import State, Version


class ServedModel:
    """A model: its versions, and the route of callers to those that are ready."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.versions: list[Version] = []  # also those that fail, drain or have been replaced
        self.wanted: list[Version] = []  # according to the models file
        self.shares: list[tuple[Version, float]] = []  # of those that answer now
        self._route: Route[Version] | None = None

    @property
    def main(self) -> Version | None:
        """The version with the largest share of the callers; None if no version is ready."""
        return max(self.shares, key=lambda share: share[1])[0] if self.shares else None

    @property
    def shadows(self) -> list[Version]:
        """The versions that see texts, and answer nobody."""
        return [version for version in self.wanted if version.spec.shadow and version.state == "ready"]

    @property
    def public_reason(self) -> str:
        """Why no version answers."""
        return next((version.public_reason for version in self.wanted), "the model is loading")

    @property
    def is_lost(self) -> bool:
        """Whether no version answers, and none that is wanted may do so again."""
        return not self.shares and all(version.lost for version in self.wanted if version.spec.weight)

    def pick(self, caller: str) -> Version:
        """Return the version for a caller; raise `NotReady` if there is none."""
        if self._route is None:
            raise NotReady(self.public_reason)
        return self._route.pick(caller)

    def settle(self) -> list[Version]:
        """Choose again which versions answer; return those that are needed no more.

        As long as a version that is to answer callers is loading, those that answer now go on. They also do if all that
        are wanted have failed. A version that has failed leaves its callers to the others.
        """
        wanted = [(version, version.spec.weight) for version in self.wanted if version.spec.weight]
        now = [(version, weight) for version, weight in self.shares if version.state == "ready"]
        ready = [(version, weight) for version, weight in wanted if version.state == "ready"]
        waits = any(version.state == "loading" for version, _ in wanted)
        self.shares = now if now and (waits or (wanted and not ready)) else ready
        self._route = Route(self.name, self.shares) if self.shares else None
        kept = {id(version) for version, _ in self.shares} | {id(version) for version in self.wanted}
        return [version for version in self.versions if id(version) not in kept and version.state != "draining"]


class Registry:
    """Models in the order of the models file; the first one is the default."""

    def __init__(self) -> None:
        self.models: dict[str, ServedModel] = {}

    @property
    def default(self) -> ServedModel | None:
        """The model of requests that name none."""
        return next(iter(self.models.values()), None)

    def find(self, name: str | None) -> ServedModel:
        """Return a model by its name, or the default. Raises `NotFound`, or `NotReady` if there is no model yet."""
        model = self.default if name is None else self.models.get(name)
        if model is None and not self.models:
            raise NotReady("the model is loading")
        if model is None:
            raise NotFound(f"no such model; this server has {', '.join(self.models)}")
        return model

    def pick(self, name: str | None, caller: str) -> Version:
        """Return the version that answers a caller. Raises as `find` does, and `NotReady`."""
        return self.find(name).pick(caller)

    def count_versions(self) -> dict[tuple[str, str], int]:
        """Return how many versions of each model are in each state, by the name of the model and the state."""
        counts = {name: Counter(version.state for version in model.versions) for name, model in self.models.items()}
        return {(name, state): counts[name][state] for name in counts if name for state in get_args(State)}

    def arrange(self, names: Sequence[str]) -> None:
        """Have models with these names, in this order; others stay behind them until they are dropped."""
        models = {name: self.models.get(name) or ServedModel(name) for name in names}
        self.models = models | {name: model for name, model in self.models.items() if name not in models}

    def rename(self, model: ServedModel, name: str) -> None:
        """Give a model its name, which only its files say."""
        self.models = {name if each is model else key: each for key, each in self.models.items()}
        model.name = name

    def drop(self, model: ServedModel, version: Version) -> None:
        """Forget a version, and its model if it was the last one and is not wanted any more."""
        model.versions.remove(version)
        if not model.versions and not model.wanted:
            self.models.pop(model.name, None)
