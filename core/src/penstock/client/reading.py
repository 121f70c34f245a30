"""Answers of JSON into results. What is not as the API says raises UpstreamUnavailable: something else answered.

Members that this release does not know are passed over: the server may be one release ahead.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from penstock.client.call import Answer
from penstock.client.refusals import error_of
from penstock.client.results import ImportReport, Prediction, Predictions, Record, RecordPage
from penstock.errors import UpstreamUnavailable

_KNOWN = frozenset(field.name for field in dataclasses.fields(Prediction)) - {"bundle"}


def document_of(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer. Raises UpstreamUnavailable."""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError as error:
        raise UpstreamUnavailable(f"the answer is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise UpstreamUnavailable("the answer is no JSON object")
    return document


def prediction_of(document: Any, bundle: str) -> Prediction:
    """One prediction of an answer."""
    if not isinstance(document, dict):
        raise UpstreamUnavailable("the answer's predictions are no objects")
    return Prediction(bundle, **{name: document[name] for name in _KNOWN & document.keys()})


def predictions_of(answer: Answer) -> Predictions:
    """The answer of a predict call."""
    document = document_of(answer)
    model, bundle, found = document.get("model"), document.get("bundle"), document.get("predictions")
    if not (isinstance(model, str) and isinstance(bundle, str) and isinstance(found, list)):
        raise UpstreamUnavailable("the answer holds no model, bundle and predictions")
    made = tuple(prediction_of(item, bundle) for item in found)
    return Predictions(model, bundle, made, answer.request_id, document.get("record"))


def record_of(document: Mapping[str, Any]) -> Record:
    """One record of an answer."""
    try:
        return Record(document["id"], datetime.fromisoformat(document["event_time"]), document["values"])
    except (KeyError, TypeError, ValueError) as error:
        raise UpstreamUnavailable(f"the answer holds no record: {error!r}") from None


def page_of(answer: Answer) -> RecordPage:
    """A page of records."""
    document = document_of(answer)
    found = document.get("records")
    if not isinstance(found, list):
        raise UpstreamUnavailable("the answer holds no records")
    return RecordPage(tuple(record_of(item) for item in found), document.get("cursor"))


def report_of(answer: Answer) -> ImportReport:
    """What an import says, if it began; raises what the answer means if it did not."""
    document = document_of(answer)
    if answer.status >= 400 and "rejected" not in document:
        raise error_of(answer)
    try:
        return ImportReport(document["written"], document["unchanged"], document["refused"], document["rejected"])
    except KeyError as error:
        raise UpstreamUnavailable(f"the answer is no report of an import: {error!r}") from None
