"""`penstock-predictor verify BUNDLE`: would this bundle serve what it says? The operator's Job runs it first.

    fetched -> digest -> model loads -> signature -> golden examples -> rows independent as declared

Each check is one line of the answer; the first that fails ends it, because what follows would rest on it. `--report FILE` leaves
the verdict as JSON for the operator (`verification_report`).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.bundle.files import bundle_digest
from penstock.errors import InvalidInput, PenstockError
from penstock_predictor.axes import Sharing
from penstock_predictor.golden import compare
from penstock_predictor.loading import LoadedModel, load_model
from penstock_predictor.repository import MANIFEST, Place
from penstock_predictor.settings import ModelSettings
from penstock_predictor.source import DirectorySource, ModelSource, open_source
from penstock_predictor.verification_report import Report, write_report


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `detail` says what was found; of a failure, what and where. `field`: the file or tensor."""

    name: str
    ok: bool
    detail: str
    field: str | None = None


def verify(
    directory: Path | ModelSource,
    settings: ModelSettings | None = None,
    *,
    digest: str | None = None,
    report: Report | None = None,
) -> Iterator[Check]:
    """The checks of every model in a directory, in order; the last one given is the one that failed, if any. `digest`: the one
    bundle there has to have it. `report` is told what was measured."""
    source = DirectorySource(directory, directory.name) if isinstance(directory, Path) else directory
    try:
        places = source.places()
        if digest is not None and len(places) != 1:
            raise InvalidInput(f"expected one bundle, found {len(places)}", field="digest")
    except PenstockError as error:
        yield Check("layout" if isinstance(source, DirectorySource) else "fetch", False, str(error), error.field)
        return
    for place in places:
        if digest is not None and place.is_bundle:
            yield (wrong := check_digest(digest, _digest_of(place)))
            if not wrong.ok:
                return
        try:
            loaded = load_model(place, settings or ModelSettings(profile_s=0.0), golden=False)
        except PenstockError as error:
            yield Check("load", False, str(error), error.field)
            return
        except MemoryError:
            yield Check("memory", False, "there is not enough memory to load the model")
            return
        kind = f"{len(loaded.manifest.files)} files match their digests" if place.is_bundle else "a plain model"
        yield Check("load", True, f"{loaded.label}: {kind}, loaded on {loaded.session.providers[0]}, signature as declared")
        if report is not None:
            report.measure(loaded)
        named = [check_digest(digest, loaded.digest)] if digest is not None and not place.is_bundle else []
        for check in (*named, check_golden(loaded), check_rows(loaded)):
            yield check
            if not check.ok:
                return


def _digest_of(place: Place) -> str:
    try:
        return bundle_digest((place.directory / MANIFEST).read_bytes())
    except OSError as error:
        return f"no {MANIFEST}: {error.strerror}"


def check_digest(expected: str, found: str) -> Check:
    """Whether it is the bundle that was asked for; looked at before anything of it is loaded."""
    if expected != found:
        return Check("digest", False, f"expected {expected}, found {found}", "digest")
    return Check("digest", True, found)


def check_golden(loaded: LoadedModel) -> Check:
    """Runs every golden example by itself and compares all outputs that it gives."""
    wrong = compare(loaded.golden, loaded.session)
    return Check("golden", False, wrong) if wrong else Check("golden", True, f"{len(loaded.golden)} examples")


def check_rows(loaded: LoadedModel) -> Check:
    """A bundle may say less than is true of its rows, never more."""
    declared, rule = loaded.manifest.model.rows_independent, loaded.rule
    if declared and rule.sharing is Sharing.ALONE:
        return Check("rows", False, f"bundle.yaml says that rows are independent; {rule.reason}")
    return Check("rows", True, f"{rule.sharing.value}: {rule.reason}")


def verify_command(arguments: Sequence[str]) -> int:
    """Verify as a program: prints the checks, returns the exit status."""
    parser = argparse.ArgumentParser(
        "penstock-predictor verify", description="Check a bundle: digests, signature, golden examples."
    )
    parser.add_argument("bundle", help="directory of the bundle, or s3://, gs://, az://, https://")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--digest", help="sha256:… that the bundle has to have")
    parser.add_argument(
        "--model_name", "--model-name", help="name that the model will be served under; a plain model's digest has it in it"
    )
    parser.add_argument("--report", type=Path, help="file to leave the verdict in, with what the model costs; measured for 2 s")
    parser.add_argument(
        "--model_cache", "--model-cache", type=Path, default=Path("/tmp/penstock/models"), help="where it is fetched to"
    )
    given = parser.parse_args(arguments)
    report = Report() if given.report is not None else None
    settings = ModelSettings(profile_s=2.0 if report is not None else 0.0)
    name = given.model_name or Path(given.bundle).name
    try:
        source = open_source(given.bundle, name, given.model_cache)
        checks = list(verify(source, settings, digest=given.digest, report=report))
    except PenstockError as error:
        checks = [Check("fetch", False, str(error), error.field)]
    ok = all(check.ok for check in checks)
    if report is not None:
        failed = next((check for check in checks if not check.ok), None)
        report.conclude(None if failed is None else (failed.name, failed.field, failed.detail))
        write_report(given.report, report)
    if given.json:
        shown: dict[str, Any] = {"ok": ok, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]}
        print(json.dumps(shown))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    return 0 if ok else 1
