"""From nothing to a prediction with stored features: what `make run` does once everything is installed.

    company data -> feature store (Feast's registry, SQLite) -> bundle -> `penstock serve` -> GET /predict/<flight>

Every step is a `penstock` command that is shown as it runs; a user would type the same. The commands run inside this process, so
that Feast is imported once and not six times. What was made stays in .run/flights: the second run only serves, until a file
that decides the bundle changes.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPOSITORY = HERE / "feature_repo"
DATA = ROOT / ".run/flights"
DATABASE = DATA / "company.db"
BUNDLE = DATA / "bundle"
STORE = DATA / "online.db"
PREDICTIONS = DATA / "predictions.db"
STAMP = DATA / "made-from"
FLIGHT = "20131223-EV-4131-EWR"
ANOTHER = "20131225-DL-731-LGA"
GRPC_PORT = 8081
PACKAGES = ("penstock", "penstock_transformer", "penstock_cli")
SOURCES = (".py", ".sql", ".yaml", ".onnx", ".csv")
START_DEADLINE_S = 60.0
STARTED = time.monotonic()


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def penstock(*arguments: str | Path) -> None:
    """One `penstock` command, shown and run in this process; a query is given by its file. Raises SystemExit if it fails."""
    from penstock_cli.__main__ import main

    shown, real = ["penstock"], []
    for argument in arguments:
        if isinstance(argument, Path) and argument.suffix == ".sql":
            shown.append(f'"$(cat {relative(argument)})"')
            real.append(argument.read_text())
        else:
            real.append(relative(argument) if isinstance(argument, Path) else argument)
            shown.append(shlex.quote(real[-1]))
    say(" ".join(shown))
    if status := main(real):
        raise SystemExit(status)


def sources_digest() -> str:
    """A digest of everything that decides what is in .run/flights: this example and the code that reads it."""
    packages = [Path(spec.origin).parent for name in PACKAGES if (spec := importlib.util.find_spec(name)) and spec.origin]
    files = [path for folder in (HERE, *packages) for path in folder.rglob("*") if path.suffix in SOURCES]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def fill_store() -> None:
    """Definitions to Feast's registry, then fleet, weather and schedule by SQL, airports by CSV."""
    say("writing the company's database, and importing Feast meanwhile (some seconds)")
    data = subprocess.Popen([sys.executable, HERE / "company.py", DATA], stdout=subprocess.DEVNULL)
    penstock("features", "apply", "--repo", REPOSITORY)
    if data.wait() != 0:
        raise SystemExit("the company's database could not be written")
    connection = f"sqlite:///{relative(DATABASE)}"
    for view in ("planes", "weather", "flights"):
        query = HERE / f"queries/{view}.sql"
        penstock("features", "load", view, "--repo", REPOSITORY, "--sql", query, "--connection", connection)
    penstock("features", "load", "airports", "--repo", REPOSITORY, "--csv", DATA / "airports.csv")


def build_bundle() -> None:
    """The trained model, its features and the layout of the store, under one digest."""
    penstock(
        "bundle", "build", HERE / "model.onnx", "--features", HERE / "features.yaml", "--feature_repo", REPOSITORY,
        "--describe", HERE / "bundle.draft.yaml", "--examples", HERE / "examples.csv", "--out", BUNDLE,
    )  # fmt: skip


def prepare() -> None:
    """Fill the store and build the bundle, unless that has been done from the same files."""
    wanted = sources_digest()
    if STAMP.exists() and STAMP.read_text() == wanted and BUNDLE.exists() and STORE.exists():
        say("store and bundle are there (.run/flights); remove that folder to make them anew")
        return
    STAMP.unlink(missing_ok=True)
    for path in (BUNDLE, DATA / "history", DATA / "registry.db", STORE):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    DATA.mkdir(parents=True, exist_ok=True)
    fill_store()
    build_bundle()
    STAMP.write_text(wanted)


