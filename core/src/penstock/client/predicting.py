"""The calls of predict and of records: rows of features, a stored record, and the records themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from penstock.client.call import Call, Repeat, path_of
from penstock.client.reading import document_of, page_of, predictions_of, record_of, report_of
from penstock.client.results import ImportReport, Predictions, Record, RecordPage
from penstock.errors import InvalidInput

Row = Mapping[str, Any]
_JSON = {"content-type": "application/json"}
# Many rows would else be answered by an id, for who asks later.
_NOW = {"prefer": "wait"}


def dumped(document: Any) -> bytes:
    """JSON of plain values, numpy's and datetimes; NaN is null. Raises InvalidInput for anything else."""
    try:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(str(error), field="body") from None


def predict(model: str, rows: Sequence[Row], data: bool) -> Call[Predictions]:
    """Predict for rows of features and keys, by name."""
    body = dumped({"rows": list(rows), "options": {"data": data}})
    return Call("POST", path_of("/models/{}/predict", model), predictions_of, body, _JSON | _NOW)


def predict_body(model: str, body: bytes, content_type: str) -> Call[Predictions]:
    """Predict for a body in any form that predict takes: CSV, an image."""
    headers = {"content-type": content_type} | _NOW
    return Call("POST", path_of("/models/{}/predict", model), predictions_of, body, headers)


def predict_record(record_id: str, model: str | None, data: bool) -> Call[Predictions]:
    """Predict for a stored record."""
    return Call("GET", path_of("/predict/{}", record_id, model=model, data=None if data else "false"), predictions_of)


def get_record(record_id: str, model: str | None) -> Call[Record]:
    return Call("GET", path_of("/records/{}", record_id, model=model), lambda answer: record_of(document_of(answer)))


def create_record(values: Row, record_id: str | None, event_time: datetime | None, model: str | None) -> Call[Record]:
    """A new record; one without an id may be made twice, and a second try of one with an id would find its own first."""
    body = dumped(_members(values, event_time) | ({} if record_id is None else {"id": record_id}))
    path = path_of("/records", model=model)
    return Call("POST", path, lambda answer: record_of(document_of(answer)), body, _JSON, Repeat.IF_REFUSED)


def put_record(record_id: str, values: Row, event_time: datetime | None, model: str | None) -> Call[Record]:
    path = path_of("/records/{}", record_id, model=model)
    return Call("PUT", path, lambda answer: record_of(document_of(answer)), dumped(_members(values, event_time)), _JSON)


def delete_record(record_id: str, model: str | None) -> Call[None]:
    """A second try of one that succeeded would say that there is no such record."""
    return Call("DELETE", path_of("/records/{}", record_id, model=model), lambda _: None, repeat=Repeat.IF_REFUSED)


def list_records(cursor: str | None, limit: int, model: str | None) -> Call[RecordPage]:
    return Call("GET", path_of("/records", model=model, cursor=cursor, limit=limit), page_of)


def import_records(csv: bytes, model: str | None) -> Call[ImportReport]:
    """Rows that are there already are left as they are: an import may be repeated. Refused rows are told in the report."""
    path = path_of("/records:import", model=model)
    return Call("POST", path, report_of, csv, {"content-type": "text/csv"}, also=frozenset((400,)))


def _members(values: Row, event_time: datetime | None) -> dict[str, Any]:
    if event_time is None:
        return {"values": dict(values)}
    if event_time.tzinfo is None:
        raise InvalidInput("expected a datetime with its time zone", field="event_time")
    return {"values": dict(values), "event_time": event_time}
