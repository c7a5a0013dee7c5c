"""infinity: FastAPI, its own queue, and Optimum's ONNX Runtime pipeline in a thread.

- `--engine optimum --device cpu`, recommended for CPUs. Version 0.0.78 finds the ONNX file of a local model only if the
  model is the working directory, because it looks for the file's path inside the path of the model.
- `--no-model-warmup`: its ONNX classifier does not truncate, and the warm-up texts are too long for this model. For the
  same reason, do not send texts of more than 512 tokens: the server does not answer any request after one.
- `--batch-size 32`, its default. The number of ONNX Runtime threads cannot be set: it makes one call at a time, with
  one thread per core.
- `--onnx-disable-optimize`: the same file as for all other servers.
- Logs warnings only, no usage statistics, no access to a model hub.

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
