"""The worker's program: its options, its place among the programs of the image, its metrics before there is a worker."""

import sys
from typing import Any

import pytest

from penstock.metrics import Metrics
from penstock.settings import parse
from penstock_transformer import __main__ as transformer
from penstock_transformer.settings import PREFIX
from penstock_transformer.worker.metrics import WorkerMetrics
from penstock_transformer.worker.settings import WorkerSettings

GIVEN = ["--model_name", "m", "--predictor_host", "p:80", "--kafka_bootstrap", "k:9092"]


def test_settings_say_the_group_and_the_policy() -> None:
    settings = parse(WorkerSettings, [*GIVEN, "--held_mb", "1", "--transaction_interval_ms", "50"], {}, PREFIX)
    assert settings.group == "penstock-m"
    assert (settings.policy.held_bytes, settings.policy.interval_s) == (2**20, 0.05)
    assert parse(WorkerSettings, [*GIVEN, "--delivery", "at-least-once"], {}, PREFIX).policy.interval_s == 0
    assert parse(WorkerSettings, [*GIVEN, "--group_id", "g"], {}, PREFIX).group == "g"


@pytest.mark.parametrize("left_out, named", [(2, "predictor_host"), (4, "kafka_bootstrap")])
def test_what_it_cannot_do_without_is_named(left_out: int, named: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(WorkerSettings, GIVEN[:left_out] + GIVEN[left_out + 2 :], {}, PREFIX)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


def test_the_first_argument_chooses_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        transformer.main(["worker", "--help"])
    assert ended.value.code == 0
    assert "penstock-transformer worker" in capsys.readouterr().out


def test_no_kafka_client_is_imported_before_it_is_used() -> None:
    import subprocess

    code = "import sys, penstock_transformer.worker.program; print([m for m in sys.modules if m in ('kafka', 'confluent_kafka')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_metrics_before_there_is_a_worker() -> None:
    metrics = Metrics()
    metrics.add_source(WorkerMetrics().families)
    assert list(metrics.families()) == []


def test_settings_of_the_connection_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(WorkerSettings, [*GIVEN, "--kafka_security", "SASL_SSL"], {}, PREFIX)
    assert ended.value.code == 2
    assert "kafka_username" in capsys.readouterr().err
