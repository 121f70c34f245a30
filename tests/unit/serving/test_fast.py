"""The fast protocol as a state machine: what it holds back, what it lets go, and that nothing leaks."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Overloaded
from penstock.serving.fast import SLICE_BYTES
from penstock.testing.raw_http import raw_request

HOLD = raw_request("POST", "/hold/a", b"{}")
NOW = raw_request("POST", "/now/a", b"now")
SLOW = raw_request("GET", "/healthz")


async def settle(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class TestOrder:
    def test_answers_wait_for_those_before_them(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + NOW + SLOW + NOW)
            await settle()
            assert transport.written == b""
            assert not transport.reading
            bench.held[0].answer(201, b"first")
            await settle(50)
            assert transport.statuses == [201, 200, 200, 200]
            assert transport.reading

        run(body)

    def test_immediate_answers_of_a_long_pipeline_do_not_recurse(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + raw_request("GET", "/now/b") * 400)
            bench.held[0].answer(200, b"")
            await settle()
            assert transport.statuses == [200] * 401

        run(body)

    def test_only_a_slice_is_parsed_while_a_request_waits(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + NOW * 10_000)
            assert not transport.reading
            assert len(protocol.waiting) < 2 * SLICE_BYTES / len(NOW)
            assert len(protocol.rest) > 8_000 * len(NOW)
            bench.held[0].answer(200, b"")
            for _ in range(2_000):
                await asyncio.sleep(0)
            assert len(transport.statuses) == 10_001
            assert transport.reading

        run(body)

    def test_a_client_that_does_not_read_gets_nothing_more(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(NOW)
            protocol.pause_writing()
            protocol.data_received(NOW + NOW)
            await settle()
            assert transport.statuses == [200]
            assert not transport.reading
            protocol.resume_writing()
            await settle()
            assert transport.statuses == [200, 200, 200]
            assert transport.reading

        run(body)

    @settings(max_examples=60, deadline=None)
    @given(kinds=st.lists(st.sampled_from("hnsw"), min_size=1, max_size=12), cuts=st.lists(st.integers(1, 400), max_size=30))
    def test_any_pipeline_in_any_pieces_is_answered_in_order(self, run, kinds, cuts):
        requests = {"h": HOLD, "n": NOW, "s": SLOW, "w": raw_request("POST", "/now/wrong", b"")}
        expected = {"h": 201, "n": 200, "s": 200, "w": 400}

        async def body(bench):
            protocol, transport = bench.connect()
            data = b"".join(requests[kind] for kind in kinds)
            for cut in cuts:
                protocol.data_received(data[:cut])
                data = data[cut:]
                await settle(2)
            if data:
                protocol.data_received(data)
            answered = 0
            for _ in range(len(kinds) * 60):
                await asyncio.sleep(0)
                while answered < len(bench.held):
                    bench.held[answered].answer(201, b"held")
                    answered += 1
            assert transport.statuses == [expected[kind] for kind in kinds]
            assert bench.shell.metrics.in_flight("").count == 0

        run(body)


class TestEnds:
    def test_a_lost_connection_lets_go_of_its_last_request(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(NOW)
            assert protocol.cycle.response_complete
            transport.close()
            protocol.connection_lost(None)
            assert protocol.cycle is None

        run(body)

    def test_a_lost_connection_is_seen_by_all_its_requests(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + HOLD + NOW)
            assert len(bench.held) == 1
            transport.close()
            protocol.connection_lost(None)
            assert bench.held[0].disconnected
            bench.held[0].answer(200, b"to nobody")
            await settle()
            assert transport.written == b""
            assert len(bench.held) == 1
            assert bench.shell.metrics.in_flight("").count == 0

        run(body)

    def test_a_second_answer_is_ignored(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + NOW)
            bench.held[0].fail(Overloaded("full", retry_after_s=0.25))
            bench.held[0].answer(200, b"again")
            await settle()
            assert transport.statuses == [429, 200]
            assert b"retry-after: 1\r\nretry-after-ms: 250\r\n" in transport.written

        run(body)

    def test_a_handler_that_raises_costs_one_answer_and_shows_no_detail(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(raw_request("POST", "/now/fault", b"") + NOW)
            await settle()
            assert transport.statuses == [500, 200]
            assert b"secret" not in transport.written

        run(body)

    def test_draining_closes_after_the_last_answer(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + NOW)
            bench.service.lifecycle.drain()
            bench.held[0].answer(200, b"")
            assert transport.statuses == [200, 200]
            assert transport.written.count(b"connection: close") == 1
            assert transport.closing

        run(body)

    def test_shutdown_lets_what_is_in_progress_finish(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD)
            protocol.shutdown()
            assert not transport.closing
            bench.held[0].answer(200, b"")
            assert transport.closing

        run(body)


class TestBudget:
    LARGE = raw_request("POST", "/hold/a", b"x" * 100_000)

    def test_large_bodies_share_a_budget_and_give_it_back(self, run):
        async def body(bench):
            protocols = [bench.connect() for _ in range(3)]
            for protocol, _ in protocols:
                protocol.data_received(self.LARGE)
            assert bench.shell.budget_bytes == 50_000
            assert [transport.statuses for _, transport in protocols] == [[], [], [429]]
            bench.held[0].answer(200, b"")
            protocols[1][1].close()
            protocols[1][0].connection_lost(None)
            assert bench.shell.budget_bytes == 250_000
            bench.held[1].answer(200, b"")
            assert bench.shell.budget_bytes == 250_000

        run(body, bodies_bytes=250_000)

    def test_half_a_body_gives_it_back_too(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(self.LARGE[:50_000])
            assert bench.shell.budget_bytes == 150_000
            transport.close()
            protocol.connection_lost(None)
            assert bench.shell.budget_bytes == 250_000

        run(body, bodies_bytes=250_000)


class TestSweep:
    def sweep(self, protocol, times):
        for _ in range(times):
            protocol.sweep()

    def test_an_idle_connection_is_closed(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(NOW)
            self.sweep(protocol, 3)
            assert not transport.closing
            self.sweep(protocol, 1)
            assert transport.closing
            assert transport.statuses == [200]

        run(body, keep_alive_s=3)

    def test_a_request_in_progress_has_all_the_time_it_needs(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD)
            self.sweep(protocol, 1000)
            assert not transport.closing
            bench.held[0].answer(200, b"")
            self.sweep(protocol, 3)
            assert not transport.closing

        run(body, keep_alive_s=3)

    def test_a_dripping_head_and_a_dripping_body_come_to_an_end(self, run):
        async def body(bench):
            for request in (b"POST /now/a HTTP/1.1\r\nContent-Le", NOW[:-2]):
                protocol, transport = bench.connect()
                protocol.data_received(request)
                for _ in range(6):
                    protocol.ticks = 0
                    protocol.sweep()
                assert transport.statuses == [408]
                assert transport.closing

        run(body, head_timeout_s=5, body_timeout_s=5)

    def test_a_body_that_stands_still_gets_408(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(NOW[:-1])
            self.sweep(protocol, 3)
            assert transport.statuses == [408]

        run(body, stall_timeout_s=2)

    def test_a_reader_that_stands_still_is_cut(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(NOW)
            protocol.pause_writing()
            self.sweep(protocol, 3)
            assert transport.aborted

        run(body, stall_timeout_s=2)

    def test_time_while_nothing_is_read_does_not_count(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(HOLD + NOW + NOW[:-2])
            self.sweep(protocol, 50)
            assert not transport.closing
            bench.held[0].answer(200, b"")
            protocol.data_received(NOW[-2:])
            await settle()
            assert transport.statuses == [200, 200, 200]

        run(body, stall_timeout_s=2, head_timeout_s=2, body_timeout_s=100)

    def test_a_refused_sender_is_listened_to_for_a_moment_and_then_closed(self, run):
        async def body(bench):
            protocol, transport = bench.connect()
            protocol.data_received(b"POST /now/a HTTP/1.1\r\nContent-Length: 999999\r\n\r\nxxx")
            assert transport.statuses == [413]
            assert not transport.closing
            protocol.data_received(b"x" * 1000)
            self.sweep(protocol, 6)
            assert transport.closing

        run(body, body_bytes=1000)
