"""What the Open Inference Protocol says about the server and its models, without a prediction."""

import functools
import re

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ... import __version__
from ...errors import NotFound, NotReady
from ...serving import Lifecycle, ServedModel, Version
from ..openapi import problems
from ..status import accept_head

_NOT_PLAIN = re.compile(r"[^\w.~-]+", re.ASCII)
_PLATFORMS = {"onnx": "onnxruntime_onnx", "torch": "pytorch_transformers"}  # as the protocol writes them


class ServerLive(BaseModel):
    """The process runs."""

    live: bool = Field(description="The process responds.")


class ServerReady(BaseModel):
    """Predictions are available."""

    ready: bool = Field(description="Predictions are available.")


class ModelReady(BaseModel):
    """Predictions of this model are available."""

    name: str = Field(description="The name of the model.", examples=["sentiment-en"])
    ready: bool = Field(description="Predictions are available.")


class ServerMetadata(BaseModel):
    """The server."""

    name: str = Field(description="The name of the server.", examples=["rt-sentiment"])
    version: str = Field(description="The version of the server.", examples=["0.1.0"])
    extensions: list[str] = Field(
        description="Of the protocol, that the server has.", examples=[["binary_tensor_data", "classification"]]
    )


class Tensor(BaseModel):
    """An input or an output. -1 stands for the number of texts."""

    name: str = Field(description="The name of the tensor.", examples=["SCORES"])
    datatype: str = Field(description="The type of its elements.", examples=["FP32"])
    shape: list[int] = Field(description="Its dimensions; -1 is the number of texts.", examples=[[-1, 3]])


class ModelMetadata(BaseModel):
    """A model."""

    model_config = ConfigDict(protected_namespaces=())

    name: str = Field(description="The name of the model.", examples=["sentiment-en"])
    versions: list[str] = Field(description="The versions that are served.", examples=[["0.1.0"]])
    platform: str = Field(description="What runs the model.", examples=["onnxruntime_onnx"])
    inputs: list[Tensor] = Field(description="What a request may have.")
    outputs: list[Tensor] = Field(description="What a response may have.")


@functools.lru_cache(64)
def served_name(name: str) -> str:
    """Return a name or a version as it is in paths: without the owner, and without what a path cannot have."""
    return _NOT_PLAIN.sub("-", name.rpartition("/")[2])


def find_model(lifecycle: Lifecycle, name: str) -> ServedModel:
    """Return a model by its name in paths. Raises `NotFound` if there is none, and `NotReady` while it loads."""
    models = [model for model in lifecycle.registry.models.values() if model.name]
    if not models:
        raise NotReady(lifecycle.reason)
    for model in models:
        if served_name(model.name) == name:
            return model
    raise NotFound(f"no such model; this server has {', '.join(served_name(model.name) for model in models)}")


def find_version(lifecycle: Lifecycle, name: str, version: str) -> Version:
    """Return a version of a model, whether callers get it or not. Raises as `find_model` does."""
    model = find_model(lifecycle, name)
    loaded = {served_name(each.info.model_version): each for each in model.versions if each.info and each.service}
    if version not in loaded:
        raise NotFound(f"no such version; this server has {', '.join(loaded)} of {name}")
    return loaded[version]


def describe(model: ServedModel, version: Version | None = None) -> ModelMetadata:
    """Return the properties of a model, or of one version. Raises `NotReady` if none has been loaded."""
    versions = [version] if version else [each for each in model.versions if each.service]
    main = version or model.main or next(iter(versions), None)
    if main is None or main.info is None:
        raise NotReady(model.public_reason)
    names = tuple(served_name(each.info.model_version) for each in versions if each.info)
    return _metadata(served_name(model.name), names, main.info.backend, len(main.info.labels))


@functools.lru_cache(64)
def _metadata(name: str, versions: tuple[str, ...], backend: str, labels: int) -> ModelMetadata:
    return ModelMetadata(
        name=name,
        versions=list(versions),
        platform=_PLATFORMS.get(backend, backend),
        inputs=[Tensor(name="TEXT", datatype="BYTES", shape=[-1])],
        outputs=[
            Tensor(name="LABEL", datatype="BYTES", shape=[-1]),
            Tensor(name="SCORES", datatype="FP32", shape=[-1, labels]),
        ],
    )


def metadata_router(lifecycle: Lifecycle) -> APIRouter:
    """Return the routes for GET and HEAD."""
    router = APIRouter(tags=["protocols"])
    of_all = problems(431, plain=True)
    refusals = of_all | problems(401, 403, plain=True)
    not_ready = of_all | problems(503, plain=True)
    of_model = not_ready | problems(404, plain=True)

    @router.get("/v2", responses=refusals)
    async def v2_server() -> ServerMetadata:
        """Report the server and the extensions of the protocol that it has."""
        extensions = ["binary_tensor_data", "classification"]
        return ServerMetadata(name="rt-sentiment", version=__version__, extensions=extensions)

    @router.get("/v2/health/live", responses=of_all)
    async def v2_live() -> ServerLive:
        """Report whether the process responds, as `/livez`."""
        return ServerLive(live=True)

    @router.get("/v2/health/ready", responses=not_ready)
    async def v2_ready() -> ServerReady:
        """Report whether predictions are available, as `/readyz`."""
        if lifecycle.status != "ok":
            raise NotReady(lifecycle.reason)
        return ServerReady(ready=True)

    @router.get("/v2/models/{name}", responses=refusals | of_model)
    async def v2_model(name: str) -> ModelMetadata:
        """Report the inputs and outputs of the model."""
        return describe(find_model(lifecycle, name))

    @router.get("/v2/models/{name}/versions/{version}", responses=refusals | of_model)
    async def v2_model_version(name: str, version: str) -> ModelMetadata:
        """Report the inputs and outputs of a version of the model."""
        return describe(find_model(lifecycle, name), find_version(lifecycle, name, version))

    @router.get("/v2/models/{name}/ready", responses=of_model)
    async def v2_model_ready(name: str) -> ModelReady:
        """Report whether predictions of the model are available."""
        model = find_model(lifecycle, name)
        lifecycle.check(model.name)
        if not model.shares:
            raise NotReady(model.public_reason)
        return ModelReady(name=name, ready=True)

    @router.get("/v2/models/{name}/versions/{version}/ready", responses=of_model)
    async def v2_model_version_ready(name: str, version: str) -> ModelReady:
        """Report whether predictions of a version of the model are available."""
        model, found = find_model(lifecycle, name), find_version(lifecycle, name, version)
        lifecycle.check(model.name)
        if found.state != "ready":
            raise NotReady(found.public_reason)
        return ModelReady(name=name, ready=True)

    accept_head(router)
    return router
