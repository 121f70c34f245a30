"""What all exchanges share: counting, logging without payloads, limits of bodies, header lines."""

import logging

from penstock.errors import DeadlineExceeded, Internal, InvalidInput, Overloaded, TooLarge, UpstreamUnavailable
from penstock.lifecycle import Lifecycle
from penstock.metrics import Metrics
from penstock.serving.routes import HotRoutes
from penstock.serving.shell import Shell, ShellLimits


def make_shell(**limits: int) -> Shell:
    routes = HotRoutes()
    routes.limit_body("/import", 5000)
    return Shell(routes, Lifecycle(), Metrics(), ShellLimits(**limits))


def record(shell: Shell, error=None, headers=None) -> None:
    shell.record(shell.metrics.model("m", "b@1"), 0.0, 10, 20, error, b"r-1", headers or {})


def test_successes_are_counted_and_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    shell = make_shell()
    record(shell)
    assert caplog.records == []
    assert shell.metrics.model("m", "b@1").requests == 1
    shell.log_success = True
    record(shell)
    assert [entry.message for entry in caplog.records] == ["request answered"]


def test_failures_are_logged_with_fields_and_never_a_payload(caplog):
    caplog.set_level(logging.INFO)
    shell = make_shell()
    record(
        shell, InvalidInput("got 'private'", field="inputs[0].data"), {b"traceparent": b"00-%b-%b-01" % (b"a" * 32, b"b" * 16)}
    )
    (entry,) = caplog.records
    fields = vars(entry)
    assert entry.message == "request failed"
    assert (fields["model"], fields["bundle"], fields["request_id"], fields["kind"], fields["status"]) == (
        "m",
        "b@1",
        "r-1",
        "invalid_input",
        400,
    )
    assert fields["trace_id"] == "a" * 32
    assert fields["field"] == "inputs[0].data"
    assert "private" not in str(fields)


def test_what_is_away_is_named_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    record(make_shell(), UpstreamUnavailable("the store does not answer"))
    assert vars(caplog.records[0])["reason"] == "the store does not answer"


def test_faults_are_louder_than_what_callers_do_wrong(caplog):
    caplog.set_level(logging.INFO)
    shell = make_shell()
    for error in (Internal("x"), Overloaded("x"), DeadlineExceeded("x")):
        record(shell, error)
    assert [entry.levelno for entry in caplog.records] == [logging.WARNING, logging.INFO, logging.INFO]


def test_a_flood_of_failures_is_not_a_flood_of_lines(caplog):
    caplog.set_level(logging.INFO)
    shell = make_shell()
    for _ in range(1000):
        record(shell, Overloaded("full"))
    assert len(caplog.records) <= 40
    assert shell.metrics.model("m", "b@1").errors == {"overloaded": 1000}


def test_refuses_by_the_paths_own_limit_then_by_the_budget():
    shell = make_shell(body_bytes=1_000_000, bodies_bytes=200_000)
    assert shell.refusal(b"/x", 100_000, {}) is None
    assert isinstance(shell.refusal(b"/x", 1_000_001, {}), TooLarge)
    assert isinstance(shell.refusal(b"/x", 300_000, {}), Overloaded)
    assert isinstance(shell.refusal(b"/import", 6000, {}), TooLarge)
    assert shell.least_body_bytes == 5000


def test_header_lines_are_made_once_for_each_second():
    shell = make_shell()
    headers = [(b"date", b"now")]
    assert shell.standing_lines(headers) == b"date: now\r\n"
    assert shell.standing_lines(headers) is shell.standing_lines(headers)
    assert shell.standing_lines([(b"date", b"later")]) == b"date: later\r\n"
