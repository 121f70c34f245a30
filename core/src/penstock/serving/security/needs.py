"""What each path needs: nothing, or a verb on a model. One table for every way in that has paths.

    method, path --> Need(verb, model) | None (open)

Open are health and metrics: probes and scrapes have no credentials, and neither says anything about a request. So are the
console's own files, which hold no data: a browser that is sent there has no credentials yet. Nothing else is.
A path that the table does not know needs scope `admin`: what is added later is closed until somebody decides.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from penstock.errors import InvalidInput
from penstock.serving.security.scopes import ADMIN, DESCRIBE, PREDICT, READ, WRITE

_CONSOLE = tuple(f"/console/queues{path}" for path in ("", ".js", ".css", "/letters.js", "/page.js", "/server.js"))
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics", *_CONSOLE})
_READING = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Need:
    """A verb on a model. `model` None: the one that `?model=` names, or the only one (`in_query`), or all (not `in_query`)."""

    verb: str
    model: str | None = None
    in_query: bool = False


UNKNOWN = Need(ADMIN)

_MODEL = "(?P<model>[^/]+)"
_V2_MODEL = f"/v2/models/{_MODEL}(?:/versions/[^/]+)?"
_TABLE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("POST",), f"{_V2_MODEL}/infer", PREDICT),
    (("POST",), f"/models/{_MODEL}/predict", PREDICT),
    (("POST",), f"/v1/models/{_MODEL}:predict", PREDICT),
    (_READING, r"/predict/[\s\S]+", PREDICT),
    (("POST",), f"/models/{_MODEL}/predictions", PREDICT),
    # A prediction is shown to who asked for it, and to nobody else: that is what decides.
    (_READING, r"/predictions(?:/[^/]+(?:/(?:input|result|events))?)?", DESCRIBE),
    (("POST",), r"/predictions/[^/]+/(?:cancel|outcome)", DESCRIBE),
    (_READING, f"{_V2_MODEL}/stream", PREDICT),
    (_READING, r"/v2/?", DESCRIBE),
    (_READING, r"/v2/models/stats", DESCRIBE),
    (_READING, f"{_V2_MODEL}(?:/ready|/stats|/config)?", DESCRIBE),
    (_READING, r"/v1/models/?", DESCRIBE),
    (_READING, f"/v1/models/{_MODEL}", DESCRIBE),
    (_READING, rf"/v2/models/{_MODEL}/bundle/[\s\S]+", READ),
    (_READING, r"/docs|/openapi\.json|/asyncapi\.json", READ),
    (_READING, r"/records(?:/[\s\S]+)?", READ),
    (("POST",), r"/records(?::import)?", WRITE),
    (("PUT", "DELETE"), r"/records/[\s\S]+", WRITE),
    (_READING, r"/queues(?:/events)?", READ),
    (_READING, f"/queues/{_MODEL}/dead-letters", READ),
    # A letter's bytes are a request of somebody: they are not for whoever may read, and putting it back is not either.
    (_READING, f"/queues/{_MODEL}/dead-letters/[^/]+/[^/]+(?:/value)?", ADMIN),
    (("POST",), f"/queues/{_MODEL}/dead-letters/[^/]+/[^/]+:(?:replay|drop)", ADMIN),
    (("POST",), r"/v2/repository/index", ADMIN),
    (("POST",), f"/v2/repository/models/{_MODEL}(?:/versions/[^/]+)?/(?:load|unload)", ADMIN),
)
_ROWS = tuple((methods, re.compile(pattern), verb) for methods, pattern, verb in _TABLE)
_QUERY = re.compile(r"/(?:predict|records|queues)\b")


def is_open(method: str, path: str) -> bool:
    """Whether anybody may ask this. `path` is decoded, without its query."""
    return path in OPEN_PATHS and method in _READING


def need_of(method: str, path: str) -> Need:
    """What a path needs. `path` is as its router sees it: decoded, or as sent with `%` in it."""
    for methods, pattern, verb in _ROWS:
        if method in methods and (match := pattern.fullmatch(path)) is not None:
            model = match.groupdict().get("model")
            return Need(verb, model, in_query=model is None and _QUERY.match(path) is not None)
    return UNKNOWN


def need_of_hot(path: bytes) -> Need:
    """What a hot route's path, as sent, needs. No hot path is told apart by its method alone (a test holds that)."""
    text = path.decode("latin-1")
    need = need_of("POST", text)
    if need is UNKNOWN:
        need = need_of("GET", text)
    return need if need.model is None else Need(need.verb, unquote(need.model))


def model_in(query: bytes) -> str | None:
    """The model that a query names. Raises InvalidInput if it names two: a guard and a handler might each take another."""
    if b"model" not in query and b"%" not in query:
        return None
    models = {text for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True) if name == "model"}
    if len(models) > 1:
        raise InvalidInput("expected one model", field="model")
    return models.pop() if models else None
