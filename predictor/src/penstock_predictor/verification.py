"""`penstock-predictor verify BUNDLE`: would this bundle serve what it says? The operator's Job runs it first.

    digests -> model loads -> signature -> golden examples -> rows independent as declared

Each check is one line of the answer; the first that fails ends it, because what follows would rest on it.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock_predictor.axes import Sharing
from penstock_predictor.golden import compare
from penstock_predictor.loading import LoadedModel, load_model
from penstock_predictor.repository import find
from penstock_predictor.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `detail` says what was found; of a failure, what and where."""

    name: str
    ok: bool
    detail: str


def verify(directory: Path, settings: ModelSettings | None = None) -> Iterator[Check]:
    """The checks of every model in a directory, in order; the last one given is the one that failed, if any."""
    try:
        places = find(directory, directory.name)
    except PenstockError as error:
        yield Check("layout", False, str(error))
        return
    for place in places:
        try:
            loaded = load_model(place, settings or ModelSettings(profile_s=0.0), golden=False)
        except PenstockError as error:
            yield Check("load", False, str(error))
            return
        kind = f"{len(loaded.manifest.files)} files match their digests" if place.is_bundle else "a plain model"
        yield Check("load", True, f"{loaded.label}: {kind}, loaded on {loaded.session.providers[0]}, signature as declared")
        for check in (check_golden(loaded), check_rows(loaded)):
            yield check
            if not check.ok:
                return


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
    parser.add_argument("bundle", type=Path, help="directory of the bundle")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    given = parser.parse_args(arguments)
    checks = list(verify(given.bundle))
    ok = all(check.ok for check in checks)
    if given.json:
        shown: dict[str, Any] = {"ok": ok, "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in checks]}
        print(json.dumps(shown))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}: {check.detail}")
    return 0 if ok else 1
