"""Artifacts with a manifest, keys to sign them with, and a web server that has them."""

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.inference import MANIFEST
from app.inference.exits import EXITS
from tests.support.process import ROOT


def write_manifest(directory: Path, *, without: str = "", **stated: Any) -> str:
    """Write a manifest of all files but one, and return its sha256."""
    files = {
        file.relative_to(directory).as_posix(): {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "bytes": file.stat().st_size,
        }
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, "model.sig", "MODEL_CARD.md", without)
    }
    content = json.dumps({"files": files, **stated})
    (directory / MANIFEST).write_text(content)
    return hashlib.sha256(content.encode()).hexdigest()


def artifact(directory: Path, *, weights: bytes = b"weights", **stated: Any) -> str:
    """Write the files of an artifact that nobody loads, one of them in a folder, and return its digest."""
    (directory / "onnx").mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    (directory / "onnx" / "model.onnx").write_bytes(weights)
    return write_manifest(directory, **stated)


def key_pair(folder: Path, name: str = "key", *, password: str = "") -> tuple[Path, Path]:
    """Write a private and a public key, and return their files."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    secret = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    private.write_bytes(key.private_bytes(*form))
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


class Stall:
    """Stops the first request for a file half way through."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reached = threading.Event()
        self.over = threading.Event()


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder, notes the paths, answers 302 to those below /moved, and 503 to those below /broken."""

    paths: list[str]
    stall: Stall | None

    def do_GET(self) -> None:
        self.paths.append(self.path)
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/broken/"):
            self.send_error(503)
        elif self.stall is not None and self.path == f"/{self.stall.name}" and not self.stall.reached.is_set():
            content = (Path(self.directory) / self.stall.name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.stall.reached.set()
            self.stall.over.wait()
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_args: object) -> None: ...


@contextmanager
def web_server(folder: Path, stall: Stall | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder over HTTP; yield the address, and the paths of requests so far."""
    paths: list[str] = []
    handler = type("Handler", (_Handler,), {"paths": paths, "stall": stall})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", paths
    finally:
        if stall is not None:
            stall.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def copy_without_exits(directory: Path) -> Path:
    """Copy the embedded model to a new directory, and remove its exits."""
    shutil.copytree(ROOT / "models" / "sentiment-en", directory)
    manifest = json.loads((directory / MANIFEST).read_text())
    for file in [directory / EXITS, *directory.glob("*.part*.onnx")]:
        if manifest["files"].pop(file.name, None):
            file.unlink()
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory
