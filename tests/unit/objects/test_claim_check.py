"""The claim check: what goes where, and that an object without a row is deleted exactly when that is certain."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from penstock.errors import Conflict, NotFound, Overloaded, PenstockError, TooLarge, UpstreamUnavailable
from penstock_transformer.predictions.claim_check import ClaimCheck
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.resource import NewPrediction, Payload


class MemoryObjects:
    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.away = False

    async def put(self, prediction_id: str, kind: Kind, body: bytes) -> str:
        if self.away:
            raise UpstreamUnavailable("away")
        reference = f"memory://{kind}/{prediction_id}/{len(self.bodies)}"
        self.bodies[reference] = body
        return reference

    async def get(self, reference: str) -> bytes:
        if reference not in self.bodies:
            raise NotFound("gone")
        return self.bodies[reference]

    async def delete(self, references: Sequence[str]) -> None:
        if self.away:
            raise UpstreamUnavailable("away")
        for reference in references:
            self.bodies.pop(reference, None)


class Rows:
    """`submit` as the test says; what it was given."""

    def __init__(self, error: PenstockError | None = None, *, is_new: bool = True) -> None:
        self.error, self.is_new = error, is_new
        self.given: list[NewPrediction] = []

    async def submit(self, new: NewPrediction) -> tuple[Any, bool]:
        self.given.append(new)
        if self.error:
            raise self.error
        return new, self.is_new


def new(body: bytes) -> NewPrediction:
    return NewPrediction("id-1", "m", "me", Payload(body, (("content-type", b"image/png"),), len(body)), 1, b"digest")


def submit(rows: Rows, objects: MemoryObjects | None, body: bytes) -> Any:
    return asyncio.run(ClaimCheck(objects, 10).submit(rows, new(body)))  # type: ignore[arg-type]


def test_a_small_body_stays_in_the_row() -> None:
    rows, objects = Rows(), MemoryObjects()
    submit(rows, objects, b"x" * 10)
    assert rows.given[0].payload.body == b"x" * 10
    assert not objects.bodies


def test_a_large_body_is_in_the_store_before_the_row() -> None:
    rows, objects = Rows(), MemoryObjects()
    submit(rows, objects, b"x" * 11)
    payload = rows.given[0].payload
    assert (payload.body, payload.nbytes, payload.headers) == (None, 11, (("content-type", b"image/png"),))
    assert asyncio.run(ClaimCheck(objects, 10).unpack(payload)) == b"x" * 11


@pytest.mark.parametrize("error", [Overloaded("full"), Conflict("key")])
def test_a_refused_row_takes_its_object_along(error: PenstockError) -> None:
    objects = MemoryObjects()
    with pytest.raises(type(error)):
        submit(Rows(error), objects, b"x" * 11)
    assert not objects.bodies


def test_an_earlier_prediction_under_the_same_key_leaves_no_second_object() -> None:
    objects = MemoryObjects()
    submit(Rows(is_new=False), objects, b"x" * 11)
    assert not objects.bodies


def test_a_row_in_doubt_keeps_its_object() -> None:
    objects = MemoryObjects()
    with pytest.raises(UpstreamUnavailable):
        submit(Rows(UpstreamUnavailable("the answer was lost")), objects, b"x" * 11)
    assert len(objects.bodies) == 1


def test_without_the_object_no_row_is_written() -> None:
    rows, objects = Rows(), MemoryObjects()
    objects.away = True
    with pytest.raises(UpstreamUnavailable):
        submit(rows, objects, b"x" * 11)
    assert not rows.given


def test_an_object_that_cannot_be_deleted_hides_nothing() -> None:
    class Gone(Rows):
        async def submit(self, new: NewPrediction) -> tuple[Any, bool]:
            objects.away = True
            raise Overloaded("full")

    objects = MemoryObjects()
    with pytest.raises(Overloaded):
        submit(Gone(), objects, b"x" * 11)


def test_without_a_store_large_bodies_are_refused_with_the_option() -> None:
    with pytest.raises(TooLarge, match="--objects"):
        submit(Rows(), None, b"x" * 11)
