"""The bundles of a model, by digest: for what training looked like, and what right and wrong answers cost.

    digest --Bundles.find--> Bundle (profile.json, features.yaml, card)     from a folder of bundles, or a server that has it

A folder may hold one bundle, or many at any of two depths: what a retraining adds is found at the next look. A server is asked
`GET /v2/models/<model>/bundle/<file>`; a transformer there gives the files of the bundle that is live.

Invariant: what is found has the digest that was asked for; what cannot be found is None, and said, and no reason to stop.
"""

import asyncio
import hashlib
import logging
from pathlib import Path
from urllib.parse import quote

from penstock.bundle.files import inside, read_file
from penstock.bundle.manifest_text import MANIFEST
from penstock.bundle.reading import MAX_SMALL_BYTES, Bundle, bundle_from_files
from penstock.errors import PenstockError, UpstreamUnavailable

logger = logging.getLogger(__name__)

_TIMEOUT_S = 10.0
_KEPT = 8


class Bundles:
    """Where one model's bundles are; `place` empty: nowhere. Bundles that were found are kept, for they never change."""

    def __init__(self, place: str, model: str) -> None:
        self._place = place
        self._model = model
        self._found: dict[str, Bundle] = {}

    def find(self, digest: str) -> Bundle | None:
        """The small files of a bundle, verified."""
        if not self._place or not digest:
            return None
        if digest not in self._found:
            try:
                found = self._open(digest)
            except (PenstockError, OSError) as error:
                logger.warning("a bundle cannot be read", extra={"bundle": digest, "reason": str(error)})
                return None
            if found is None:
                logger.warning("no bundle has this digest", extra={"bundle": digest})
                return None
            while len(self._found) >= _KEPT:
                del self._found[next(iter(self._found))]
            self._found[digest] = found
        return self._found[digest]

    def _open(self, digest: str) -> Bundle | None:
        if self._place.startswith(("http://", "https://")):
            return asyncio.run(bundle_from_files(self._fetch, digest))
        folder = next((folder for folder in self._folders() if _digest_of(folder) == digest), None)
        return None if folder is None else asyncio.run(bundle_from_files(_Files(folder), digest))

    def _folders(self) -> list[Path]:
        root = Path(self._place)
        return [path.parent for pattern in ("", "*/", "*/*/") for path in sorted(root.glob(f"{pattern}{MANIFEST}"))]

    async def _fetch(self, file: str) -> bytes:
        import httpx

        url = f"{self._place.rstrip('/')}/v2/models/{quote(self._model, safe='')}/bundle/{quote(file)}"
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError as error:
            raise UpstreamUnavailable(f"{url}: {type(error).__name__}", field="bundles") from None
        if answer.status_code != 200:
            raise UpstreamUnavailable(f"{url}: status {answer.status_code}", field="bundles")
        return answer.content


class _Files:
    """Fetches a folder's files, as `bundle_from_files` asks for them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, file: str) -> bytes:
        return await asyncio.to_thread(read_file, inside(self._folder, file), file, MAX_SMALL_BYTES)


def _digest_of(folder: Path) -> str:
    try:
        return f"sha256:{hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()}"
    except OSError:
        return ""
