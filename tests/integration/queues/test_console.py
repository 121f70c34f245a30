"""The console in a real browser, by keyboard: what it shows, what it asks before it acts, what it says then, and who may not."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from penstock.serving.security.keys import new_key
from penstock.serving.security.scopes import read_scope
from penstock.testing.browser import Browser, Tab
from penstock.testing.programs import ProgramMissing

AXE = "axe-core@4.14.1"
EVIL = b"<img src=x onerror=\"document.title='owned'\">"
ROWS = "document.querySelectorAll('#letter-rows tr')"
SAID = "document.getElementById('said').textContent"
FOCUSED = "(document.activeElement.getAttribute('aria-label') || document.activeElement.id)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        opened = Browser()
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with opened:
        yield opened


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """An operator's key and a reader's, and the file of both."""
    scopes = {"operator": ("admin",), "reader": ("read:*",)}
    made = {name: new_key(name, frozenset(map(read_scope, given))) for name, given in scopes.items()}
    file = tmp_path / "keys"
    file.write_text("".join(f"{entry.line()}\n" for _, entry in made.values()))
    return {name: key for name, (key, _) in made.items()} | {"file": str(file)}


def focus(tab: Tab, row: int, button: str) -> None:
    """Walk to a row's button with the tab key."""
    for _ in range(60):
        tab.press("Tab")
        if tab.value(f"{ROWS}[{row}]?.contains(document.activeElement) && document.activeElement.textContent") == button:
            return
    raise AssertionError(f"{button} of row {row} is not reached; the focus is on {tab.value(FOCUSED)}")


def test_an_operator_replays_one_and_drops_one_by_keyboard(place: Any, browser: Browser, wait: Any) -> None:
    place.watch()
    place.worker()
    place.send({"rows": [{"a": "far"}]}, EVIL)
    wait(lambda: place.letters_figures().get("waiting") == 2, "two dead letters")
    before = len(place.seen(place.requests))
    with browser.tab(f"{place.url}/console/queues") as tab:
        tab.wait(f"{ROWS}.length === 2")
        # No figure is read out by itself, and each has its heads.
        assert tab.value("[...document.querySelectorAll('[aria-live]')].map((one) => one.id)") == ["said"]
        heads = tab.value("[...document.querySelectorAll('#models thead th')].every((one) => one.scope === 'col')")
        assert heads
        assert tab.value("document.querySelectorAll('main').length") == 1
        assert "rows[0].a: expected a number, got 'far'" in tab.value("document.body.innerText")

        # Looked into: as text, and only then.
        assert "onerror" not in tab.value("document.body.innerText")
        focus(tab, 0, "Show")
        tab.press("Enter")
        tab.wait("document.getElementById('value').textContent !== ''")
        assert tab.value("document.getElementById('value').textContent") == EVIL.decode()
        assert tab.value("document.title") == "Queues - Penstock"
        tab.press("Escape")
        tab.wait("!document.getElementById('whole').open")
        assert tab.value(FOCUSED).startswith("Show dead letter")

        # Asked first, with the focus on what does nothing.
        focus(tab, 1, "Replay")
        tab.press("Enter")
        tab.wait("document.getElementById('confirm').open")
        assert tab.value(FOCUSED) == "confirm-no"
        tab.press("Enter")
        tab.wait("!document.getElementById('confirm').open")
        assert tab.value(SAID) == ""
        assert tab.value(FOCUSED).startswith("Replay dead letter")
        assert len(place.seen(place.requests)) == before

        tab.press("Enter")
        tab.press("Tab")
        assert tab.value(FOCUSED) == "confirm-yes"
        tab.press("Enter")
        tab.wait(f"{SAID}.endsWith('was replayed.')")
        assert len(place.seen(place.requests)) == before + 1
        # It comes back as another letter, and the page shows that by itself.
        tab.wait("document.getElementById('letters-summary').textContent.startsWith('2 waiting, 1 replayed, 0 dropped')")

        tab.wait(f"{ROWS}.length === 2")
        focus(tab, 0, "Drop")
        tab.press("Enter")
        tab.press("Tab")
        tab.press("Enter")
        tab.wait(f"{SAID}.endsWith('was dropped.')")
        tab.wait(f"{ROWS}.length === 1")
        assert tab.value(FOCUSED) == "letters-heading"
        tab.value("document.getElementById('done').click()")
        tab.wait(f"{ROWS}.length === 3")
        assert tab.value(f"[...{ROWS}].filter((row) => row.classList.contains('settled')).length") == 2
        assert tab.complaints == []


def test_who_may_only_read_sees_no_payload_and_changes_nothing(
    place: Any, browser: Browser, wait: Any, keys: dict[str, str]
) -> None:
    place.watch("--api_keys", keys["file"])
    place.worker()
    place.send({"rows": [{"a": "far"}]})
    operator = {"authorization": f"Bearer {keys['operator']}"}
    wait(lambda: place.get("/queues", headers=operator)["models"][0]["dead_letters"]["waiting"] == 1, "a dead letter")
    with browser.tab(f"{place.url}/console/queues") as tab:
        tab.wait("!document.getElementById('sign-in').hidden")
        assert tab.value(FOCUSED) == "key"
        assert tab.value("document.getElementById('letters').hidden")
        tab.value("globalThis.loaded = 'once'")
        tab.type("penstock_000000000000_wrong")
        tab.press("Enter")
        tab.type("penstock_000000000000_wrong_too")
        tab.press("Enter")
        tab.wait(f"{SAID}.startsWith('Not signed in: ')")
        assert tab.value("globalThis.loaded") == "once"
        tab.wait(f"{FOCUSED} === 'key'")
        tab.type(keys["reader"])
        tab.press("Enter")
        tab.wait(f"{ROWS}.length === 1")
        page = tab.value("document.body.innerText")
        assert "invalid_input" in page
        assert "rows[0].a" in page
        assert "far" not in page
        for button, words in (("Replay", "not seen to"), ("Drop", "not seen to")):
            focus(tab, 0, button)
            tab.press("Enter")
            tab.press("Tab")
            tab.press("Enter")
            tab.wait(f"{SAID}.includes('{words}') && {SAID}.includes('admin')")
        focus(tab, 0, "Show")
        tab.press("Enter")
        tab.wait("document.getElementById('value-note').textContent.startsWith('It cannot be shown')")
        assert keys["reader"] not in tab.value("document.documentElement.outerHTML")
    assert len(place.seen(place.requests)) == 1


