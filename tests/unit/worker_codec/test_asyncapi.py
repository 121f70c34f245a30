"""The AsyncAPI document: every reference leads somewhere, and what it says of a model is what the model takes and gives."""

import json

import jsonschema
import pytest

from penstock.serving.docs_model import model_docs
from penstock.testing.bundles import bundle_files
from penstock_transformer.feedback import kafka
from penstock_transformer.feedback.document import Fetched, LoggedRequest, LoggedRow, write_request
from penstock_transformer.feedback.log import Entry
from penstock_transformer.feedback.outcome import Outcome
from penstock_transformer.worker import headers
from penstock_transformer.worker.asyncapi import document
from penstock_transformer.worker.outcomes import Answered

ROW = b'{"rows":[{"distance":1,"tailnum":"N1"}]}'


@pytest.fixture(params=["features", "plain"])
def made(desk, run, request):
    """The document of a bundle with stored features, and of a plain model."""

    async def go():
        async with desk(own=None if request.param == "features" else bundle_files(None)) as d:
            return await document(d.transformer, "flights", bootstrap="one:9092,two:9092")

    return run(go())


def references(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def at(document, reference):
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def check(document, schema, value):
    jsonschema.Draft7Validator({"components": document["components"], "$ref": f"#/components/schemas/{schema}"}).validate(value)


def test_its_parts_are_those_of_the_specification(made):
    assert made["asyncapi"] == "3.0.0"
    assert set(made) <= {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations", "components"}
    assert {"title", "version"} <= set(made["info"])
    assert {channel["address"] for channel in made["channels"].values()} == {
        "flights.requests",
        "flights.predictions",
        "flights.dead-letters",
    }
    assert {o["action"] for o in made["operations"].values()} == {"send", "receive"}
    assert [server["host"] for server in made["servers"].values()] == ["one:9092", "two:9092"]
    json.dumps(made, allow_nan=False)


def test_every_reference_leads_somewhere_and_nothing_is_left_over(made):
    found = set(references(made))
    for reference in found:
        assert isinstance(at(made, reference), dict)
    for kind in ("messages", "schemas"):
        assert {f"#/components/{kind}/{name}" for name in made["components"][kind]} <= found
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)


def test_operations_have_the_messages_of_their_channels(made):
    for operation in made["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_examples_are_what_the_schemas_say(made):
    shown = 0
    for message in made["components"]["messages"].values():
        for example in message.get("examples", []):
            check(made, message["payload"]["$ref"].rpartition("/")[2], example["payload"])
            shown += 1
    assert shown == 3


def test_a_plain_models_rows_are_its_tensors(desk, run, record):
    async def go():
        async with desk(own=bundle_files(None)) as d:
            made = await document(d.transformer, "flights")
            value = made["components"]["messages"]["rows"]["examples"][0]["payload"]
            answered = await d.outcome(record(json.dumps(value).encode()))
            return made, value, answered

    made, value, answered = run(go())
    assert "servers" not in made
    check(made, "rows", value)
    check(made, "predictions", json.loads(answered.record.value))


@pytest.mark.parametrize("made", ["features"], indirect=True)
def test_what_is_read_and_written_is_what_the_schemas_say(desk, run, record, made):
    async def go():
        async with desk() as d:
            answered = await d.outcome(record(ROW, ("ce_id", b"a")))
            refused = await d.outcome(record(b'{"rows":[{"tailnum":"N1"}]}'))
            docs = await model_docs(d.transformer, "flights")
            asked = docs.infer_example()
            tensors = await d.outcome(record(json.dumps(asked).encode()))
            return answered, refused, asked, tensors

    answered, refused, asked, tensors = run(go())
    check(made, "rows", json.loads(ROW))
    check(made, "predictions", json.loads(answered.record.value))
    check(made, "answerHeaders", {name: value.decode() for name, value in answered.record.headers})
    check(made, "deadLetterHeaders", {name: value.decode() for name, value in refused.record.headers})
    check(made, "tensors", asked)
    if isinstance(tensors, Answered):
        check(made, "outputTensors", json.loads(tensors.record.value))
    check(made, "event", {"specversion": "1.0", "id": "1", "data": json.loads(ROW)})
    for wrong in ({"rows": [{"nothing": 1}]}, {"rows": "x"}, {}):
        with pytest.raises(jsonschema.ValidationError):
            check(made, "rows", wrong)


def test_a_model_that_logs_to_kafka_has_two_more_topics_with_what_is_written_there(desk, run):
    async def go():
        async with desk() as d:
            return await document(d.transformer, "flights", logs=True)

    made = run(go())
    for reference in references(made):
        assert isinstance(at(made, reference), dict)
    assert {made["channels"][name]["address"] for name in ("log", "outcomes")} == {"flights.log", "flights.outcomes"}
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft7Validator.check_schema(schema)
    answer = {"label": "late", "scores": {"late": 0.5, "on time": 0.5}}
    fetched = {"planes": Fetched("planes", ["N1"], 5.0, {"seats": 100})}
    logged = LoggedRequest("r1", 5.0, "flights", "sha256:1", "flights", "1", 0.5, [LoggedRow({"distance": 1}, fetched, answer)])
    check(made, "logged", json.loads(write_request(logged)))
    entry = Entry("flights", "r1", "flights@sha256:1", b"{}")
    check(made, "loggedHeaders", {name: value.decode() for name, value in kafka._logged(entry).headers})
    told = kafka._reported("flights", Outcome("r1", 0, 5.0, "late"))
    check(made, "outcome", json.loads(told.value))
    check(made, "outcomeHeaders", {name: value.decode() for name, value in told.headers})
    check(made, "outcome", made["components"]["messages"]["outcome"]["examples"][0]["payload"])
    for wrong in ({"id": "r1"}, {"id": "r1", "label": "late", "value": 1}, {"id": "r1", "labels": "late"}):
        with pytest.raises(jsonschema.ValidationError):
            check(made, "outcome", wrong)


def test_headers_are_described_by_the_names_that_are_written(made):
    """Every name that `worker.headers` has, but those that nobody looks at in a request."""
    schemas = made["components"]["schemas"]
    described = {name for schema in schemas.values() for name in schema.get("properties", {})}
    known = {value for name, value in vars(headers).items() if name.isupper() and isinstance(value, str)}
    assert known - described == {headers.REQUESTED, headers.MADE, headers.CONTENT_ENCODING}
    assert set(schemas["deadLetterHeaders"]["properties"]) >= set(schemas["requestHeaders"]["properties"])
    assert set(schemas["binaryAnswerHeaders"]["required"]) <= set(schemas["binaryAnswerHeaders"]["properties"])
