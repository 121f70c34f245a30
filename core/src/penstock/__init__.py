"""Penstock's core: what every pod shares, from the wire to the batch.

Layers look one way. `serving` faces the network and knows the web framework; `protocol` turns bytes into requests and back;
`dataplane` is the one port between them and whatever answers; `batcher`, `features`, `bundle`, `postprocess` and `columns`
know nothing of the network; `tensors` and `errors` lie below everything.
"""

__version__ = "0.1.0"
