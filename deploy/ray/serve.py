"""`make ray`: serve with Ray Serve on this machine until a signal, then answer what is running, and end everything."""

import argparse
import signal
import sys
import threading

# First, because it sets what Ray reads when it is imported.
from deploy.ray.cluster import running  # isort: skip
from ray import serve

from app import logs
from app.server.process import warn_if_open
from deploy.ray.application import Options, application, replica_settings


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.ray.serve",
        description="Serve with Ray Serve on this machine. SENTIMENT_* settings apply to each replica.",
    )
    for name, field in Options.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=field.annotation, default=field.default)
    parser.add_argument("--metrics-port", type=int, help="where Ray exports metrics; any free port by default")
    args = vars(parser.parse_args())
    metrics_port = args.pop("metrics_port")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        options = Options(**args)
        settings = replica_settings(options.cores)
    except ValueError as error:
        sys.exit(f"ray: {error}")
    logs.configure(settings.log_format, settings.log_level)
    warn_if_open(settings)
    with running(_metrics_export_port=metrics_port):
        serve.start(
            http_options={"host": settings.host, "port": settings.port, "keep_alive_timeout_s": settings.keep_alive_s},
            logging_config={"enable_access_log": False},
        )
        serve.run(application(options), name="sentiment")
        print(f"ray: ready: http://{settings.host}:{settings.port}", file=sys.stderr, flush=True)
        stopping.wait()
        serve.delete("sentiment")  # replicas answer their requests first; `shutdown` would end the proxy at once
        serve.shutdown()
    print("ray: stopped", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
