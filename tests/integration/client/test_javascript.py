"""The JavaScript client: its own tests in Node, its types, and the same checks in a real browser, against the real server."""

import asyncio
import filecmp
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from penstock.client import AsyncClient, Client
from penstock.errors import Unauthenticated
from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope
from penstock.testing.browser import Browser
from penstock.testing.flights import serve_flights
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.server import ServerProcess

PACKAGE = Path(__file__).parents[3] / "clients" / "js"
TYPES = {".html": "text/html", ".js": "text/javascript"}


def found(name: str) -> str:
    try:
        return program(name)
    except ProgramMissing as missing:
        pytest.skip(str(missing))


def run_in_node(server: ServerProcess, **variables: str) -> None:
    node = found("node")
    bare = subprocess.run([node, "-p", "typeof WebSocket"], capture_output=True, text=True, check=True)
    options = "--experimental-websocket" if bare.stdout.strip() == "undefined" else ""
    environment = {**os.environ, "PENSTOCK_URL": server.url, "NODE_OPTIONS": options, **variables}
    files = sorted(str(path) for path in (PACKAGE / "test").glob("*.test.js"))
    command = [node, "--test", "--test-reporter=tap", *files]
    done = subprocess.run(command, cwd=PACKAGE, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counted = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert (counted["fail"], counted["skipped"]) == ("0", "0"), done.stdout
    assert int(counted["pass"]) > 20


def test_in_node(server: ServerProcess) -> None:
    run_in_node(server)


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    path = PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"
    if not path.exists():
        pytest.skip("typescript is missing: (cd clients/js && npm ci)")
    return [found("node"), str(path)]


def test_the_types_are_those_of_the_code(compiler: list[str], tmp_path: Path) -> None:
    command = [*compiler, "--project", "tsconfig.json", "--outDir", str(tmp_path)]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    made, kept = sorted(path.name for path in tmp_path.iterdir()), sorted(path.name for path in (PACKAGE / "types").iterdir())
    assert made == kept
    _, differing, odd = filecmp.cmpfiles(tmp_path, PACKAGE / "types", made, shallow=False)
    assert not differing + odd, f"types/ is out of date (npm run types): {differing + odd}"


def test_a_users_typescript(compiler: list[str]) -> None:
    command = [*compiler, "--project", "test/tsconfig.json"]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


def test_nothing_names_a_registry() -> None:
    assert '"resolved"' not in (PACKAGE / "package-lock.json").read_text()
    assert "omit-lockfile-registry-resolved=true" in (PACKAGE / ".npmrc").read_text()


class Front:
    """One origin for a page and the server: files under /page/, every other connection passed on byte by byte."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            if path.startswith("/page/"):
                writer.write(self.file(path.removeprefix("/page/").partition("?")[0]))
            else:
                upstream, sink = await asyncio.open_connection("127.0.0.1", self._upstream)
                sink.write(head)
                await asyncio.gather(self.pass_on(reader, sink), self.pass_on(upstream, writer))
        writer.close()

    @staticmethod
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    @staticmethod
    def file(name: str) -> bytes:
        path = (PACKAGE / name).resolve()
        if not path.is_relative_to(PACKAGE) or not path.is_file():
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        body = path.read_bytes()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {TYPES[path.suffix]}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body


def load(page: str, server: ServerProcess, query: str = "") -> object:
    """What became of the checks of a page, which its own origin serves too."""
    found("chromium")

    def outcome(url: str) -> object:
        with Browser() as browser:
            return browser.outcome(url, "globalThis.outcome")

    async def main() -> object:
        async with await asyncio.start_server(Front(server.port).serve, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            return await asyncio.to_thread(outcome, f"http://127.0.0.1:{port}/page/test/{page}{query}")

    return asyncio.run(main())


@pytest.fixture(scope="module")
def passed() -> dict[str, str]:
    names = re.findall(r"^  async (\w+)\(", (PACKAGE / "test" / "checks.js").read_text(), re.MULTILINE)
    return dict.fromkeys(names, "passed")


def test_in_a_browser(server: ServerProcess, passed: dict[str, str]) -> None:
    assert load("page.html", server) == passed


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A server that asks for a key and lets pages of any origin call; and a key."""
    folder = tmp_path_factory.mktemp("guarded")
    scopes = frozenset(read_scope(scope) for scope in ("predict:*", "read:*", "write:*"))
    key, entry = new_key("page", scopes)
    (folder / "keys").write_text(f"{entry.line()}\n")
    with serve_flights(folder, "--api_keys", str(folder / "keys"), "--cors_origins", "*") as running:
        yield running, key


def test_in_a_browser_from_another_origin_with_a_key(guarded: tuple[ServerProcess, str], passed: dict[str, str]) -> None:
    server, key = guarded
    assert load("page.html", server, f"?server={server.url}&token={key}") == passed


def test_in_node_with_a_key(guarded: tuple[ServerProcess, str]) -> None:
    server, key = guarded
    run_in_node(server, PENSTOCK_TOKEN=key)


def test_python_with_a_key(guarded: tuple[ServerProcess, str]) -> None:
    server, key = guarded
    with Client(server.url, token=key) as client:
        assert client.predict("flights", [{"distance": 1}]).model == "flights"
    with Client(server.url) as client, pytest.raises(Unauthenticated):
        client.predict("flights", [{"distance": 1}])

    async def main() -> None:
        inputs = {"distance": np.array([1], np.float32)}
        async with AsyncClient(server.url, token=key) as client, client.stream("flights") as stream:
            assert (await stream.infer(inputs)).model == "flights"
        async with AsyncClient(server.url) as client, client.stream("flights") as stream:
            with pytest.raises(Unauthenticated):
                await stream.infer(inputs)

    asyncio.run(main())


def test_a_page_without_a_key_is_told(guarded: tuple[ServerProcess, str], passed: dict[str, str]) -> None:
    server, _ = guarded
    outcome = load("page.html", server, f"?server={server.url}")
    assert isinstance(outcome, dict)
    assert "expected Authorization: Bearer" in outcome["rows"]
    assert "could not be reached" in outcome["stream"]


def test_a_page_of_an_origin_that_may_not_call(server: ServerProcess) -> None:
    outcome = load("page.html", server, f"?server={server.url}")
    assert isinstance(outcome, dict)
    assert "the connection failed before the answer" in outcome["rows"]


def test_an_npm_package_of_it_works(server: ServerProcess, tmp_path: Path) -> None:
    """What `npm pack` puts into the package is all that a user's import needs."""
    npm, node = found("npm"), found("node")
    packed = subprocess.run(
        [npm, "pack", "--silent", "--pack-destination", str(tmp_path)], cwd=PACKAGE, capture_output=True, text=True, check=True
    )
    modules = tmp_path / "node_modules" / "penstock-client"
    modules.mkdir(parents=True)
    shutil.unpack_archive(tmp_path / packed.stdout.strip(), tmp_path)
    shutil.copytree(tmp_path / "package", modules, dirs_exist_ok=True)
    script = (
        'import { Client } from "penstock-client";'
        f'const found = await new Client("{server.url}").predict("flights", [{{ distance: 500 }}]);'
        "console.log(found.predictions.length, found.bundle);"
    )
    (tmp_path / "script.mjs").write_text(script)
    done = subprocess.run([node, "script.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("1 flights@sha256:"), done.stderr
    assert sorted(path.name for path in modules.iterdir()) == ["README.md", "package.json", "src", "types"]
