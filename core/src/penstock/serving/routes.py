"""The hot routes: which requests are answered below the web framework, by which handler, with which path parameters.

A route is a template such as `/v2/models/{model}/infer`. A lookup by the exact bytes of a path that was seen before is one
dictionary access; a new path is matched against the templates once. `build_app` mounts the same templates on FastAPI, so that
requests in an unusual form, and `/docs`, find them too.

Invariant: what `find` returns for a path never depends on what was looked up before.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from penstock.serving.exchange import HotHandler

# Together a bound in bytes: 2 MiB for each method, whatever paths callers make up.
_CACHED_PATHS = 2048
_CACHED_PATH_BYTES = 1024
_PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Streamed:
    """A form of a hot route whose body or answer is never held whole: always answered by the framework.

    `matches`: whether a request's headers ask for it. `endpoint` takes the framework's request and gives its response.
    `body_bytes` is the limit of such a body; the endpoint counts against the budget what it holds of it.
    """

    matches: Callable[[Mapping[bytes, bytes]], bool]
    endpoint: Callable[[Any], Awaitable[Any]]
    body_bytes: int


@dataclass(frozen=True)
class HotRoute:
    """One hot route. `template` holds `{name}` for one path segment, or a part of one; `openapi` is its documentation.

    `rest`: a last parameter may hold a slash, and so stands for the whole rest of a decoded path.
    `early`: its parameters are the model and perhaps a version, and it may be refused by the head alone (`serving.early`).
    """

    method: str
    template: str
    handler: HotHandler
    summary: str = ""
    openapi: dict[str, Any] = field(default_factory=dict)
    early: bool = False
    streamed: Streamed | None = None
    rest: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(_PARAMETER.findall(self.template))

    @property
    def mounted(self) -> str:
        """The template as the framework takes it. It matches decoded paths, so that a last parameter that holds a percent-encoded
        slash, which the table finds in the path's bytes, is the whole rest there.
        """
        head, _, name = self.template.rpartition("/")
        return f"{head}/{{{name[1:-1]}:rest}}" if self.rest and _PARAMETER.fullmatch(name) else self.template

    def documentation(self) -> dict[str, Any]:
        """The route's part of the OpenAPI document: its path parameters, and what `openapi` adds."""
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in self.names]
        return {"parameters": parameters, **self.openapi} if parameters else dict(self.openapi)

    def pattern(self) -> re.Pattern[bytes]:
        """The template as an expression over a path's bytes, with a group for each parameter."""
        parts = _PARAMETER.split(self.template)
        text = "".join("([^/]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        return re.compile(text.encode())


Found = tuple[HotHandler, tuple[str, ...]]


class HotRoutes:
    """The table of hot routes, in the order they were added; the first that fits is taken.

    `limit_body` raises or lowers the limit of a body's bytes for paths under a prefix, hot or not.
    """

    def __init__(self, routes: Iterable[HotRoute] = ()) -> None:
        self.routes: list[HotRoute] = []
        self.body_limits: list[tuple[bytes, int]] = []
        self.early: set[HotHandler] = set()
        self.streamed: list[tuple[re.Pattern[bytes], Streamed]] = []
        self._patterns: list[tuple[bytes, re.Pattern[bytes], HotHandler]] = []
        # Keyed by path within a dict a method: cheaper than a tuple made for each request.
        self._seen: dict[bytes, dict[bytes, Found]] = {}
        for route in routes:
            self.add(route)

    def add(self, route: HotRoute) -> None:
        self.routes.append(route)
        if route.early:
            self.early.add(route.handler)
        self._patterns.append((route.method.encode(), route.pattern(), route.handler))
        if route.streamed is not None:
            self.streamed.append((route.pattern(), route.streamed))
        self._seen = {method.encode(): {} for method in {route.method for route in self.routes}}

    def extend(self, routes: "HotRoutes | Iterable[HotRoute]") -> None:
        if isinstance(routes, HotRoutes):
            self.body_limits.extend(routes.body_limits)
            routes = routes.routes
        for route in routes:
            self.add(route)

    def limit_body(self, prefix: str, limit_bytes: int) -> None:
        self.body_limits.append((prefix.encode(), limit_bytes))

    def body_limit(self, path: bytes, default: int) -> int:
        """The most bytes that a body sent to `path` may have."""
        for prefix, limit in self.body_limits:
            if path.startswith(prefix):
                return limit
        return default

    def streamed_form(self, path: bytes, headers: Mapping[bytes, bytes]) -> Streamed | None:
        """The streamed form that a request asks for; None for an ordinary one."""
        for pattern, streamed in self.streamed:
            if streamed.matches(headers) and pattern.fullmatch(path):
                return streamed
        return None

    def find(self, method: bytes, path: bytes) -> Found | None:
        """The handler and the decoded parameters of a path without its query; None if no hot route fits."""
        seen = self._seen.get(method)
        if seen is None:
            return None
        found = seen.get(path)
        return found if found is not None else self._match(method, path, seen)

    def _match(self, method: bytes, path: bytes, seen: dict[bytes, Found]) -> Found | None:
        for wanted, pattern, handler in self._patterns:
            if wanted != method:
                continue
            match = pattern.fullmatch(path)
            if match is None:
                continue
            found = handler, tuple(unquote(part.decode("latin-1")) for part in match.groups())
            if len(path) <= _CACHED_PATH_BYTES:
                if len(seen) >= _CACHED_PATHS:
                    seen.clear()
                seen[path] = found
            return found
        return None
