"""MLServer's runtime around the session. The harness writes the settings files and runs `mlserver start`."""

import os
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from session import Session


class Onnx(MLModel):
    async def load(self) -> bool:
        self.session = Session(Path(os.environ["BENCH_MODEL"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        codec: Any = StringCodec if self.session.datatype == "BYTES" else NumpyCodec
        output = self.session(codec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(self.session.output, output)])
