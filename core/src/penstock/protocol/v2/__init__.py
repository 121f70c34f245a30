"""Open Inference Protocol v2 over HTTP: JSON, binary and mixed bodies.

    caller --decode_request--> InferRequest -> DataPlane -> InferResponse --encode_response--> caller
    a DataPlane over the network: encode_request -> predictor -> decode_response

Source: Open Inference Protocol v2 "HTTP/REST" and the "Binary Tensor Data" extension.
"""

from penstock.protocol.v2.client import decode_response, encode_request
from penstock.protocol.v2.decoding import decode_request
from penstock.protocol.v2.encoding import encode_response

__all__ = ["decode_request", "decode_response", "encode_request", "encode_response"]
