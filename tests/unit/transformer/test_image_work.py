"""What one caller's images may cost: pixels of a request in all, an end once nobody waits, threads of their own."""

import asyncio
import base64
import io
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from penstock.dataplane import Context
from penstock.errors import Cancelled, DeadlineExceeded, Overloaded, TooLarge, UpstreamUnavailable
from penstock.features import images
from penstock.testing.bundles import bundle_files
from penstock_transformer.encoding_threads import EncodingThreads
from penstock_transformer.requests import PredictRequest
from penstock_transformer.waiting import check_wanted
from penstock_transformer.work import PredictWork

FEATURES = """
formatVersion: 1
features:
  - {name: photo, from: request, type: image, encode: {image: {resize: [1, 1], mode: grey, scale: 1.0}}}
tensors: {x: [photo]}
"""


def row(side: int) -> dict[str, str]:
    out = io.BytesIO()
    Image.new("L", (side, side), 7).save(out, "PNG")
    return {"photo": base64.b64encode(out.getvalue()).decode()}


@pytest.fixture
def photos():
    return bundle_files(FEATURES)


@pytest.fixture
def decoded(monkeypatch):
    """The fields of the images that were decoded."""
    fields = []
    decode = images.decode_image

    def noted(data, encoding, field, **given):
        fields.append(field)
        return decode(data, encoding, field, **given)

    monkeypatch.setattr(images, "decode_image", noted)
    return fields


def test_the_pixels_of_a_request_have_a_limit_in_all_and_none_is_decoded(bench, run, photos, decoded):
    async def body():
        async with bench(photos, store=False) as b:
            error = await b.fails(TooLarge, [row(8000), row(10), row(8000)])
            assert error.field == "rows[1].photo"
            assert "64000100 pixels" in error.message
            assert decoded == []

    run(body())


def test_requests_that_are_too_much_together_are_answered_one_by_one(bench, run, photos, decoded, monkeypatch):
    monkeypatch.setattr("penstock_transformer.active.Decoding", lambda go_on: images.Decoding(go_on, max_pixels=500))

    async def body():
        async with bench(photos, store=False) as b:
            sent = [b.send([row(20)]), b.send([row(20)]), b.send([row(10), row(21)])]
            answers = await asyncio.gather(*(reply.future for reply in sent), return_exceptions=True)
            assert [len(answer.predictions) for answer in answers[:2]] == [1, 1]
            assert isinstance(answers[2], TooLarge)
            assert answers[2].field == "rows[1].photo"
            assert decoded == ["rows[0].photo"] * 2

    run(body())


def test_decoding_stops_between_images_once_the_caller_is_gone(bench, run, photos, decoded, monkeypatch):
    replies = []
    noted = images.decode_image

    def decode_and_leave(*given, **more):
        replies[0].disconnected = True
        return noted(*given, **more)

    monkeypatch.setattr(images, "decode_image", decode_and_leave)

    async def body():
        async with bench(photos, store=False) as b:
            replies.append(b.send([row(4)] * 5))
            with pytest.raises(Cancelled):
                await replies[0].future
        assert decoded == ["rows[0].photo"]

    run(body())


def test_decoding_goes_on_while_one_caller_waits():
    class Reply:
        disconnected = False

        def error(self, error):
            pass

    def work(deadline=None):
        return PredictWork(PredictRequest("m", Context("r", deadline=deadline), rows=[{}]), Reply())

    late, patient = work(time.monotonic() - 1), work()
    with pytest.raises(DeadlineExceeded):
        check_wanted([late])
    check_wanted([late, patient])
    patient.reply.disconnected = True
    with pytest.raises(Cancelled):
        check_wanted([patient])


def test_images_have_threads_of_their_own_and_a_bounded_line(run):
    async def body():
        hold, names = threading.Event(), []
        threads = EncodingThreads(threads=1, waiting=1)

        def work():
            names.append(threading.current_thread().name)
            hold.wait()
            return 1

        first, second = asyncio.ensure_future(threads.run(work)), asyncio.ensure_future(threads.run(work))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await threads.run(work)
        # The loop's own threads are free meanwhile.
        assert await asyncio.to_thread(lambda: 3) == 3
        hold.set()
        assert await asyncio.gather(first, second) == [1, 1]
        assert await threads.run(work) == 1
        assert all(name.startswith("encoding") for name in names)
        threads.close()
        with pytest.raises(UpstreamUnavailable):
            await threads.run(work)

    run(body())


def test_a_header_that_claims_too_much_writes_nothing_to_stderr() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    # Between Pillow's limits for a warning and for an error.
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0))
    claimed = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images._pillow.cache_clear()
        with pytest.raises(TooLarge):
            images.refuse_pixels({"photo": np.array([claimed], object)}, images.MAX_PIXELS)
    images._pillow.cache_clear()
    assert caught == []
