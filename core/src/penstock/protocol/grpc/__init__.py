"""Open Inference Protocol v2 over gRPC: messages and their codec, without a server.

    caller --decode_request--> InferRequest -> DataPlane -> InferResponse --encode_response--> caller

`inference.proto` is the protocol file, `messages` its classes. Importing this package imports nothing: protobuf is needed only
where gRPC is switched on (extra `grpc`).

Source: Open Inference Protocol v2 "GRPC"; Triton's "Model Repository Extension" and ModelStreamInfer.
"""