# A server that has refused a key, and is still saying why.
REFUSES_SLOWLY = """((fetched) => {
  globalThis.fetch = (path, options) => {
    if (!(options.headers.authorization || "").endsWith("refused-slowly")) return fetched(path, options);
    const says = (body) => options.signal.addEventListener("abort", () => body.error(options.signal.reason));
    globalThis.refusing = true;
    return Promise.resolve(new Response(new ReadableStream({ start: says }), { status: 401 }));
  };
})(globalThis.fetch)"""


def test_a_key_that_is_given_while_another_one_is_being_refused_is_tried(
    place: Any, browser: Browser, keys: dict[str, str]
) -> None:
    place.watch("--api_keys", keys["file"])
    with browser.tab(f"{place.url}/console/queues") as tab:
        tab.wait(f"!document.getElementById('sign-in').hidden && {FOCUSED} === 'key'")
        tab.value(REFUSES_SLOWLY)
        tab.type("refused-slowly")
        tab.press("Enter")
        tab.wait("globalThis.refusing")
        tab.type(keys["reader"])
        tab.press("Enter")
        tab.wait("document.getElementById('sign-in').hidden")


def test_the_page_shows_that_the_server_went_and_came(place: Any, browser: Browser) -> None:
    server = place.watch()
    port = server.port
    with browser.tab(f"{place.url}/console/queues") as tab:
        tab.wait("document.getElementById('state').textContent === 'Live.'")
        server.stop()
        tab.wait("document.getElementById('state').className === 'state away'")
        place.watch("--http_port", str(port))
        tab.wait("document.getElementById('state').textContent === 'Live.'")


def test_a_database_in_which_nothing_waits_says_so(place: Any, browser: Browser, tmp_path: Path) -> None:
    # With a broker it is a relay that takes what is handed in, and none runs here.
    place.watch("--database", f"sqlite:///{tmp_path / 'predictions.db'}")
    with browser.tab(f"{place.url}/console/queues") as tab:
        both = "[...document.querySelectorAll('#database-idle, #database-table')]"
        seen = f"{both}.filter((one) => one.checkVisibility()).map((one) => one.id).join()"
        tab.wait(f"{seen} === 'database-idle'")
        assert httpx.post(f"{place.url}/models/{place.model}/predictions", json={"rows": [{"a": 1}]}).status_code == 202
        tab.wait(f"{seen} === 'database-table'")
        assert tab.value("document.getElementById('backlogs').innerText").split()[:3] == [place.model, "1", "0"]


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, which looks for what keeps people out."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm: apt-get install npm")
    folder = tmp_path_factory.mktemp("axe")
    install = [npm, "install", "--no-audit", "--no-fund", "--silent", AXE]
    if subprocess.run(install, cwd=folder, capture_output=True).returncode:
        pytest.skip(f"needs {AXE} from an npm registry")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.mark.parametrize("scheme, width", [("light", 1300), ("dark", 780), ("light", 320)])
def test_nobody_is_kept_out(place: Any, browser: Browser, wait: Any, axe: str, scheme: str, width: int) -> None:
    place.watch()
    place.worker()
    place.send({"rows": [{"a": "far"}]}, EVIL)
    wait(lambda: place.letters_figures().get("waiting") == 2, "two dead letters")
    with browser.tab(f"{place.url}/console/queues", media={"prefers-color-scheme": scheme}, width=width) as tab:
        tab.wait(f"{ROWS}.length === 2")
        tab.value(f"{axe};1")
        look = "axe.run(document).then((found) => JSON.stringify(found.violations.map((one) => [one.id, one.nodes[0].html])))"
        assert json.loads(tab.value(look)) == []
        focus(tab, 0, "Show")
        tab.press("Enter")
        tab.wait("document.getElementById('value').textContent !== ''")
        assert json.loads(tab.value(look)) == []
        # What can be done is in sight, however narrow the page.
        assert tab.value(f"[...{ROWS}].every((row) => row.querySelector('.actions').getBoundingClientRect().right <= innerWidth)")


def test_the_files_are_guarded_against_everything_foreign(place: Any, keys: dict[str, str]) -> None:
    place.watch("--api_keys", keys["file"])
    scripts = (".js", "/letters.js", "/page.js", "/server.js")
    for path, kind in (("", "text/html"), (".css", "text/css"), *((path, "text/javascript") for path in scripts)):
        answer = httpx.get(f"{place.url}/console/queues{path}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
        policy = answer.headers["content-security-policy"]
        for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert rule in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in answer.text.replace("http://127.0.0.1", "")
        assert "https://" not in answer.text
        again = httpx.get(f"{place.url}/console/queues{path}", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    page = httpx.get(f"{place.url}/console/queues").text
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="queues.js"></script>') == 1
    assert httpx.get(f"{place.url}/queues").status_code == 401
