"""A training job: its rows to a folder, a process that trains there, and the model from there to the store.

The training itself is in `training.workflow.job`, outside of this package, and needs PyTorch, which only that process
imports. It saves its state in the folder, from which the next attempt goes on.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

from ..errors import InvalidInput, NotReady, TableError
from .download import download
from .lease import HandedBack, Lease
from .options import JobOptions
from .request import EMBEDDED, TrainingRequest
from .results import archive_path, input_path
from .sources import check_url, is_download, open_url
from .store import Store

_NEEDED = ("training", "torch", "transformers", "onnx")
_LOOK_EVERY_S = 0.2
_TO_SAVE_S = 20.0  # after the worker was told to end
_PIECE_BYTES = 1024 * 1024
_KEPT = (  # of the directory of a run
    "history.jsonl", "predictions.csv", "mistakes.csv", "mistakes.html", "confusion.html", "plots",
)  # fmt: skip


class TrainingFailed(Exception):
    """The process of a training has ended without a model; another attempt may end differently."""


def why_not_here() -> str | None:
    """Return what this environment lacks for trainings, or None."""
    missing = next((name for name in _NEEDED if find_spec(name) is None), None)
    if missing == "training":
        return "the code for training is not installed; start the worker in a clone of the repository"
    return f"the package {missing} is missing; run `make .venv/dev.stamp`" if missing else None


def train_job(lease: Lease, store: Store, options: JobOptions) -> dict[str, Any]:
    """Train, store the model as an archive, and return what the job's owner sees as its result."""
    job = lease.job
    if known := job.checkpoint.get("result"):  # the last process ended between this and the job's end
        return dict(known)
    request = TrainingRequest.from_dict(job.request)
    lease.advance(job.done, job.total, stage={"phase": "data"})
    with store.workplace(f"{job.id}/training") as folder:
        try:
            _copy_table(request, lease, store, options, folder / request.table)
            result = _train(lease, request, options, folder)
        except (InvalidInput, TableError):  # if it is tried again, then with other rows
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with store.writer(archive_path(job.id)) as stream:
            _pack(folder, request.name, stream)
        lease.keep({"result": result})
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _copy_table(request: TrainingRequest, lease: Lease, store: Store, options: JobOptions, table: Path) -> None:
    """Copy the rows to a file, once, so that all attempts train on the same ones."""
    if table.exists():
        return
    fresh = table.with_name("copied")
    size = 0
    with _open(request, lease, store, options) as stream, fresh.open("wb") as file:
        try:
            while piece := stream.read(_PIECE_BYTES):
                lease.check()
                size += len(piece)
                if size > options.job_max_upload_bytes:
                    raise InvalidInput(f"the rows are larger than {options.job_max_upload_bytes} bytes")
                file.write(piece)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise TableError(f"{request.file}: it is not a whole gzip file") from None
    fresh.replace(table)


@contextmanager
def _open(request: TrainingRequest, lease: Lease, store: Store, options: JobOptions) -> Iterator[BinaryIO]:
    place = input_path(lease.job.id)
    if request.url and is_download(request.url):
        check_url(request.url, options.job_sources)
        with store.writer(place) as copy:
            for piece in download(request.url, options.max_input_bytes):
                lease.check()
                copy.write(piece)
    opener = partial(store.open, place)
    if request.url and not is_download(request.url):
        opener = partial(open_url, request.url, options.job_sources)
    try:
        stream = opener()
    except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise TableError(f"{request.file}: {error.strerror or 'it cannot be opened'}") from None
    with stream:
        yield cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if request.is_compressed else stream


def _train(lease: Lease, request: TrainingRequest, options: JobOptions, folder: Path) -> dict[str, Any]:
    """Run the process until it ends, and return its result. Raises what stops the job."""
    outcome = folder / "outcome.json"
    outcome.unlink(missing_ok=True)
    work = request.arguments() | {"folder": str(folder), "start": _start(request.base, options.job_bases)}
    with (folder / "output.txt").open("ab") as output, _started(output) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(work).encode() + b"\n")
        process.stdin.flush()  # and left open: its end tells the process that this one is gone
        while process.poll() is None:
            lease.check()
            _show(lease, _read_json(folder / "runs" / request.name / "progress.json"))
            time.sleep(_LOOK_EVERY_S)
        lease.check()
    _show(lease, _read_json(folder / "runs" / request.name / "progress.json"))
    found = _read_json(outcome)
    if result := found.get("result"):
        return dict(result)
    if found.get("is_final"):
        raise InvalidInput(found["error"])
    by = f"by signal {-process.returncode}" if process.returncode < 0 else f"with status {process.returncode}"
    raise TrainingFailed(found.get("error", f"the training was ended {by}; perhaps the worker has too little memory"))


@contextmanager
def _started(output: BinaryIO) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the process, and end it with the block: one that is told to hand its job back may save its state."""
    # Not from the current directory, and in a session of its own, so that a signal reaches it once.
    command = [sys.executable, "-P", "-m", "training.workflow.job"]
    process = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=_environment(), process_group=0
    )
    try:
        yield process
    except HandedBack:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TO_SAVE_S)
        raise
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def _environment() -> dict[str, str]:
    """Let the process find the code for training where this one does."""
    found = find_spec("training")
    if found is None or not found.submodule_search_locations:
        raise NotReady(f"this worker cannot train: {why_not_here()}")
    root = str(Path(next(iter(found.submodule_search_locations))).absolute().parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _start(base: str | None, bases: Path | None) -> str | None:
    if base is None or base in EMBEDDED:
        return base
    folder = bases.expanduser() / base if bases else None  # the API has checked that `base` is not a path
    if folder is None or not folder.is_dir():
        others = sorted(path.name for path in bases.expanduser().iterdir() if path.is_dir()) if bases else []
        raise InvalidInput(f"unknown base {base}; there are {', '.join((*EMBEDDED, *others))}")
    return str(folder.absolute())


def _show(lease: Lease, figures: Mapping[str, Any]) -> None:
    """Note how far the training is; a state that was saved is where it goes on."""
    if "phase" not in figures:
        return
    saved = figures.get("saved", 0)
    checkpoint = {"steps": saved} if saved > lease.job.checkpoint.get("steps", 0) else None
    stage = {"phase": figures["phase"], "loss": figures.get("loss")}
    lease.advance(figures["done"], figures["total"], checkpoint, stage=stage, per_s=figures.get("per_s"))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _pack(folder: Path, name: str, stream: BinaryIO) -> None:
    """Write the archive: the model in NAME, and what the training has found in NAME-run."""

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode = 0o755 if info.isdir() else 0o644
        return info

    run = folder / "runs" / name
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        archive.add(folder / "models" / name, name, filter=anonymous)
        for each in _KEPT:
            if (run / each).exists():
                archive.add(run / each, f"{name}-run/{each}", filter=anonymous)
        archive.add(folder / "output.txt", f"{name}-run/output.txt", filter=anonymous)
