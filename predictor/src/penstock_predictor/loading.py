"""From a place on disk to a model that serves: verified, loaded, tried, measured.

    bundle verified -> session -> signature compared -> golden examples run -> samples -> row check -> cost profile -> policy

Everything a request relies on is found out here, before the first one comes. What fails here fails the load, with the file or
tensor at fault; a model that is loaded is warm.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penstock.batcher import BatchPolicy
from penstock.bundle.files import bundle_digest, digest_file
from penstock.bundle.golden import GOLDEN
from penstock.bundle.manifest import Manifest
from penstock.bundle.plain import plain_manifest
from penstock.bundle.reading import Bundle, open_bundle
from penstock.dataplane import TensorMetadata
from penstock.errors import InvalidInput
from penstock.onnx import Session, SessionSettings, load
from penstock.onnx.binding import BoundRun, bind
from penstock.onnx.staging import stage
from penstock_predictor.axes import BatchRule, Sharing, candidate, tails_vary
from penstock_predictor.golden import Example, compare, read_examples
from penstock_predictor.profile import CostProfile, measure
from penstock_predictor.repository import MANIFEST, Place, find, model_file
from penstock_predictor.rows import examine
from penstock_predictor.samples import gather
from penstock_predictor.settings import ModelSettings

log = logging.getLogger(__name__)

# Between two requests that one turn of the loop reads lie ten to thirty microseconds.
_DIRECT_AFTER_US = 60.0
# How much longer than promised a run on the loop may take before anyone looks: a collection of garbage takes as much.
_GRACE = 10


@dataclass(slots=True)
class LoadedModel:
    """A model that is ready to run. `bundle` is None for a plain model, whose generated manifest is `manifest_bytes`."""

    model: str
    version: str
    manifest: Manifest
    manifest_bytes: bytes
    digest: str
    bundle: Bundle | None
    golden: list[Example]
    session: Session
    rule: BatchRule
    profile: CostProfile
    policy: BatchPolicy
    one_row: BoundRun | None
    sessions: tuple[Session, ...] = ()
    staged: bool = False

    def close(self) -> None:
        """Release the model's memory. Once."""
        if self.one_row is not None:
            self.one_row.close()
        for session in {id(each): each for each in (self.session, *self.sessions)}.values():
            session.close()

    @property
    def label(self) -> str:
        """`name@sha256:…`, the name being the bundle's own."""
        return f"{self.manifest.name}@{self.digest}"


def load_directory(directory: Path, model_name: str, settings: ModelSettings) -> list[LoadedModel]:
    """Every model that `repository.find` sees in a directory. Raises what `find` and `load_model` raise."""
    return [load_model(place, settings) for place in find(directory, model_name)]


def load_model(place: Place, settings: ModelSettings, *, golden: bool = True) -> LoadedModel:
    """Load what lies at `place`. Blocking: seconds for a large model. `golden`: run the bundle's examples and compare.

    Raises InvalidInput for a bundle whose files do not match their digests, a file that is not a model, or a model that is not
    what its bundle says, its golden examples included.
    """
    started = time.monotonic()
    bundle = place.bundle or (open_bundle(place.directory) if place.is_bundle else None)
    path = place.directory / bundle.manifest.model.file if bundle else model_file(place.directory)
    if path is None:
        raise InvalidInput("no model", field=str(place.directory))
    session_settings = _session_settings(settings, bundle, path)
    session = load(path, session_settings)
    if bundle is not None:
        manifest, manifest_bytes = bundle.manifest, bundle.read(MANIFEST)
        check_signature(manifest, session)
    else:
        manifest, manifest_bytes = plain_manifest(place.model, path, session.inputs, session.outputs)
    examples = _golden(bundle, session)
    if golden and (wrong := compare(examples, session)):
        raise InvalidInput(wrong, field=GOLDEN)
    if session.skipped_outputs:
        log.warning("outputs that are no tensors are left out", extra={"model": place.model, "outputs": session.skipped_outputs})
    session, rule, profile, one_row, staged = _tried(path, session, examples, manifest.model.rows_independent, settings)
    policy = make_policy(rule, profile, session.inputs, settings)
    sessions = _instances(path, session, session_settings, policy, settings)
    if len(sessions) > 1:
        policy = replace(policy, max_in_flight=len(sessions), inline_rows=0, direct_after_us=0.0)
    loaded = LoadedModel(
        model=place.model,
        version=place.version or manifest.version,
        manifest=manifest,
        manifest_bytes=manifest_bytes,
        digest=bundle_digest(manifest_bytes),
        bundle=bundle,
        golden=examples,
        session=session,
        rule=rule,
        profile=profile,
        policy=policy,
        one_row=one_row,
        sessions=sessions,
        staged=staged,
    )
    _log(loaded, time.monotonic() - started)
    return loaded


def _session_settings(settings: ModelSettings, bundle: Bundle | None, path: Path) -> SessionSettings:
    """The settings of this model's sessions: engines that were built for one bundle must never serve another."""
    made = settings.session()
    if made.engine_cache is None:
        return made
    key = bundle.digest.removeprefix("sha256:") if bundle is not None else digest_file(path, path.name).sha256
    cache = made.engine_cache / key
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{cache} cannot be made: {error.strerror}", field="engine_cache") from error
    return replace(made, engine_cache=cache)


def _instances(
    path: Path, session: Session, made: SessionSettings, policy: BatchPolicy, settings: ModelSettings
) -> tuple[Session, ...]:
    """The sessions of a model's instances: one and the same on the CPU, where any number of threads may run it."""
    if settings.instances == 1 or (session.on_cpu and policy.inline_rows):
        return (session,)
    if session.on_cpu:
        return (session,) * settings.instances
    return (session, *(load(path, made) for _ in range(settings.instances - 1)))


