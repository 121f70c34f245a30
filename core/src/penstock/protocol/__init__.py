"""The Open Inference Protocol: bytes to InferRequest and InferResponse to bytes, both ways round, and nothing else.

`v2` is the way in for callers (`decode_request`, `encode_response`) and the way out for clients (`encode_request`,
`decode_response`); `v1` is KServe's older form; `metadata` the JSON of models and servers. All are pure functions of bytes:
whatever bytes they are given, they return or raise a PenstockError that names the field.
"""
