"""Reads the YAML of a models file, and names the line of what is wrong.

Works on the nodes of the YAML, because these know their lines, and because a dictionary no longer shows that a key was
there twice. Nothing but numbers and truth values is constructed from a node.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import yaml

from ..errors import ModelsFileError
from .spec import Catalog, Kind, ModelSpec, VersionSpec

_KINDS: tuple[Kind, ...] = ("path", "hub", "url")
_FIELDS = (*_KINDS, "weight", "shadow", "digest")
_TAG = "tag:yaml.org,2002:"
_ALONE_WEIGHT = 100.0
_MAX_DEPTH = 20
_MAX_NODES = 10_000  # of the keys and values of 16 models with 8 versions, there are about 1 300


class _Loader(yaml.SafeLoader):
    """Composes nodes, as long as they can be those of a models file: no file takes a long time or much memory."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        # A few lines with aliases of aliases can stand for gigabytes.
        if self.check_event(yaml.AliasEvent):
            raise ModelsFileError("aliases (*name) are not supported; write the value again", line)
        self._depth, self._nodes = self._depth + 1, self._nodes + 1
        if self._depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise ModelsFileError("it has more values, or values within values, than a models file can have", line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse(text: str) -> Catalog:
    """Return what a models file says. Raises `ModelsFileError` with the line of the first thing that is wrong."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ModelsFileError(
            f"not valid YAML: {error.problem or error.context}", mark.line + 1 if mark else 0
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the last two: a code point that does not exist
        raise ModelsFileError("not valid YAML: it has a character that YAML does not allow") from None
    if root is None:
        raise ModelsFileError("the file is empty; it must begin with `models:`")
    top = _fields(root, "the file", ("models",))
    if "models" not in top:
        raise ModelsFileError("the file has no models; it must begin with `models:`", _line(root))
    models = [
        _model(name, node, loader) for name, node in _entries(top["models"], "models", "the versions of each model")
    ]
    with _at(root):
        return Catalog(tuple(models))


def _model(key: yaml.ScalarNode, node: yaml.Node, loader: _Loader) -> ModelSpec:
    name = str(key.value)
    fields = _fields(node, name, ("versions",))
    listed = fields.get("versions")
    if not isinstance(listed, yaml.SequenceNode):
        raise ModelsFileError(f"{name}: `versions` must be a list", _line(listed or node))
    versions = [_Version(entry, f"version {number} of {name}", loader) for number, entry in enumerate(listed.value, 1)]
    with_callers = [version for version in versions if not version.shadow]
    specs = [version.spec(alone=len(with_callers) == 1) for version in versions]
    with _at(key):
        return ModelSpec(name, tuple(specs))


class _Version:
    """An entry of `versions`, before it is known whether it is the only one with callers."""

    def __init__(self, node: yaml.Node, what: str, loader: _Loader) -> None:
        self._node, self._what, self._loader = node, what, loader
        self._fields = _fields(node, what, _FIELDS)
        self.shadow = bool(self._value("shadow", ("bool",), "true or false", default=False))

    def spec(self, *, alone: bool) -> VersionSpec:
        kinds = [kind for kind in _KINDS if kind in self._fields]
        if len(kinds) != 1:
            raise ModelsFileError(f"{self._what} must have one of path, hub and url", _line(self._node))
        source = self._text(kinds[0])
        if self.shadow and "weight" in self._fields:
            raise ModelsFileError(
                f"{self._what} is a shadow, which gets no callers; remove its weight", _line(self._fields["weight"])
            )
        if not (self.shadow or alone or "weight" in self._fields):
            raise ModelsFileError(
                f"{self._what} needs a weight, because several versions share the callers; the weights of all "
                "versions should add up to 100",
                _line(self._node),
            )
        default = 0.0 if self.shadow else _ALONE_WEIGHT
        weight = self._value("weight", ("int", "float"), "a number such as 10", default=default)
        digest = self._text("digest") if "digest" in self._fields else ""
        with _at(self._node):
            # A whole number may be too long for a float; then the check below names it.
            return VersionSpec(source, kinds[0], _as_float(weight), self.shadow, digest)

    def _text(self, field: str) -> str:
        node = self._fields[field]
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            raise ModelsFileError(f"{self._what}: {field} must be text; put it in quotes", _line(node))
        return str(node.value)

    def _value(self, field: str, tags: Sequence[str], expected: str, *, default: Any) -> Any:
        node = self._fields.get(field)
        if node is None:
            return default
        try:
            if node.tag in {f"{_TAG}{tag}" for tag in tags}:
                return self._loader.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):  # such as `!!int many`
            pass
        raise ModelsFileError(f"{self._what}: {field} must be {expected}", _line(node))


def _fields(node: yaml.Node, what: str, allowed: Sequence[str]) -> dict[str, yaml.Node]:
    """Return the values of a mapping by their keys, which must be among `allowed`."""
    fields = {}
    for key, value in _entries(node, what, ", ".join(allowed)):
        if key.value not in allowed:
            raise ModelsFileError(f"{what}: unknown field {key.value!r}; expected {', '.join(allowed)}", _line(key))
        fields[str(key.value)] = value
    return fields


def _entries(node: yaml.Node, what: str, expected: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """Yield the keys and values of a mapping, of which none may be there twice."""
    if not isinstance(node, yaml.MappingNode):
        raise ModelsFileError(f"{what}: expected fields with {expected}", _line(node))
    seen: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ModelsFileError(f"{what}: a name must be text", _line(key))
        if key.value in seen:
            raise ModelsFileError(f"{what}: {key.value!r} is there twice, first in line {seen[key.value]}", _line(key))
        seen[key.value] = _line(key)
        yield key, value


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf")


@contextmanager
def _at(node: yaml.Node) -> Iterator[None]:
    """Add the line of the node to an error that has none."""
    try:
        yield
    except ModelsFileError as error:
        raise error if error.line else ModelsFileError(str(error), _line(node)) from None


def _line(node: yaml.Node) -> int:
    mark = node.start_mark
    return mark.line + 1 if mark else 0