def free_port(wanted: int) -> int:
    """`wanted`, or one that the kernel picks if it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                say(f"port {wanted} is taken, using another")
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port")


def serve(port: int) -> "subprocess.Popen[bytes]":
    """Start `penstock serve`; its log goes to .run/flights/serve.log."""
    command = ["penstock", "serve", relative(BUNDLE), "--feature_store", f"sqlite:///{relative(STORE)}"]
    command += ["--database", f"sqlite:///{relative(PREDICTIONS)}", "--http_port", str(port)]
    if (grpc_port := free_port(GRPC_PORT)) != GRPC_PORT:
        command += ["--grpc_port", str(grpc_port)]
    say(shlex.join(command))
    program = Path(sys.executable).parent / command[0]
    with (DATA / "serve.log").open("wb") as log:
        # A session of its own, so that Ctrl-C reaches this process alone, which then stops the server in order.
        return subprocess.Popen([program, *command[1:]], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def wait_until_ready(server: "subprocess.Popen[bytes]", address: str) -> None:
    """Return once the server is ready. Raises SystemExit with its log if it stops or takes too long."""
    deadline = time.monotonic() + START_DEADLINE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/v2/health/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise SystemExit(f"the server did not start:\n{(DATA / 'serve.log').read_text()[-4000:]}")


def get(url: str) -> dict[str, Any]:
    """The JSON at a URL. Raises SystemExit with the server's own message on an error."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"GET {url}: {error.code} {error.read().decode(errors='replace')}") from None


def show(address: str) -> None:
    """Predict one real flight by its id, over HTTP."""
    url = f"{address}/predict/{FLIGHT}"
    say(f"GET {url}")
    answer = get(url)
    print(json.dumps(answer, indent=2))
    prediction = answer["predictions"][0]
    say(f"{FLIGHT} will be {prediction['label']}, says the model (late: {prediction['scores']['late']:.0%}); {outcome()}")


def outcome() -> str:
    """What really became of the flight, from the company's database."""
    date, carrier, number, origin = FLIGHT.split("-")
    query = "SELECT arr_delay FROM flights WHERE month = ? AND day = ? AND carrier = ? AND flight = ? AND origin = ?"
    with closing(sqlite3.connect(DATABASE)) as connection:
        (delay,) = connection.execute(query, (int(date[4:6]), int(date[6:]), carrier, int(number), origin)).fetchone()
    return f"it came {abs(delay):.0f} minutes {'late' if delay > 0 else 'early'}"


def show_next(address: str) -> None:
    """What to try next."""
    commands = {
        f"curl {address}/predict/{ANOTHER}": "another flight",
        f"penstock predict --url {address} --record {ANOTHER}": "the same, as a table (source .venv/bin/activate first)",
        f"curl {address}/models/flights/predictions -d '{json.dumps({'rows': [{'flight_id': ANOTHER}]})}'": "later, by an id",
        f"curl {address}/predictions": "what was asked so, and what came of it",
        f"curl {address}/v2/models/flights": "what the model takes",
        f"open {address}/docs": "every path, to try by hand",
    }
    width = max(map(len, commands))
    print("\nThe server is up. Try:")
    for command, text in commands.items():
        print(f"  {command:{width}}  {text}")
    print("Ctrl-C stops it.", flush=True)


def stop(server: "subprocess.Popen[bytes]") -> None:
    """Let the server finish what it has begun, then end it."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def relative(path: Path) -> str:
    """A path as a user would type it at the root of the repository."""
    return str(path.relative_to(ROOT))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8080, help="port to serve on; another is taken if it is in use")
    parser.add_argument("--once", action="store_true", help="stop after the prediction, for scripts")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare()
    port = free_port(arguments.port)
    server = serve(port)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(server, address)
        show(address)
        if not arguments.once:
            show_next(address)
            return server.wait()
    except KeyboardInterrupt:
        print()
    finally:
        stop(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
