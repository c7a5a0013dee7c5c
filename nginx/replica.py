"""One replica: a service on a port of its own, started again whenever it ends, and ended when it freezes."""

import asyncio
import contextlib
import http.client
import os
import signal
import sys
import time

from nginx.process import end, say, spawn

_READY_WITHIN_S = 120
_POLL_S = 0.05
_RESPAWN_S = 1  # a replica that ends at once would otherwise be started in a tight loop
# One that has frozen is ended within six seconds, while nginx may still ask another what it holds (http.conf).
_LOOK_EVERY_S, _PATIENCE_S, _SILENT = 0.5, 1.5, 3


class Failed(Exception):
    """A replica or nginx ended that nothing brings back; the message says what."""


class Replica:
    """A service on a port of its own, started again whenever it ends."""

    def __init__(self, port: int, slots: int) -> None:
        self.port = port
        self._slots = slots
        self._retired = False
        self._proven = False  # it has been ready once: whatever ends it now is worth another try
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Port and process, for people who want to look at it or to end it."""
        return f"http://127.0.0.1:{self.port} (process {self._process.pid if self._process else 'none'})"

    async def start(self) -> None:
        """Start it, and keep it started."""
        command = [sys.executable, "-m", "app", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = await spawn(command, env={"SENTIMENT_SLOTS": str(self._slots)} | os.environ)
        self._keeper = asyncio.create_task(self._keep(self._process))
        self._watcher = asyncio.create_task(self._watch(self._process))

    async def _keep(self, process: asyncio.subprocess.Process) -> None:
        started_s = time.monotonic()
        status = await process.wait()
        if self._proven and not self._retired:
            say(f"replica {self.name} ended with {status}; another is starting")
            await asyncio.sleep(max(0, _RESPAWN_S - (time.monotonic() - started_s)))
            await self.start()

    async def ready(self) -> None:
        """Return once it answers predictions; raise `Failed` when it ends before or takes too long."""
        assert self._process is not None
        process = self._process
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_WITHIN_S):
                while process.returncode is None:
                    if await self.is_ready():
                        self._proven = True
                        return
                    await asyncio.sleep(_POLL_S)
        raise Failed(f"replica {self.name} did not get ready (exit status {process.returncode})")

    async def is_ready(self) -> bool:
        """Whether it answers predictions."""
        return await asyncio.to_thread(_answers, self.port, "/readyz")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Kill it when it answers nothing any more: what it holds is then asked again elsewhere."""
        listens, silent = False, 0
        while silent < _SILENT and process.returncode is None:
            await asyncio.sleep(_LOOK_EVERY_S)
            answers = await asyncio.to_thread(_answers, self.port, "/livez")
            listens |= answers
            silent = silent + 1 if listens and not answers else 0
        if process.returncode is None:
            say(f"replica {self.name} answers nothing")
            process.kill()

    async def restart(self) -> None:
        """End it gracefully and return once its successor is ready; raise `Failed` when that doesn't get so."""
        old = self._process
        assert old is not None
        await end(old, signal.SIGTERM, patience_s=_READY_WITHIN_S)
        while self._process is old:  # noqa: ASYNC110 - the keeper starts the successor
            await asyncio.sleep(_POLL_S)
        await self.ready()

    async def retire(self) -> None:
        """End it gracefully, for good."""
        self._retired = True
        for task in (self._keeper, self._watcher):
            if task is not None:
                task.cancel()
        if self._process is not None:
            await end(self._process, signal.SIGTERM)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)  # urllib would ask a proxy
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
