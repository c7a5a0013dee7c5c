"""Checks a release from inside the cluster (`helm test`): it is ready and predicts. Takes the Service's address."""

import http.client
import json
import ssl
import sys
import time
from urllib.parse import urlsplit

ADDRESS = urlsplit(sys.argv[1])
PATIENCE_S = 60
TEXTS = ["I love it.", "I want my money back."]


def send(method, path, body=None):
    """Return the status and the text of the response."""
    if ADDRESS.scheme == "https":
        # The certificate is for the name of the host, and not for that of the Service.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(ADDRESS.hostname, ADDRESS.port, timeout=15, context=context)
    else:
        connection = http.client.HTTPConnection(ADDRESS.hostname, ADDRESS.port, timeout=15)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


# Until the network policy has taken effect.
give_up = time.monotonic() + PATIENCE_S
while True:
    try:
        status, answer = send("GET", "/readyz")
    except (OSError, http.client.HTTPException) as error:
        status, answer = None, str(error)
    if status == 200:
        break
    if time.monotonic() > give_up:
        sys.exit(f"{sys.argv[1]} is not ready: {answer}")
    time.sleep(1)
print("ready")

status, answer = send("POST", "/predict/batch", json.dumps({"texts": TEXTS}))
if status == 401:
    print("predictions need an API key or a token, so none was tried")
elif status == 200:
    for text, result in zip(TEXTS, json.loads(answer)["predictions"], strict=True):
        print(f"{text!r} is {result['label']}")
else:
    sys.exit(f"POST /predict/batch: {status} {answer}")
