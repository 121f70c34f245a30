"""`penstock dead-letters`: what may be asked for, and how it is said, without a broker."""

import time

import click
import pytest
from click.testing import CliRunner

from penstock_cli.__main__ import penstock
from penstock_cli.dead_letters.choosing import Moment, open_box
from penstock_cli.dead_letters.list import _row
from penstock_cli.dead_letters.seeing_to import seeing_to, seen_to, without_letter
from penstock_cli.dead_letters.show import _shown
from penstock_cli.errors import Failure
from penstock_transformer.broker.port import Fenced, Retriable
from penstock_transformer.broker.records import Partition, Record
from penstock_transformer.worker.dead_letter_box import Filed, Mark, Report
from penstock_transformer.worker.dead_letters import read_letter


@pytest.mark.parametrize(("text", "ago_s"), [("90m", 5400), ("2d", 172800), ("1h30m", 5400)])
def test_how_long_ago(text, ago_s):
    assert Moment().convert(text, None, None) == pytest.approx(time.time() - ago_s, abs=5)


def test_a_time_is_in_utc_unless_it_says_so():
    assert Moment().convert("1970-01-02T00:00", None, None) == 86400
    assert Moment().convert("1970-01-02T00:00+01:00", None, None) == 82800
    with pytest.raises(click.UsageError, match="a time such as"):
        Moment().convert("yesterday", None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "flights"], "say where Kafka is"),
        (["replay", "flights", "--kafka_bootstrap", "x:1"], "expected --all, or which are meant"),
        (["drop", "flights", "--kafka_bootstrap", "x:1", "--all", "--id", "1"], "expected --all, or which are meant"),
        (["list", "flights", "--kafka_bootstrap", "x:1", "--kafka_security", "TLS"], "expected one of PLAINTEXT"),
        (["list", "flights", "--kafka_bootstrap", "x:1", "--kafka_security", "SASL_SSL"], "expected --kafka_username"),
        (["list", "flights", "--kafka_bootstrap", "x:1", "--kafka_password", "secret"], "PENSTOCK_TRANSFORMER_KAFKA_PASSWORD"),
        (["lst", "flights"], "list"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_reached(arguments, said, monkeypatch):
    monkeypatch.delenv("PENSTOCK_TRANSFORMER_KAFKA_BOOTSTRAP", raising=False)
    result = CliRunner().invoke(penstock, ["dead-letters", *arguments])
    assert result.exit_code == 2, result.output
    assert said in result.output


def test_what_is_shown_steers_no_terminal():
    record = Record(Partition("t", 0), 0, 0, None, b"", (("penstock-reason", b"\x1b[2J"), ("penstock-message", b"a\rb")))
    cells = _row(Filed(read_letter(record), None))
    assert all(cell.isprintable() for cell in cells)
    assert _shown(b"a\x1b[2Jb\n") == "a\\x1b[2Jb\n"
    assert _shown(b"\xff\x00") == r"\xff\x00"


@pytest.mark.parametrize(
    ("error", "said"), [(Fenced("newer"), "another program began"), (Retriable("no answer"), "run this again for the rest")]
)
def test_what_could_not_be_ended_says_that_it_can_be_gone_on_with(error, said):
    def call():
        raise error

    with pytest.raises(Failure, match=said):
        seen_to(call, "replayed")


def test_what_could_not_be_replayed_is_said_and_ends_with_1(monkeypatch):
    record = Record(Partition("t", 0), 7, 0, None, b"", (("ce_id", b"a"), ("penstock-reason", b"internal")))
    letter = read_letter(record)
    monkeypatch.setattr("penstock_cli.dead_letters.seeing_to.open_box", lambda *_: None)
    command = seeing_to("replay", "replayed", lambda *_: Report([letter], [(letter, "too large")]), "Replay.")
    result = CliRunner().invoke(command, ["flights", "--all"], standalone_mode=False)
    assert result.return_value == 1
    assert result.stdout == f"replayed  t/0/7  {letter.id}\n"
    assert "not replayed  t/0/7" in result.stderr
    assert "1 replayed, 1 not" in result.stderr


def test_updates_of_a_feature_set_go_back_to_their_topic():
    assert open_box("planes.updates", {"kafka_bootstrap": "x:1"}).requests == "planes.updates"
    assert open_box("planes", {"kafka_bootstrap": "x:1"}).requests == "planes.requests"


def test_an_id_that_no_letter_has_is_said_and_one_that_was_done_before_is_not():
    letters = {
        name: read_letter(
            Record(Partition("t", 0), at, 0, None, b"", (("penstock-reason", b"internal"), ("ce_id", name.encode())))
        )
        for at, name in enumerate(["now", "before", "otherwise", "another"])
    }
    marks = {"before": Mark("replayed", 0, 0), "otherwise": Mark("dropped", 0, 0)}

    asked = []

    class Box:
        def find(self, wanted, limit):
            asked.append(wanted.ids)
            filed = [Filed(letter, marks.get(name)) for name, letter in letters.items()]
            return [each for each in filed if wanted.takes(each)][-limit:]

    report = Report([letters["now"]], [])
    assert without_letter(Box(), ("now", "t/0/0"), report, "replayed") == []
    assert asked == []
    assert without_letter(Box(), ("now", "t/0/0", "before", "otherwise", "another", "typo"), report, "replayed") == [
        "otherwise: it was dropped before",
        "another: it is none of those that --reason and --since name",
        "typo: there is no such dead letter",
    ]
    # The topic is read once, however many are asked for.
    assert asked == [{"before", "otherwise", "another", "typo"}]


def test_what_was_done_is_said_though_the_ids_cannot_be_looked_up(monkeypatch):
    letter = read_letter(Record(Partition("t", 0), 7, 0, None, b"", (("ce_id", b"a"), ("penstock-reason", b"internal"))))

    class Box:
        def find(self, wanted, limit):
            raise Retriable("the brokers are away")

    monkeypatch.setattr("penstock_cli.dead_letters.seeing_to.open_box", lambda *_: Box())
    command = seeing_to("drop", "dropped", lambda *_: Report([letter], []), "Drop.")
    result = CliRunner().invoke(command, ["flights", "--id", "a", "--id", "b"])
    assert result.exit_code == 1
    assert "dropped  t/0/7  a" in result.output
    assert "the brokers are away" in result.output
