"""The server that most tutorials build: a `def` endpoint in FastAPI's thread pool, one `session.run` a request.

Tuned in good faith: one ONNX Runtime thread a request without spinning (the defaults are slower here), uvloop and
httptools, no access log. One process: its threads share the model, and `session.run` lets the others go on.
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
