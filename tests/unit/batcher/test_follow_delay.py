"""While a run is in flight the next one waits for company; alone, nobody waits."""

import asyncio

from penstock.batcher import Batcher, BatchPolicy
from penstock.dataplane import Context


class Item:
    rows = nbytes = 1
    key = 0
    disconnected = False

    def __init__(self):
        self.context = Context("r")
        self.answered = asyncio.get_running_loop().create_future()

    def error(self, error):
        self.answered.set_exception(error)


def test_the_next_run_waits_until_the_one_in_flight_is_done():
    async def go():
        gates, sizes, begun = [], [], asyncio.Event()

        async def compute(works):
            sizes.append(len(works))
            begun.set()
            gates.append(asyncio.Event())
            await gates[-1].wait()

        def deliver(works, _):
            for work in works:
                work.answered.set_result(None)

        policy = BatchPolicy(max_rows=8, max_in_flight=4, follow_delay_ms=60_000)
        batcher = Batcher(compute, deliver, policy, coroutine=True)
        items = [Item() for _ in range(12)]
        batcher.submit(items[0])
        async with asyncio.timeout(20):
            await begun.wait()
            for item in items[1:4]:
                batcher.submit(item)
                await asyncio.sleep(0)
            assert sizes == [1]
            gates[0].set()
            await items[0].answered
            await asyncio.sleep(0)
            assert sizes == [1, 3]
            for item in items[4:12]:
                batcher.submit(item)
            gates[1].set()
            await items[1].answered
            await asyncio.sleep(0)
            gates[-1].set()
            await asyncio.gather(*(item.answered for item in items))
            assert sizes == [1, 3, 8]
        batcher.close()

    asyncio.run(go())
