"""WebSocket: `GET /v2/models/{m}/stream`, many inference requests in flight on one connection.

    bytes -> protocol (frames by the `websockets` library) -> stream (credit, ids) -> DataPlane.submit
    bytes <- protocol (one write for a batch's answers)    <- stream               <- Reply

A text frame is v2 JSON; a binary frame is a u32 little-endian header length, v2 JSON of that length, and tensors. Answers carry
the `id` of their request and come in whatever order they are ready, errors too. The server's first frame is `{"credit": n}`: so
many requests may be unanswered; it grants more as it answers.
"""
