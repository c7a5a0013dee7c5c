"""The service as an application of Ray Serve: `serve.py` runs it on this machine, `config.yaml` on a cluster.

Each replica is a process with the whole application: models, cache, queue and admission. Serve starts replicas, watches
them, adds and removes them with the load, and its proxy passes requests on.
"""

import asyncio
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve import metrics as ray_metrics
from ray.serve.config import AutoscalingConfig

from app import logs
from app.config import Settings, SettingsError, load_settings
from app.main import create_app
from deploy.ray.metrics import Exporter

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

_EXPORT_EVERY_S = 5.0
# More than a replica ever has at a time: its own admission refuses what would wait too long, and says when to come
# back. Requests that waited in the proxy instead would be invisible to it.
_MAX_ONGOING_REQUESTS = 10_000


class Options(BaseModel):
    """How replicas are scaled: `args` in `config.yaml`, flags of `make ray ARGS=…`."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: int = 1
    max_replicas: int = 2
    cores: int = 1  # of each replica
    target_ongoing_requests: float = 16.0  # per replica, running and waiting
    upscale_delay_s: float = 5.0
    downscale_delay_s: float = 60.0
    look_back_period_s: float = 15.0  # requests are averaged over it; longer than the 10 s between two reports


class Replica:
    """The ASGI application of one replica, and whether its model has been loaded."""

    def __init__(self, settings: Settings) -> None:
        self.loaded = asyncio.Event()
        self.application = create_app(settings, on_ready=self.loaded.set, on_broken=self.loaded.set)
        self._exporter = Exporter(
            self.application.metrics.registry, counter=ray_metrics.Counter, gauge=ray_metrics.Gauge
        )

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] != "lifespan":
            await self.application(scope, receive, _without_request_id(send))
            return
        exporting = asyncio.create_task(self._export())
        try:
            await self.application(scope, receive, send)
        finally:
            exporting.cancel()

    async def _export(self) -> None:
        while True:
            self.application.report()
            self._exporter.export()
            await asyncio.sleep(_EXPORT_EVERY_S)


def _without_request_id(send: "Send") -> "Send":
    """Leave out X-Request-ID, which the proxy has given to the application, and adds to each response."""

    async def send_rest(message: "Message") -> None:
        if message["type"] == "http.response.start":
            headers = [header for header in message["headers"] if header[0].lower() != b"x-request-id"]
            message = {**message, "headers": headers}
        await send(message)

    return send_rest


def replica_settings(cores: int) -> Settings:
    """Read the settings of a replica. Raises `SettingsError` for those that Serve has in their place."""
    settings = load_settings()
    if settings.workers > 1:
        raise SettingsError("SENTIMENT_WORKERS: a replica is one process; set --min-replicas and --max-replicas")
    if settings.tls_cert_file:
        raise SettingsError("SENTIMENT_TLS_CERT_FILE: put a proxy that serves HTTPS in front, see docs/ray.md")
    # Ray does not pin a replica to its cores: without this, each would use all cores of the machine.
    return settings.model_copy(update={"slots": settings.slots or cores})


def application(options: Options) -> Application:
    """Return the application for `serve deploy`, `serve run` and `serve.run`."""

    def build() -> Replica:
        settings = replica_settings(options.cores)
        logs.configure(settings.log_format, settings.log_level)
        return Replica(settings)

    @serve.deployment(
        name="sentiment",
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            target_ongoing_requests=options.target_ongoing_requests,
            upscale_delay_s=options.upscale_delay_s,
            downscale_delay_s=options.downscale_delay_s,
            look_back_period_s=options.look_back_period_s,
        ),
        ray_actor_options={"num_cpus": options.cores},
        health_check_period_s=2.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=load_settings().drain_timeout_ms / 1000,
    )
    @serve.ingress(build)
    class Sentiment:
        app: Replica  # set by Serve

        async def check_health(self) -> None:
            """Raise if the replica is not ready. Serve sends it no request before the first success."""
            await self.app.loaded.wait()
            self.app.application.lifecycle.check(None)

    return Sentiment.bind()
