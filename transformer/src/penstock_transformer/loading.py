"""Bringing a bundle into use: its small files fetched from the predictor, verified by digest, the encoder warm.

    predictor's `bundle/{file}` --fetch--> bytes --verify--> Bundle -> plan, store, encoder --warm--> ActiveBundle

Nothing that was not verified is parsed further than bundle.yaml's digest. A foreign server without bundles gives a bundle without
features, made from its metadata, and is never verified.
"""

from collections.abc import Awaitable, Callable

from penstock.bundle.files import bundle_digest
from penstock.bundle.manifest import Manifest, ModelSignature, PostprocessSpec
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.profile import PROFILE
from penstock.bundle.reading import bundle_from_files
from penstock.dataplane import DataPlane, ModelMetadata
from penstock.errors import UpstreamUnavailable, WrongBundle
from penstock.evidence.profiles import read_profile
from penstock.features.encoder import Encoder
from penstock_transformer.active import ActiveBundle
from penstock_transformer.plan import plan_of
from penstock_transformer.stores import Stores

Close = Callable[[], Awaitable[None]]


async def load_bundle(
    predictor: DataPlane, model: str, digest: str, stores: Stores, *, close: Close | None = None
) -> ActiveBundle:
    """Fetch, verify and warm the bundle `digest` (`sha256:…`) that `predictor` serves as `model`.

    Raises WrongBundle if the predictor serves another one, InvalidInput if a file is not what the digest says or the spec
    cannot be carried out, UpstreamUnavailable if predictor or store cannot be reached.
    """

    async def fetch(file: str) -> bytes:
        content = await predictor.bundle_file(model, file)
        found = bundle_digest(content) if file == MANIFEST else digest
        if found != digest:
            raise WrongBundle(f"the predictor's bundle.yaml has digest {found}, {digest} was asked for")
        return content

    bundle = await bundle_from_files(fetch, digest)
    profile = read_profile(bundle.files.get(PROFILE, b""))
    if bundle.features is None:
        return ActiveBundle(bundle.manifest, digest, predictor, model, profile=profile, close=close)
    plan = plan_of(bundle.features)
    encoder = Encoder(bundle.read("encoder.onnx"), bundle.features, files=bundle.files)
    lease = await stores.lease(plan.layout) if plan.layout is not None else None

    async def closed() -> None:
        if lease is not None:
            await lease.release()
        if close is not None:
            await close()

    store = lease.store if lease is not None else None
    try:
        active = ActiveBundle(
            bundle.manifest, digest, predictor, model, plan=plan, encoder=encoder, store=store, profile=profile, close=closed
        )
        await active.warm()
    except BaseException:
        # What called us closes its own connection to the predictor; nobody else knows of the store.
        if lease is not None:
            await lease.release()
        raise
    return active


def foreign_bundle(
    predictor: DataPlane, model: str, metadata: ModelMetadata, *, identity: str = "", close: Close | None = None
) -> ActiveBundle:
    """A bundle without features or digest, for a server that speaks the protocol and knows no bundles. `identity`: its address,
    which stands for the digest where a route has several of them. Raises UpstreamUnavailable if it names no outputs."""
    if not metadata.outputs:
        raise UpstreamUnavailable(f"the predictor's metadata of {model} names no outputs")
    signature = ModelSignature("", metadata.inputs, metadata.outputs, rows_independent=None)
    version = metadata.versions[0] if metadata.versions else ""
    manifest = Manifest(metadata.name, version, signature, PostprocessSpec("raw"), {})
    return ActiveBundle(manifest, "", predictor, model, identity=identity, close=close)
