"""Without a route file: the digest that the predictor names is followed, while pods of two bundles answer at one address."""

import asyncio

import numpy as np
import pytest

from penstock.dataplane import Context, InferRequest, TensorMetadata, infer
from penstock.errors import UpstreamUnavailable, WrongBundle
from penstock.tensors import Tensor
from penstock.testing.bundles import FakePredictor, bundle_files, digest_of
from penstock_transformer.settings import PipelineSettings
from penstock_transformer.transformer import Transformer

ROW = {"distance": 10.0, "tailnum": "N1"}


def test_a_rolled_predictor_is_followed_in_the_middle_of_a_request(bench, run, features):
    newer = bundle_files(features.replace("default: 100", "default: 200"), version="8")

    async def go():
        async with bench() as b:
            older = b.predictor.files
            assert (await b.ask([ROW])).version == "7"
            b.predictor.files = newer
            replies = [b.send([ROW]) for _ in range(5)]
            for reply in replies:
                answer = await reply.future
                assert (answer.version, answer.bundle) == ("8", f"flights@{digest_of(newer)}")
            assert b.transformer.counters.refused_calls == 1
            b.predictor.files = older
            assert (await b.ask([ROW])).version == "7"
            assert {t.bundle.version for t in b.transformer.table.route.live} == {"7", "8"}

    run(go())


def test_a_caller_who_names_a_bundle_is_never_sent_elsewhere(bench, run, features):
    newer = bundle_files(features, version="8")

    async def go():
        async with bench() as b:
            before = b.predictor.digest
            b.predictor.files = newer
            await b.fails(WrongBundle, [ROW], expect_bundle=before)
            await b.fails(WrongBundle, [ROW], expect_bundle="sha256:" + "1" * 64)

    run(go())


def test_passed_tensors_follow_too(bench, run, features):
    newer = bundle_files(features, version="8")

    async def go():
        async with bench() as b:
            b.predictor.files = newer
            tensor = Tensor.from_array("x", np.ones((1, 3), "f4"))
            request = InferRequest("flights", [tensor], Context("r"), parameters={"encoded": True})
            answer = await infer(b.transformer, request)
            assert answer.bundle == f"flights@{digest_of(newer)}"

    run(go())


def test_a_predictor_that_answers_with_another_digest_counts_as_refused(bench, run, features):
    async def go():
        async with bench() as b:
            other = "flights@sha256:" + "0" * 64

            class Liar(FakePredictor):
                label = property(lambda self: other)

            b.predictor.__class__ = Liar
            await b.fails(UpstreamUnavailable, [ROW])

    run(go())


def test_start_waits_for_the_predictor(run, files):
    async def go():
        predictor = FakePredictor(files)
        real, predictor.bundle_file = predictor.bundle_file, None
        tries = []

        async def away(model, file):
            tries.append(file)
            if len(tries) < 2:
                raise UpstreamUnavailable("away")
            return await real(model, file)

        predictor.bundle_file = away
        transformer = Transformer(PipelineSettings(model_name="flights"), predictor=predictor)
        assert not transformer.ready()
        await transformer.start()
        assert transformer.ready("flights", "7")
        await transformer.close()

    run(go())


def test_a_changed_byte_is_never_used(run, files):
    async def go():
        broken = dict(files, **{"encoder.onnx": files["encoder.onnx"][:-1] + b"!"})
        transformer = Transformer(PipelineSettings(model_name="flights"), predictor=FakePredictor(broken))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await transformer.start()
        assert not transformer.ready()
        await transformer.close()

    run(go())


def test_an_unforeseen_fault_does_not_end_the_following(run, files, features, caplog):
    newer = bundle_files(features, version="8")

    async def go():
        predictor = FakePredictor(files)
        transformer = Transformer(PipelineSettings(model_name="flights", predictor_poll_s=0.01), predictor=predictor)
        await transformer.start()
        real, asked = predictor.metadata, asyncio.Event()

        async def broken(model, version=None):
            if not asked.is_set():
                asked.set()
                raise RuntimeError("nobody thought of this")
            return await real(model, version)

        predictor.metadata = broken
        table, swapped = transformer.table, asyncio.Event()
        apply = table.apply
        table.apply = lambda route: (apply(route), swapped.set())
        await asked.wait()
        predictor.files = newer
        await swapped.wait()
        assert (await transformer.metadata("flights")).bundle == f"flights@{digest_of(newer)}"
        assert "nobody thought of this" in caplog.text
        await transformer.close()

    run(go())


def test_a_foreign_server_is_passed_through(run):
    async def go():
        predictor = FakePredictor({})
        predictor.signature = ((TensorMetadata("x", "FP32", (-1, 3)),), (TensorMetadata("y", "FP32", (-1,)),))
        transformer = Transformer(PipelineSettings(model_name="flights"), predictor=predictor)
        await transformer.start()
        tensor = Tensor.from_array("x", np.ones((2, 3), "f4"))
        answer = await infer(transformer, InferRequest("flights", [tensor], Context("r")))
        assert answer.outputs[0].array.tolist() == [3, 3]
        assert predictor.calls[0].context.expect_bundle is None
        await transformer.close()

    run(go())
