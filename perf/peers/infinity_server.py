"""infinity: FastAPI, a queue of its own, and Optimum's ONNX Runtime pipeline in a thread.

- `--engine optimum --device cpu`, which is what it recommends for CPUs. Version 0.0.78 finds the ONNX file of a local
  model only where the model is the working directory: it looks for the file's path inside the model's.
- `--no-model-warmup`: its ONNX classifier cuts no text, and the warm-up's are too long for this model. For the same
  reason no text of more than 512 tokens may be sent: it answers nothing after one.
- `--batch-size 32`, its default. ONNX Runtime's threads cannot be set: one text at a time, with a thread on each core.
- `--onnx-disable-optimize`: the same file as for all others.
- Logs only what goes wrong, no usage statistics, and looks for nothing on a hub.

https://michaelfeil.eu/infinity/main/cli_v2/
https://michaelfeil.eu/infinity/main/telemetry/
"""

import os
import sys

from perf.peers.model import FOLDER, MAX_BATCH_SIZE

if __name__ == "__main__":
    os.chdir(FOLDER)
    engine = ("--model-id", ".", "--engine", "optimum", "--device", "cpu", "--served-model-name", "sentiment")
    settings = ("--batch-size", str(MAX_BATCH_SIZE), "--no-model-warmup", "--onnx-disable-optimize")
    listen = ("--host", "127.0.0.1", "--log-level", "warning", "--port", sys.argv[1])
    sys.argv = ["infinity_emb", "v2", *engine, *settings, *listen]
    from infinity_emb.cli import cli

    cli()
