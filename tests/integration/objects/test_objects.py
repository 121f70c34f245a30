"""The object store, folder and bucket alike: what is kept comes back or is said to be gone, and nothing else is ever read."""

import asyncio
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import InvalidInput, NotFound, TooLarge, UpstreamUnavailable
from penstock_transformer.predictions.object_names import Kind
from penstock_transformer.predictions.objects import Corrupted, StoredObjects, open_objects
from penstock_transformer.predictions.resource import new_id
from penstock_transformer.predictions.sweep import ORPHAN_S, sweep


@pytest.mark.parametrize("nbytes", [0, 1, 300_000, 9_000_000])
def test_a_body_comes_back(place: Any, nbytes: int) -> None:
    body = os.urandom(nbytes)

    async def case(objects: StoredObjects) -> None:
        reference = await objects.put(new_id(), Kind.INPUT, body)
        assert reference.startswith(f"{place.address}/input/")
        assert await objects.get(reference) == body

    place.using(case)


def test_another_process_with_the_same_address_reads_it(place: Any) -> None:
    reference = place.using(lambda objects: objects.put("id", Kind.RESULT, b"result"))
    place.using(lambda objects: objects.get(reference))


def test_ids_of_foreign_producers_stay_inside(place: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        for prediction_id in ("../../../etc", "a/b/0", "x" * 1000, "\0", "é ?#%"):
            reference = await objects.put(prediction_id, Kind.RESULT, prediction_id.encode())
            assert place.file(reference).resolve().is_relative_to(place.files.resolve())
            assert await objects.get(reference) == prediction_id.encode()

    place.using(case)


def test_what_is_gone_is_not_found_and_deleting_twice_is_nothing(place: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        references = [await objects.put(new_id(), Kind.INPUT, b"%d" % number) for number in range(5)]
        await objects.delete(references[1:2])
        await objects.delete([*references[:4], "s3://another/input/x"])
        for reference in references[:4]:
            with pytest.raises(NotFound, match="gone"):
                await objects.get(reference)
        assert await objects.get(references[4]) == b"4"

    place.using(case)


@pytest.mark.parametrize("change", [b"bodX", b"body and more", b""])
def test_a_body_that_was_changed_is_not_given_out(place: Any, change: bytes) -> None:
    async def case(objects: StoredObjects) -> None:
        reference = await objects.put(new_id(), Kind.INPUT, b"body")
        place.file(reference).write_bytes(change)
        with pytest.raises(Corrupted):
            await objects.get(reference)

    place.using(case)


def test_sizes_have_a_limit_both_ways(place: Any) -> None:
    reference = place.using(lambda objects: objects.put(new_id(), Kind.INPUT, b"x" * 101))

    async def case(objects: StoredObjects) -> None:
        with pytest.raises(TooLarge):
            await objects.put(new_id(), Kind.INPUT, b"x" * 101)
        with pytest.raises(TooLarge):
            await objects.get(reference)

    place.using(case, most_bytes=100)


def test_references_to_other_files_are_refused_though_these_are_there(place: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        good = await objects.put(new_id(), Kind.INPUT, b"body")
        secret = place.files.parent / "secret"
        secret.write_text("secret")
        for reference in (
            f"{place.address}/../secret",
            f"{place.address}/input/../../secret",
            f"file://{secret}",
            f"{good}/../../x",
        ):
            with pytest.raises(InvalidInput, match="penstock-reference"):
                await objects.get(reference)

    place.using(case)


def test_another_store_than_the_one_written_to_is_away_not_empty(place: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        reference = await objects.put(new_id(), Kind.INPUT, b"body")
        # A volume that is not mounted, a bucket that was made anew: nothing is there, the marker neither.
        place.files.rename(place.files.with_name("elsewhere"))
        place.files.mkdir()
        with pytest.raises(UpstreamUnavailable, match="not the one"):
            await objects.get(reference)
        place.files.rmdir()
        place.files.with_name("elsewhere").rename(place.files)
        assert await objects.get(reference) == b"body"

    place.using(case)


def test_a_server_that_is_away_is_said_to_be_and_comes_back(bucket: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        reference = await objects.put(new_id(), Kind.INPUT, b"body")
        bucket.server.kill()
        try:
            for call in (objects.get(reference), objects.put(new_id(), Kind.INPUT, b"body"), objects.delete([reference])):
                with pytest.raises(UpstreamUnavailable, match="object store cannot be reached"):
                    await call
        finally:
            await asyncio.to_thread(bucket.server.start)
        assert await objects.get(reference) == b"body"

    bucket.using(case, timeout_s=2.0)


def test_a_server_that_hangs_is_given_up(bucket: Any) -> None:
    async def case(objects: StoredObjects) -> None:
        reference = await objects.put(new_id(), Kind.INPUT, b"body")
        bucket.server.pause()
        try:
            with pytest.raises(UpstreamUnavailable):
                await objects.get(reference)
        finally:
            bucket.server.resume()

    bucket.using(case, timeout_s=1.0)


@pytest.mark.parametrize("name, value", [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")])
def test_wrong_credentials_lose_nothing_and_are_not_shown(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    reference = bucket.using(lambda objects: objects.put(new_id(), Kind.INPUT, b"body"))
    monkeypatch.setenv(name, value)
    objects = open_objects(bucket.address, most_bytes=100, timeout_s=5.0)
    with pytest.raises(UpstreamUnavailable) as refused:
        asyncio.run(objects.get(reference))
    assert value not in str(refused.value)


def test_a_bucket_that_does_not_exist_is_said_at_the_start(bucket: Any) -> None:
    objects = open_objects("s3://no-such-bucket/prefix", most_bytes=100, timeout_s=5.0)
    with pytest.raises(UpstreamUnavailable):
        asyncio.run(objects.start())


def test_nobody_else_reads_the_folder(folder: Any) -> None:
    folder.using(lambda objects: objects.put(new_id(), Kind.INPUT, b"body"))
    assert stat.S_IMODE(folder.files.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "address",
    ["", "/path", "file://host/path", "file:///a/../b", "file:///", "s3://", "s3://B/x", "s3://bucket/../x", "https://x"],
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="objects"):
        open_objects(address, most_bytes=1, timeout_s=1.0)


def test_the_sweep_deletes_old_ones_without_a_row_and_nothing_else(place: Any) -> None:
    rows = {"kept"}

    async def existing(ids: Sequence[str]) -> set[str]:
        return rows & set(ids)

    def age(path: Path, seconds: float) -> None:
        moment = time.time() - seconds
        os.utime(path, (moment, moment))

    async def case(objects: StoredObjects) -> None:
        put = {
            (who, kind, old): await objects.put(who, kind, f"{who}{old}".encode())
            for who in ("kept", "gone", "a/b/0")
            for kind in Kind
            for old in (False, True)
        }
        for (_, _, old), reference in put.items():
            if old:
                age(place.file(reference), ORPHAN_S + 60)
        foreign = place.files / "foreign"
        foreign.write_bytes(b"somebody else's")
        age(foreign, 10 * ORPHAN_S)
        assert await sweep(objects, existing, result_s=5 * ORPHAN_S) == 2
        for (who, kind, old), reference in put.items():
            orphan = old and who != "kept" and kind is Kind.INPUT
            assert place.file(reference).exists() == (not orphan), (who, kind, old)
            if old:
                age(place.file(reference), 6 * ORPHAN_S) if place.file(reference).exists() else None
        assert await sweep(objects, existing, result_s=5 * ORPHAN_S) == 2
        left = {place.file(reference).exists() for (who, _, old), reference in put.items() if who == "kept" or not old}
        assert left == {True}
        assert foreign.exists()

    place.using(case)


def test_a_clock_that_is_wrong_makes_no_young_object_old(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def existing(ids: Sequence[str]) -> set[str]:
        return set()

    async def case(objects: StoredObjects) -> None:
        monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000_000_000_000)
        reference = await objects.put("young", Kind.INPUT, b"body")
        monkeypatch.setattr(time, "time", lambda: 4e9)
        assert await sweep(objects, existing, result_s=0.0) == 0
        assert await objects.get(reference) == b"body"

    place.using(case)
