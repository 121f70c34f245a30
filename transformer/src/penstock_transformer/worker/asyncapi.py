"""`/asyncapi.json`: AsyncAPI 3.0 of a model's topics, by the bundle that answers now.

    bundle.yaml, features.yaml, golden.jsonl --ModelDocs--> rows, predictions and examples of `/openapi.json` --> three channels,
    and those of the prediction log and of outcomes where it is on Kafka

Actions are the worker's: it receives requests, and sends predictions and dead letters. What `/openapi.json` says of a predict
body is said here in the same words, because it is made of the same parts.

Source: AsyncAPI 3.0.0; Kafka bindings 0.5.0; CloudEvents, Kafka protocol binding 1.0.2.
"""

import copy
from typing import Any

from fastapi import APIRouter

from penstock import __version__
from penstock.dataplane import DataPlane
from penstock.serving.docs_model import ModelDocs, model_docs
from penstock.serving.docs_schemas import COMPONENTS
from penstock_transformer.broker.topics import dead_letters_topic, predictions_topic, requests_topic
from penstock_transformer.http.documentation import POST_PREDICT
from penstock_transformer.worker import headers as names
from penstock_transformer.worker.header_schemas import header_schemas

Schema = dict[str, Any]

JSON, BINARY, STRUCTURED = "application/json", "application/octet-stream", "application/cloudevents+json"
_TEXT: Schema = {"type": "string"}
_BODY: Schema = POST_PREDICT["requestBody"]["content"][JSON]["schema"]
_ANSWER: Schema = POST_PREDICT["responses"]["200"]["content"][JSON]["schema"]
# Title, summary, content type, and the schemas of value and headers.
_MESSAGES: dict[str, tuple[str, str, str | None, str, str]] = {
    "rows": ("Rows", "A predict body", JSON, "rows", "requestHeaders"),
    "tensors": ("Tensors", "An OIP v2 request: JSON with a top-level `inputs`", JSON, "tensors", "requestHeaders"),
    "tensorsBinary": ("Tensors, binary", "An OIP v2 request with binary tensors", BINARY, "binary", "binaryRequestHeaders"),
    "event": ("Event", "A CloudEvent in structured mode around one of these", STRUCTURED, "event", "requestHeaders"),
    "predictions": ("Predictions", "The answer to rows", JSON, "predictions", "answerHeaders"),
    "outputTensors": ("Output tensors", "The answer to tensors", JSON, "outputTensors", "answerHeaders"),
    "outputTensorsBinary": (
        *("Output tensors, binary", "The answer to tensors that asks for it to be binary"),
        *(BINARY, "binary", "binaryAnswerHeaders"),
    ),
    "deadLetter": ("Dead letter", "The request as it was, and why it failed", None, "original", "deadLetterHeaders"),
}
_DESCRIPTION = """Predictions over Kafka. Each record of `{requests}` is answered by one record of `{predictions}` or one of
`{letters}`; the answer and the request's offset commit in one transaction, so a reader with `isolation.level=read_committed` sees
it exactly once. An answer has its request's key and partition number, and its id in `ce_id`."""


async def document(plane: DataPlane, model: str, *, bootstrap: str = "", logs: bool = False) -> dict[str, Any]:
    """The document; `logs`: predictions are logged there. Raises NotFound, NotReady."""
    docs = await model_docs(plane, model)
    channels = {
        "requests": _channel(requests_topic(model), "What the model is asked", ["rows", "tensors", "tensorsBinary", "event"]),
        "predictions": _channel(
            predictions_topic(model), "What it answers", ["predictions", "outputTensors", "outputTensorsBinary"]
        ),
        "deadLetters": _channel(dead_letters_topic(model), "Requests that could not be predicted, and why", ["deadLetter"]),
    }
    made: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": f"Penstock: {model}",
            "version": __version__,
            "description": _DESCRIPTION.format(
                requests=requests_topic(model), predictions=predictions_topic(model), letters=dead_letters_topic(model)
            ),
            "x-bundle": docs.metadata.bundle,
        },
        "defaultContentType": JSON,
        "channels": channels,
        "operations": _operations(channels),
        "components": {"messages": _messages(docs), "schemas": _schemas(docs)},
    }
    if logs:
        _add_log(made, model)
    if bootstrap:
        made["servers"] = {
            f"kafka{at}": {"host": host, "protocol": "kafka"} for at, host in enumerate(bootstrap.split(","), start=1)
        }
    return made


def _add_log(made: dict[str, Any], model: str) -> None:
    from penstock_transformer.feedback import asyncapi as feedback

    more = {name: _channel(*parts) for name, parts in feedback.channels(model).items()}
    made["channels"] |= more
    made["operations"] |= _actions(more, feedback.ACTIONS)
    for name, (title, summary) in feedback.MESSAGES.items():
        example: tuple[Schema, Any] | None = ({}, feedback.EXAMPLES[name]) if name in feedback.EXAMPLES else None
        made["components"]["messages"][name] = _message(title, summary, JSON, name, f"{name}Headers", example)
    made["components"]["schemas"] |= feedback.schemas()


