"""KServe's own Python server around the session, as its documentation shows a custom predictor; its logs of requests off."""

import logging
import sys
from typing import Any

from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid
from session import Session, options


class Onnx(Model):
    def __init__(self, session: Session) -> None:
        super().__init__("bench")
        self.session = session
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:  # noqa: ARG002
        array = payload.inputs[0].as_numpy()
        made = self.session(array)
        output = InferOutput(self.session.output, list(made.shape), self.session.output_datatype)
        output.set_data_from_numpy(made, binary_data=bool(payload.request_outputs))
        return InferResponse(payload.id or generate_uuid(), self.name, [output])


if __name__ == "__main__":
    given = options()
    sys.argv = sys.argv[:1]
    server = ModelServer(
        http_port=given.port,
        grpc_port=given.grpc_port,
        enable_grpc=given.grpc_port > 0,
        workers=1,
        enable_latency_logging=False,
        access_log_format=None,
    )
    for name in ("uvicorn.access", "kserve.trace"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server.start([Onnx(Session(given.model))])
