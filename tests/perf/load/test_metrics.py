"""The metrics of a service are read as numbers."""

import http.server
import threading

from perf.load.metrics import scrape

METRICS = b"""\
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{handler="/predict",status="200"} 3.0
http_requests_total{handler="/predict",status="429"} 2.0
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 2.5e+08
"""


def test_metrics_are_summed_over_their_labels() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(METRICS)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        metrics = scrape(f"http://127.0.0.1:{server.server_port}")
    assert metrics["http_requests_total"] == 5
    assert metrics["process_resident_memory_bytes"] == 250e6
    assert metrics["no_such_metric"] == 0
