"""`serve` runs the service in this process, or in several workers."""

import logging
import signal
import ssl
import sys
import tempfile
from functools import partial
from socket import socket
from typing import TYPE_CHECKING

from .. import logs
from ..allocator import share_arenas
from ..config import PREFIX, Settings
from ..errors import SetupError
from ..logs import log
from ..sockets import address_of, authority, bind_shared, is_loopback, listen
from .draining import DrainingServer

if TYPE_CHECKING:
    from .worker import Pipe

# A slot's thread that returns from the model waits this long for a busy event loop to release the interpreter, and its
# slot is idle meanwhile. With this fiftieth of Python's default, a batch starts after 0.7 ms; with a tenth it was 0.95.
_SWITCH_INTERVAL_S = 0.0001


def serve(settings: Settings) -> int:
    """Serve until a signal, then exit the process: with 0 after a drain, with 1 if the model failed.

    Returns the exit status 1 if it cannot listen.
    """
    logs.configure(settings.log_format, settings.log_level)
    warn_if_open(settings)
    if settings.tls_cert_file and settings.tls_key_file:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                settings.tls_cert_file,
                settings.tls_key_file,
                password="",  # a key with a password is an error; without this, OpenSSL would ask for it # nosec B106
            )
        except (OSError, ssl.SSLError) as error:
            print(f"rt-sentiment: {PREFIX}TLS_CERT_FILE/{PREFIX}TLS_KEY_FILE: {error}", file=sys.stderr)
            return 1
    try:
        listener = listen(settings.host, settings.port)
        if settings.workers > 1:
            port = listener.getsockname()[1]
            listener.close()  # the port is free, so the workers may share it
            listener = bind_shared(settings.host, port)
    except OSError as error:
        where = authority(settings.host, settings.port)
        print(f"rt-sentiment: {PREFIX}HOST/{PREFIX}PORT: cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    if settings.workers == 1:
        return _run(settings, listener)
    from .supervisor import serve_workers  # one process needs no multiprocessing

    each = settings.model_copy(update={"port": listener.getsockname()[1]})
    try:
        metrics_dir = tempfile.TemporaryDirectory(prefix="rt-sentiment-")
    except OSError as error:
        print(f"rt-sentiment: several workers need a folder for their metrics: {error}", file=sys.stderr)
        return 1
    address = address_of(listener, tls=settings.tls_cert_file is not None)
    with metrics_dir:
        return serve_workers(partial(work, each), settings.workers, address, metrics_dir.name)


def warn_if_open(settings: Settings) -> None:
    """Log a warning if other machines can use the service without a key."""
    if not settings.needs_key and not is_loopback(settings.host):
        reason = (
            f"anyone who can reach {settings.host} can use the service; set {PREFIX}API_KEYS_FILE, or restrict access"
        )
        log(logging.WARNING, "no API keys", reason=reason)


def work(settings: Settings, pipe: "Pipe") -> None:
    """Serve as one of several workers, on a port that they share."""
    logs.configure(settings.log_format, settings.log_level)
    sys.exit(_run(settings, bind_shared(settings.host, settings.port), pipe))


def _run(settings: Settings, listener: socket, pipe: "Pipe | None" = None) -> int:
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    share_arenas()
    try:
        server = DrainingServer(settings, listener, pipe)
    except SetupError as error:
        listener.close()
        print(f"rt-sentiment: {error}", file=sys.stderr)
        return 1
    if not pipe and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, server.handle_exit)
    server.run(sockets=[listener])
    return 1  # not reached: the server exits the process
