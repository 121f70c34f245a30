"""The Python client: predictions, tensors, records, over HTTP; ordinary (`Client`) and for asyncio (`AsyncClient`).

    with Client("http://127.0.0.1:8080") as client:
        print(client.predict("flights", [{"distance": 500, "carrier": "AA"}]).predictions[0].label)

One implementation of the protocol (`call`, `predicting`, `inferring`, `retrying`, without I/O) under two thin shells. What goes
wrong is raised as the server's own error tree, `penstock.errors`. Needs the extra `client` (httpx; websockets for streams).
"""

from penstock.client.asynchronous import AsyncClient
from penstock.client.call import CallOptions
from penstock.client.results import (
    AsyncPrediction,
    AsyncPredictionPage,
    ImportReport,
    Inference,
    Prediction,
    Predictions,
    Record,
    RecordPage,
    RefusedRow,
)
from penstock.client.retrying import RetryPolicy
from penstock.client.stream import InferStream
from penstock.client.synchronous import Client

__all__ = [
    "AsyncClient",
    "AsyncPrediction",
    "AsyncPredictionPage",
    "CallOptions",
    "Client",
    "ImportReport",
    "InferStream",
    "Inference",
    "Prediction",
    "Predictions",
    "Record",
    "RecordPage",
    "RefusedRow",
    "RetryPolicy",
]