def check_signature(manifest: Manifest, session: Session) -> None:
    """Raises InvalidInput, naming the tensor, if the model is not what bundle.yaml says it is."""
    for kind, said, real in (
        ("inputs", manifest.model.inputs, session.inputs),
        ("outputs", manifest.model.outputs, session.outputs),
    ):
        by_name = {tensor.name: tensor for tensor in real}
        for tensor in said:
            found = by_name.get(tensor.name)
            if found is None or found.datatype != tensor.datatype or not _agree(tensor, found):
                shown = f"{found.datatype} {list(found.shape)}" if found else "none of that name"
                raise InvalidInput(
                    f"{MANIFEST} says {tensor.datatype} {list(tensor.shape)}, {manifest.model.file} has {shown}",
                    field=f"model.{kind}.{tensor.name}",
                )
        if kind == "inputs" and len(said) != len(real):
            missing = sorted(set(by_name) - {tensor.name for tensor in said})
            raise InvalidInput(f"{MANIFEST} lacks {', '.join(missing)}", field="model.inputs")


def _agree(said: TensorMetadata, real: TensorMetadata) -> bool:
    """Whether two shapes can be of one tensor: an axis that either leaves open agrees with any."""
    if len(said.shape) != len(real.shape):
        return False
    return all(a == b or -1 in (a, b) for a, b in zip(said.shape, real.shape, strict=True))


def _golden(bundle: Bundle | None, session: Session) -> list[Example]:
    if bundle is None or GOLDEN not in bundle.manifest.files:
        return []
    return read_examples(bundle.read(GOLDEN), session.inputs, session.outputs)


def _tried(
    path: Path, session: Session, golden: Sequence[Example], declared: bool | None, settings: ModelSettings
) -> tuple[Session, BatchRule, CostProfile, BoundRun | None, bool]:
    """The row check and the cost profile, and the session they speak of: one with a single thread, where that is faster; whether
    runs go through staged buffers."""
    rule = candidate(session.inputs)
    rows = [example.tensors for example in golden]
    sets = list(gather(session, rule, rows))
    rule = examine(session, rule, sets, declared)
    if rule.sharing is Sharing.ALONE:
        # Samples were made as rows of a batch; a model that runs alone takes its inputs whole.
        sets = list(gather(session, rule, rows))
    samples = sets[0] if sets else None
    # No batch ever holds more than its queue does.
    most_rows = min(settings.max_rows, samples.fitting(settings.max_queue_mb * 2**20)) if samples else settings.max_rows
    profile = measure(session, rule, samples, most_rows, settings.profile_s)
    cheap = profile.rows_within(settings.inline_ms) > 0
    if cheap and not settings.threads and session.threads > 1:
        # A pool is woken for each operator, which costs a cheap model more than the work it shares out.
        single = load(path, replace(settings.session(), threads=1))
        other = measure(single, rule, samples, most_rows, settings.profile_s)
        if not _faster(profile, other):
            session, profile = single, other
    single_rows = cheap and samples is not None and rule.sharing is Sharing.FREE and not tails_vary(session.inputs)
    by_rows = rule.sharing is not Sharing.ALONE
    staged = samples is not None and stage(session, samples.batch(range(max(profile.best_rows(), rule.size))), by_rows=by_rows)
    return session, rule, profile, bind(session, samples.batch([0])) if single_rows and samples else None, staged


def _faster(pool: CostProfile, single: CostProfile) -> bool:
    """Whether the pool brings enough over one thread, at its best size, to be worth the second core it takes."""
    rates = [max((c.rows / c.run_ms for c in profile.costs), default=0.0) for profile in (pool, single)]
    return rates[0] > 1.3 * rates[1]


def make_policy(rule: BatchRule, profile: CostProfile, inputs: Sequence[TensorMetadata], settings: ModelSettings) -> BatchPolicy:
    """The batching policy that the measurements call for."""
    inline = profile.rows_within(settings.inline_ms)
    if tails_vary(inputs) or any(tensor.datatype == "BYTES" for tensor in inputs):
        # The profile speaks of one length only; a longer one would hold up the loop.
        inline = 0
    shared = settings.batching and rule.sharing is not Sharing.ALONE
    if rule.sharing is Sharing.FIXED:
        rows, inline = rule.size, min(inline, rule.size)
    else:
        # Never less than what runs inline anyway: a batch that the loop can afford need not be cut.
        rows = max(profile.best_rows(), inline) if shared else 1
    return BatchPolicy(
        max_rows=min(max(rows, 1), max(settings.max_rows, rule.size)) if shared else 1,
        max_delay_ms=settings.max_delay_ms if shared else 0.0,
        max_queue_items=settings.max_queue_items,
        max_queue_bytes=settings.max_queue_mb * 2**20,
        inline_rows=inline,
        inline_grace_ms=_GRACE * settings.inline_ms,
        direct_after_us=0.0 if settings.max_delay_ms else _DIRECT_AFTER_US,
    )


def _log(loaded: LoadedModel, took_s: float) -> None:
    log.info(
        "model loaded",
        extra={
            "model": loaded.model,
            "bundle": loaded.label,
            "duration_ms": round(took_s * 1e3),
            "providers": loaded.session.providers,
            "threads": loaded.session.threads,
            "sharing": loaded.rule.sharing.value,
            "reason": loaded.rule.reason,
            "max_rows": loaded.policy.max_rows,
            "inline_rows": loaded.policy.inline_rows,
            "bound": loaded.one_row is not None,
            "staged": loaded.staged,
            "instances": len(loaded.sessions),
            "profile": loaded.profile.as_json(),
        },
    )
