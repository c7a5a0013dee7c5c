"""The server that most tutorials build: a `def` endpoint in FastAPI's thread pool, one `session.run` per request.

Tuned fairly: one ONNX Runtime thread per request without spinning (the defaults are slower here), uvloop and httptools,
no access log. It is one process whose threads share the model, because `session.run` releases the interpreter lock.
https://fastapi.tiangolo.com/async/#path-operation-functions
"""

from fastapi import FastAPI
from pydantic import BaseModel

from perf.peers.model import Model


class Body(BaseModel):
    text: str


class Sentiment(BaseModel):
    label: str
    confidence: float


app = FastAPI()
model = Model()


@app.post("/predict")
def predict(body: Body) -> Sentiment:
    return Sentiment(**model.predict_one(body.text))
