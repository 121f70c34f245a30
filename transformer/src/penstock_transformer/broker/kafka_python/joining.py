"""What kafka-python 3.0.12 forgets of a rebalance, kept: joins that outlast a poll, and memberships that end in the midst of one.

A poll that is over leaves its join under way, for the next poll to wait for. Three things go wrong then:

    the leader made the assignment meanwhile     the reason to join is gone: no poll looks at the join again, its partitions are
                                                 never told, and no heartbeat is sent any more. `resume` keeps the reason
    the join ended while nobody polled           the next poll throws it away and joins anew, which disturbs the whole group,
                                                 maybe for ever. It ends in a poll now
    the membership ended while it joined         what it owned is not told as lost, and claimed in the next join, although
                                                 others have it. Now it is told first, and nothing is claimed

and two without a rebalance:

    another took the static member's name        nothing is heard any more but what it still fetches. `resume` says so
    a static member that led the group is back   the broker gives it what it had, and keeps from it that it leads: partitions that
                                                 came meanwhile, or later, would be nobody's for ever. It joins once more

Invariant: after a membership has ended, what it owned is told as lost before anything is told as ours again.
"""

from typing import Any

from kafka.future import Future
from kafka.structs import MemberState

from penstock_transformer.broker.port import Fenced


class Joining:
    """Over the coordinator of a consumer. Beside `resume` everything happens on the client's own thread."""

    def __init__(self, coordinator: Any) -> None:
        self._coordinator = coordinator
        self._join, self._attempt = coordinator.join_group_async, coordinator._do_join_and_sync_async
        self._reset, self._answered = coordinator.reset_generation, coordinator._process_join_group_response
        self._awaited = self._led = False
        self._wanted: Any = None
        coordinator.join_group_async = self._joined
        coordinator._do_join_and_sync_async = self._ended_in_a_poll
        coordinator.reset_generation = self._gone
        coordinator._process_join_group_response = self._told

    def resume(self) -> None:
        """Before each poll. Raises Fenced for a static member whose name another has taken."""
        coordinator = self._coordinator
        if coordinator.rejoining:
            coordinator.rejoin_needed = True
        elif coordinator.state is MemberState.STABLE and not coordinator._heartbeat_enabled:
            raise Fenced(f"another member of the group {coordinator.group_id} has the name {coordinator.group_instance_id}")

    async def _joined(self, timeout_ms: float | None = None) -> bool:
        self._awaited = True
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.success(None)
        try:
            joined: bool = await self._join(timeout_ms=timeout_ms)
            if joined and self._led:
                self._led = False
                self._coordinator.request_rejoin()
            return joined
        finally:
            self._awaited = False

    async def _ended_in_a_poll(self) -> Any:
        assignment = await self._attempt()
        while not self._awaited:
            self._wanted = Future()
            await self._wanted
        return assignment

    def _told(self, response: Any, sent: float) -> Any:
        answer = self._answered(response, sent)
        self._led = led_by_a_former_life(response.leader, response.member_id, self._coordinator.group_instance_id)
        return answer

    def _gone(self, *member_id: Any, **named: Any) -> None:
        self._reset(*member_id, **named)
        # Another join prepares anew: what is still ours is told as lost then.
        self._coordinator.rejoining = False
        for assignor in self._coordinator._assignors.values():
            assignor.member_assignment = None


def led_by_a_former_life(leader: str, member: str, instance: str | None) -> bool:
    """Whether the leader that a join's answer names had this static member's name: brokers make ids `<name>-<UUID>`."""
    return instance is not None and leader != member and len(leader) == len(member) and leader.startswith(f"{instance}-")


def forget_answers(coordinator: Any) -> None:
    """Answers about committed offsets that nobody has waited for: kafka-python gives one that came late to whoever asks for the
    same partitions the next time, however long ago it was true. Reading would begin there again."""
    coordinator._offset_fetch_futures.clear()
