"""The opening handshake: whose stream it is to be, and why not.

    request -> /v2/models/{m}[/versions/{v}]/stream -> origin -> guard -> ready? -> Target, or a PenstockError

The frames' library checks the handshake's own form (RFC 6455, section 4); this checks everything that is ours. A refusal is an
ordinary HTTP answer, in the form of errors under /v2.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from penstock.errors import Forbidden, NotFound, NotReady
from penstock.serving.security.origins import page_may_call
from penstock.serving.security.scopes import PREDICT
from penstock.serving.websocket.stream import Streams

_PATH = re.compile(rb"/v2/models/([^/?]+)(?:/versions/([^/?]+))?/stream")


class Target(NamedTuple):
    """The model, and the version if the path names one."""

    model: str
    version: str | None


def target_of(url: bytes) -> Target | None:
    """Whose stream a path (its query is not looked at) is; None for any other path."""
    found = _PATH.fullmatch(url.partition(b"?")[0])
    if found is None:
        return None
    model, version = (None if part is None else unquote(part.decode("latin-1")) for part in found.groups())
    return Target(model or "", version)


def admit(streams: Streams, target: Target, headers: Mapping[bytes, bytes], peer: str) -> None:
    """Raises what keeps a stream from being opened: Forbidden, Unauthenticated, Overloaded, NotFound, NotReady."""
    shell = streams.shell
    if not page_may_call(headers.get(b"origin"), headers.get(b"host"), shell.origins):
        raise Forbidden("pages of this origin may not open a stream; see --cors_origins", field="Origin")
    if shell.guard is not None:
        shell.guard.admit(headers, model=target.model, verb=PREDICT, peer=peer)
    if shell.starting:
        raise NotReady("starting: the model is being loaded")
    if shell.draining:
        raise NotReady("the server stops")
    if target.model not in streams.plane.models():
        raise NotFound(f"no model {target.model[:200]!r}; expected one of {', '.join(sorted(streams.plane.models()))}")
    if not streams.plane.ready(target.model, target.version):
        raise NotReady(f"model {target.model} is not ready")