def asyncapi_router(plane: DataPlane, model: str, *, bootstrap: str = "", logs: bool = False) -> APIRouter:
    """`GET /asyncapi.json`."""
    router = APIRouter()

    @router.get("/asyncapi.json", summary="The model's Kafka topics, as an AsyncAPI document")
    async def asyncapi() -> dict[str, Any]:
        return await document(plane, model, bootstrap=bootstrap, logs=logs)

    return router


def _channel(address: str, summary: str, messages: list[str]) -> Schema:
    return {
        "address": address,
        "summary": summary,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"kafka": {"topic": address, "bindingVersion": "0.5.0"}},
    }


def _operations(channels: dict[str, Schema]) -> Schema:
    operations = _actions(
        channels, {"requests": ("receive", "predict"), "predictions": ("send", "answer"), "deadLetters": ("send", "refuse")}
    )
    operations["predict"]["reply"] = {"channel": {"$ref": "#/channels/predictions"}}
    return operations


def _actions(channels: dict[str, Schema], actions: dict[str, tuple[str, str]]) -> Schema:
    operations: Schema = {}
    for channel, (action, operation) in actions.items():
        operations[operation] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in channels[channel]["messages"]],
        }
    return operations


def _messages(docs: ModelDocs) -> Schema:
    asked = {names.ID: "6f1c", names.TIMEOUT_MS: "30000"}
    position = f"{requests_topic(docs.metadata.name)}/0/41"
    answered = {names.ID: "6f1c", names.BUNDLE: docs.metadata.bundle, names.POSITION: position}
    examples: dict[str, tuple[Schema, Any]] = {
        "rows": (asked, {"rows": docs.rows(), "options": {"data": False}}),
        "tensors": ({}, docs.infer_example()),
        "predictions": (answered, _answer(docs)),
    }
    return {name: _message(*parts, examples.get(name)) for name, parts in _MESSAGES.items()}


def _message(
    title: str, summary: str, kind: str | None, payload: str, headers: str, example: tuple[Schema, Any] | None
) -> Schema:
    made: Schema = {
        "title": title,
        "summary": summary,
        "payload": {"$ref": f"#/components/schemas/{payload}"},
        "headers": {"$ref": f"#/components/schemas/{headers}"},
        "correlationId": {"location": f"$message.header#/{names.ID}"},
        "bindings": {"kafka": {"key": {"description": "the caller's own; its answers keep it"}, "bindingVersion": "0.5.0"}},
    }
    if kind is not None:
        made["contentType"] = kind
    if example is not None:
        given, body = example
        made["examples"] = [({"headers": given} if given else {}) | {"payload": body}]
    return made


def _answer(docs: ModelDocs) -> Schema:
    shown = [golden.prediction for golden in docs.golden if golden.prediction is not None]
    return {"model": docs.metadata.name, "bundle": docs.metadata.bundle, "predictions": shown}


def _schemas(docs: ModelDocs) -> Schema:
    rows, answer = copy.deepcopy(_BODY), copy.deepcopy(_ANSWER)
    rows["properties"]["rows"]["items"] = docs.row_schema()
    answer["properties"]["predictions"]["items"] = docs.prediction_schema()
    binary = {"type": "string", "format": "binary"}
    return {
        "rows": rows,
        "predictions": answer,
        "tensors": _tensors(docs),
        "outputTensors": COMPONENTS["InferResponse"],
        "binary": binary,
        "original": {"description": "the request's bytes, unchanged"},
        "event": _event(),
        **header_schemas(),
    }


def _tensors(docs: ModelDocs) -> Schema:
    tensor = copy.deepcopy(COMPONENTS["InferResponse"]["properties"]["outputs"]["items"])
    tensor["properties"]["name"] = {"type": "string", "enum": [one.name for one in docs.metadata.inputs]}
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": _TEXT, "parameters": {"type": "object"}, "inputs": {"type": "array", "items": tensor}},
    }


def _event() -> Schema:
    return {
        "type": "object",
        "required": ["specversion", "id"],
        "properties": {
            "specversion": {"type": "string", "pattern": "^1\\."},
            "id": _TEXT,
            "datacontenttype": {"type": "string", "enum": [JSON, BINARY]},
            "data": {"anyOf": [{"$ref": "#/components/schemas/rows"}, {"$ref": "#/components/schemas/tensors"}]},
            "data_base64": {"type": "string", "contentEncoding": "base64"},
            "traceparent": _TEXT,
            "inferenceheadercontentlength": {"type": ["integer", "string"]},
        },
    }
