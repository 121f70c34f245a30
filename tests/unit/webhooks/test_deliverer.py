"""The deliverer over a queue in memory: bounds, leases, stopping, and faults of the queue and of our own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from penstock.errors import UpstreamUnavailable
from penstock_transformer.predictions.webhook_machine import Answer, Failure, Result
from penstock_transformer.predictions.webhook_port import MemoryWebhooks, Settled, Webhook
from penstock_transformer.predictions.webhook_settings import WebhookSettings
from penstock_transformer.predictions.webhooks import Deliverer

SETTINGS = WebhookSettings(webhook_first_retry_s=0.0, webhook_attempts=3, webhook_in_flight=6, webhook_per_host=2)


def webhook(number: int, host: str = "one.example") -> Webhook:
    return Webhook(f"msg_{number}", str(number), f"https://{host}/", host, b"{}", 0, "")


class Receiver:
    """Answers as told; counts what is under way by host."""

    def __init__(self, *results: Result | Exception) -> None:
        self.results = list(results)
        self.sent: list[Webhook] = []
        self.most: dict[str, int] = {}
        self.now: dict[str, int] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, webhook: Webhook) -> Result:
        self.sent.append(webhook)
        self.now[webhook.host] = self.now.get(webhook.host, 0) + 1
        self.most[webhook.host] = max(self.most.get(webhook.host, 0), self.now[webhook.host])
        await self.open.wait()
        self.now[webhook.host] -= 1
        result = self.results.pop(0) if self.results else Answer(200)
        if isinstance(result, Exception):
            raise result
        return result


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def run(work: Callable[[MemoryWebhooks, Callable[[Receiver], Deliverer]], Awaitable[None]]) -> None:
    async def whole() -> None:
        queue, running = MemoryWebhooks(), []

        def deliverer(receiver: Receiver) -> Deliverer:
            made = Deliverer(queue, receiver, SETTINGS)
            running.append((made, asyncio.create_task(made.run())))
            return made

        await work(queue, deliverer)
        for made, task in running:
            made.stop()
            await task

    asyncio.run(whole())


def counted(deliverer: Deliverer) -> dict[str, float]:
    attempts = next(iter(deliverer.families()))
    return {sample.labels["outcome"]: sample.value for sample in attempts.samples if sample.value}


def test_what_is_written_is_delivered_once() -> None:
    async def work(queue: MemoryWebhooks, start: Callable[[Receiver], Deliverer]) -> None:
        receiver = Receiver()
        deliverer = start(receiver)
        for number in range(20):
            queue.add(webhook(number, f"{number % 3}.example"))
        await until(lambda: not queue.waiting)
        assert sorted(one.id for one in receiver.sent) == sorted(f"msg_{number}" for number in range(20))
        assert counted(deliverer) == {"delivered": 20}

    run(work)


def test_a_host_and_the_whole_are_bounded_and_a_slow_host_holds_nobody_up() -> None:
    async def work(queue: MemoryWebhooks, start: Callable[[Receiver], Deliverer]) -> None:
        receiver = Receiver()
        receiver.open.clear()
        for number in range(10):
            queue.add(webhook(number, "slow.example"))
        queue.add(webhook(99, "quick.example"))
        start(receiver)
        await until(lambda: len(receiver.sent) == 3)
        assert receiver.now == {"slow.example": 2, "quick.example": 1}
        receiver.open.set()
        await until(lambda: not queue.waiting)
        assert receiver.most == {"slow.example": 2, "quick.example": 1}

    run(work)


def test_several_deliverers_send_each_webhook_once_at_a_time() -> None:
    async def work(queue: MemoryWebhooks, start: Callable[[Receiver], Deliverer]) -> None:
        receivers = [Receiver() for _ in range(3)]
        for receiver in receivers:
            start(receiver)
        for number in range(30):
            queue.add(webhook(number, f"{number}.example"))
        await until(lambda: not queue.waiting)
        assert sorted(one.id for receiver in receivers for one in receiver.sent) == sorted(
            f"msg_{number}" for number in range(30)
        )

    run(work)


@pytest.mark.parametrize(
    "results, outcomes",
    [
        ([Answer(500), Failure("ConnectError"), Answer(204)], {"failed": 2, "delivered": 1}),
        ([Answer(302)] * 3, {"failed": 2, "abandoned": 1}),
        ([Answer(404), Answer(410)], {"failed": 1, "gone": 1}),
        ([RuntimeError("ours"), Answer(200)], {"failed": 1, "delivered": 1}),
    ],
)
def test_attempts_follow_the_machine_under_one_id(results: list[Result | Exception], outcomes: dict[str, float]) -> None:
    async def work(queue: MemoryWebhooks, start: Callable[[Receiver], Deliverer]) -> None:
        receiver = Receiver(*results)
        deliverer = start(receiver)
        queue.add(webhook(1))
        await until(lambda: not queue.waiting)
        assert [(one.id, one.attempts) for one in receiver.sent] == [("msg_1", n + 1) for n in range(len(results))]
        assert counted(deliverer) == outcomes

    run(work)


def test_stopping_finishes_what_is_under_way() -> None:
    async def work(queue: MemoryWebhooks, start: Callable[[Receiver], Deliverer]) -> None:
        receiver = Receiver()
        receiver.open.clear()
        deliverer = start(receiver)
        queue.add(webhook(1))
        await until(lambda: bool(receiver.sent))
        deliverer.stop()
        queue.add(webhook(2, "other.example"))
        receiver.open.set()
        await until(lambda: len(queue.waiting) == 1)
        assert queue.waiting[0].id == "msg_2"

    run(work)


def test_a_lost_settling_leaves_the_webhook_to_its_lease() -> None:
    class Away(MemoryWebhooks):
        async def settle(self, settled: Settled) -> bool:
            raise UpstreamUnavailable("away")

    async def work() -> None:
        queue, receiver = Away(), Receiver()
        queue.add(webhook(1))
        deliverer = Deliverer(queue, receiver, SETTINGS)
        running = asyncio.create_task(deliverer.run())
        await until(lambda: counted(deliverer) == {"lost_lease": 1})
        deliverer.stop()
        await running
        assert len(receiver.sent) == 1
        assert [one.id for one in queue.waiting] == ["msg_1"]

    asyncio.run(work())


def test_a_database_that_is_away_ends_nothing() -> None:
    class Away(MemoryWebhooks):
        calls = 0

        async def claim(self, *arguments: object) -> list[Webhook]:
            self.calls += 1
            if self.calls < 2:
                raise UpstreamUnavailable("away")
            return await super().claim(*arguments)  # type: ignore[arg-type]

    async def work() -> None:
        queue, receiver = Away(), Receiver()
        queue.add(webhook(1))
        deliverer = Deliverer(queue, receiver, SETTINGS)
        running = asyncio.create_task(deliverer.run())
        await until(lambda: not queue.waiting)
        deliverer.stop()
        await running

    asyncio.run(work())
