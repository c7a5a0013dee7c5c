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
        shadows = [version for version in self.wanted if version.spec.shadow and version.state == "ready"]
        if not shadows:  # as for most models
            return shadows
        answering = [version for version, _ in self.shares]
        return [version for version in shadows if version not in answering]

    @property
    def public_reason(self) -> str:
        """Why no version answers."""
        return next((version.public_reason for version in self.wanted), "the model is loading")

    @property
    def is_lost(self) -> bool:
        """Whether no version answers, and none that is wanted may do so again."""
        return not self.shares and all(
            version.lost or version.rolled_back for version in self.wanted if not version.spec.shadow
        )

    @property
    def is_over(self) -> bool:
        """Whether the model is no longer served, though some of its requests may not have ended."""
        return not self.wanted and not self.shares

    def pick(self, caller: str) -> Version:
        """Return the version for a caller; raise `NotReady` if there is none."""
        if self._route is None:
            raise NotReady(self.public_reason)
        return self._route.pick(caller)

    def settle(self) -> list[Version]:
        """Choose again which versions answer; return those that are needed no more.

        Versions that are ready get their weights. The weights of those that load or have failed stay with versions that
        have callers now and are not wanted any more. If there are none, those that are ready share them. Versions that
        are wanted without callers keep theirs only while none is ready, and get callers if all others have failed.
        """
        wanted = [(version, version.spec.weight) for version in self.wanted if version.spec.weight]
        ready = [version for version, _ in wanted if version.state == "ready"]
        leaving = [
            (version, weight)
            for version, weight in self.shares
            if version.state == "ready" and version not in ready and not (ready and version in self.wanted)
        ]
        missing = sum(weight for version, weight in wanted if version not in ready)
        total = sum(weight for _, weight in leaving)
        shares: list[tuple[Version, float]] = []
        for version, weight in wanted:
            if version in ready:
                shares.append((version, weight))
            elif leaving:  # in the place of the first that is missing, so that they keep their callers
                shares += [(each, missing * part / total) for each, part in leaving]
                leaving = []
        if not shares and not any(version.state == "loading" for version, _ in wanted):
            spare = [each for each in self.wanted if each.state == "ready" and not each.spec.weight]
            spare = [each for each in spare if not each.spec.shadow]
            # The weights are the same at the next call, when these versions are among those that have callers.
            shares = [(each, (missing or 100.0) / len(spare)) for each in spare]
        self.shares = shares
        self._route = Route(self.name, self.shares) if self.shares else None
        kept = [*self.wanted, *(version for version, _ in self.shares)]
        # One that is being loaded is needed until that has ended: nothing can free it before.
        return [each for each in self.versions if each not in kept and each.state not in ("draining", "loading")]


class Registry:
    """Models in the order of the models file. The first one is the default, once it can answer."""

    def __init__(self) -> None:
        self.models: dict[str, ServedModel] = {}
        self._default: ServedModel | None = None

    @property
    def default(self) -> ServedModel | None:
        """The model of requests that name none."""
        return self._default or next(iter(self.models.values()), None)

    def find(self, name: str | None) -> ServedModel:
        """Return a model by its name, or the default. Raises `NotFound`, or `NotReady` if there is no model yet."""
        default = self.default
        if default is None:
            raise NotReady("the model is loading")
        if name is None:
            return default
        model = self.models.get(name)
        if model is None or model.is_over:
            if not default.name:  # its files say it, and they have not been read
                raise NotReady(default.public_reason)
            names = [name for name, each in self.models.items() if not each.is_over]
            raise NotFound(f"no such model; this server has {', '.join(names)}")
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
        self.choose_default()

    def choose_default(self) -> bool:
        """Make the first model the default, unless only the present default can answer; return whether that changed."""
        before, first = self._default, next(iter(self.models.values()), None)
        if before is None or first is None or first.shares or not before.shares:
            self._default = first
        return self._default is not before

    def rename(self, model: ServedModel, name: str) -> None:
        """Give a model its name, which only its files say."""
        self.models = {name if each is model else key: each for key, each in self.models.items()}
        model.name = name

    def drop(self, model: ServedModel, version: Version) -> None:
        """Forget a version, and its model if it was the last one and is not wanted any more."""
        if version in model.versions:
            model.versions.remove(version)
        if not model.versions and not model.wanted and self.models.get(model.name) is model:
            del self.models[model.name]
            self.choose_default()
