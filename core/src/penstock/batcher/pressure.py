"""Whether any batcher of a data plane refuses works at present: the one thing that shells look at before they decode a request.

    batcher refuses --> pressure.batchers += 1 --> shells ask the data plane's `refusal` before they decode
    half of what waited is gone --> -= 1 ------> they no longer do

    a run begins under pressure --> turns += 1: what was refused before may be taken now

So a request costs one comparison more where nothing is refused, and little where much is.
"""


class Pressure:
    """`batchers`: how many of those that share this refuse works. Written on the event loop's thread.

    Between two `turns` queues only grow, so a refusal stands until the next.
    """

    __slots__ = ("batchers", "turns")

    def __init__(self) -> None:
        self.batchers = 0
        self.turns = 0
