"""The servers that the predictor is measured beside.

    fastapi    a plain FastAPI route with pydantic models around the same session, as a README would show it; uvloop and httptools
    direct     the predictor itself with the batcher taken out: each request runs at once, by itself

Both take the options of `penstock-predictor` that they need.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def fastapi(options: argparse.Namespace) -> None:
    import numpy as np
    import uvicorn
    from fastapi import FastAPI, Request, Response
    from pydantic import BaseModel

    from penstock.onnx import SessionSettings, load

    class Tensor(BaseModel):
        name: str
        datatype: str
        shape: list[int]
        data: list[float]

    class InferRequest(BaseModel):
        inputs: list[Tensor]
        id: str | None = None

    class InferResponse(BaseModel):
        model_name: str
        outputs: list[Tensor]
        id: str | None = None

    session = load(options.model_dir / "model.onnx", SessionSettings(threads=1))
    app = FastAPI()

    async def as_json(body: InferRequest) -> InferResponse:
        given = body.inputs[0]
        output = session.run({given.name: np.array(given.data, np.float32).reshape(given.shape)})[0]
        tensor = Tensor(name="y", datatype="FP32", shape=list(output.shape), data=output.ravel().tolist())
        return InferResponse(model_name=options.model_name, outputs=[tensor], id=body.id)

    async def as_binary(request: Request) -> Response:
        body = await request.body()
        length = int(request.headers["inference-header-content-length"])
        given = json.loads(body[:length])["inputs"][0]
        output = session.run({given["name"]: np.frombuffer(body[length:], np.float32).reshape(given["shape"])})[0]
        data = output.tobytes()
        described = {"name": "y", "datatype": "FP32", "shape": output.shape, "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"model_name": options.model_name, "outputs": [described]}).encode()
        headers = {"inference-header-content-length": str(len(head))}
        return Response(head + data, media_type="application/octet-stream", headers=headers)

    # One path takes both forms; the choice by header costs nothing beside the rest, and each form keeps its own plain route.
    app.post("/json")(as_json)
    app.post("/binary")(as_binary)

    @app.get("/v2/health/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    uvicorn.run(_by_form(app), port=options.http_port, log_level="warning", access_log=False, loop="uvloop", http="httptools")


def _by_form(app: Any) -> Any:
    """Sends /v2/models/…/infer to the route of its form."""

    async def route(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/infer"):
            binary = any(name == b"inference-header-content-length" for name, _ in scope["headers"])
            scope["path"] = "/binary" if binary else "/json"
        await app(scope, receive, send)

    return route


def direct(arguments: list[str]) -> None:
    """The predictor with each work run at once where the batcher would have queued it."""
    from penstock_predictor.__main__ import main
    from penstock_predictor.served import ServedModel

    prepare = ServedModel.__init__

    def init(self: Any, *given: Any, **named: Any) -> None:
        prepare(self, *given, **named)
        runner = self._runners[0]
        self.queue = lambda work: runner.deliver([work], runner.run([work]))

    ServedModel.__init__ = init  # type: ignore[method-assign]
    main(arguments)


if __name__ == "__main__":
    if sys.argv[1] == "direct":
        direct(sys.argv[2:])
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("kind", choices=["fastapi"])
        parser.add_argument("--model_name")
        parser.add_argument("--model_dir", type=Path)
        parser.add_argument("--http_port", type=int)
        fastapi(parser.parse_known_args()[0])
