"""From nothing to a prediction over Kafka: what `make run-kafka` does once everything is installed.

    feature store and bundle, as `make run` makes them
    Kafka -> penstock-predictor -> penstock-transformer worker -> kcat writes a request -> kcat reads its prediction

Every command is shown as it runs; a user would type the same. The broker is a real Apache Kafka of its own, on a port that is
free, and is gone with its data when this ends.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run import ANOTHER, BUNDLE, DATA, FLIGHT, ROOT, STORE, free_port, outcome, prepare, relative, say, stop

from penstock.testing.kafka import KafkaServer
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.servers import ServerMissing

BIN = Path(sys.executable).parent
START_DEADLINE_S = 60.0
ANSWER_DEADLINE_S = 60.0
FORMAT = "key %k\\nheaders %h\\n%s\\n"


@contextmanager
def broker() -> Iterator[KafkaServer]:
    """Apache Kafka. Ctrl-C reaches this process and not the broker, which the worker needs to finish what it has begun."""
    server = KafkaServer()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        server.start()
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def started(name: str, port: int, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A program of Penstock's, ready; its log goes to .run/flights."""
    command = [*shlex.split(name), *arguments, "--http_port", str(port), "--admin_port", str(free_port(0))]
    say(shlex.join(command))
    path = DATA / f"{'-'.join(shlex.split(name))}.log"
    with path.open("wb") as log:
        # A session of its own, so that Ctrl-C reaches this process alone, which then stops the program in order.
        process = subprocess.Popen([BIN / command[0], *command[1:]], cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", path)
        yield process
    finally:
        stop(process)


def wait_until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Return once the program is ready. Raises SystemExit with its log if it stops or takes too long."""
    deadline = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{log.stem} did not start:\n{log.read_text()[-4000:]}")


def shown(command: Sequence[str], *, given: str = "") -> str:
    """Run a command of which everything is shown; what it prints. Raises SystemExit if it fails."""
    say((f"echo {shlex.quote(given)} | " if given else "") + shlex.join(command))
    real = [str(BIN / command[0]) if (BIN / command[0]).exists() else command[0], *command[1:]]
    done = subprocess.run(real, input=given, capture_output=True, text=True, timeout=ANSWER_DEADLINE_S, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr}")
    return done.stdout


def ask(bootstrap: str, identity: str, row: dict[str, str]) -> None:
    """Write a request with kcat, as any program could."""
    headers = ["-H", f"ce_id={identity}", "-H", "content-type=application/json"]
    kcat = ["kcat", "-P", "-b", bootstrap, "-t", "flights.requests", "-K", "|", *headers]
    shown(kcat, given=f"{identity}|{json.dumps({'rows': [row], 'options': {'data': False}})}")


def read(bootstrap: str, topic: str) -> str:
    """The first record of a topic, once it is committed."""
    kcat = ["kcat", "-C", "-b", bootstrap, "-t", topic, "-X", "isolation.level=read_committed", "-o", "beginning", "-c", "1"]
    return shown([*kcat, "-q", "-f", FORMAT])


def show(bootstrap: str) -> None:
    """A request and its prediction; a request that is wrong and its dead letter."""
    ask(bootstrap, FLIGHT, {"flight_id": FLIGHT})
    begun = time.monotonic()
    answer = read(bootstrap, "flights.predictions")
    print(answer.strip())
    prediction = json.loads(answer.strip().splitlines()[-1])["predictions"][0]
    say(f"{FLIGHT} will be {prediction['label']}, says the model (late: {prediction['scores']['late']:.0%}); {outcome()}")
    say(f"read {time.monotonic() - begun:.1f} s after kcat had written the request, most of it kcat's own start")
    ask(bootstrap, "no-such-flight", {"flight_id": "no such flight"})
    print(read(bootstrap, "flights.dead-letters").strip())
    print(shown(["penstock", "dead-letters", "list", "flights", "--kafka_bootstrap", bootstrap]).strip(), flush=True)


def show_next(bootstrap: str, port: int) -> None:
    """What to try next."""
    row = json.dumps({"rows": [{"flight_id": ANOTHER}]})
    print("\nKafka, the predictor and the worker are up. Try:")
    print(f"  kcat -C -b {bootstrap} -t flights.predictions -X isolation.level=read_committed -f '{FORMAT}'")
    print(f"  echo {shlex.quote(row)} | kcat -P -b {bootstrap} -t flights.requests")
    print(f"  penstock dead-letters replay flights --all --kafka_bootstrap {bootstrap}   (source .venv/bin/activate first)")
    print(
        f"  open http://127.0.0.1:{port}/console/queues    how the queues stand, and the dead letter, to be replayed or dropped"
    )
    print("Ctrl-C stops them.", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--once", action="store_true", help="stop after the predictions, for scripts")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        program("kcat")
        opening = broker()
        prepare()
        with ExitStack() as stack:
            say("starting Kafka")
            bootstrap = stack.enter_context(opening).bootstrap
            port = free_port(0)
            options = ["--model_name", "flights"]
            stack.enter_context(
                started("penstock-predictor", port, *options, "--model_dir", relative(BUNDLE), "--grpc_port", "-1")
            )
            options += ["--predictor_host", f"127.0.0.1:{port}", "--feature_store", f"sqlite:///{relative(STORE)}"]
            options += ["--kafka_bootstrap", bootstrap, "--kafka_create_topics", "true"]
            options += ["--kafka_replication", "1", "--kafka_min_insync", "1"]
            port = free_port(0)
            worker = stack.enter_context(started("penstock-transformer worker", port, *options))
            show(bootstrap)
            if not arguments.once:
                show_next(bootstrap, port)
                return worker.wait()
    except (ProgramMissing, ServerMissing) as missing:
        raise SystemExit(str(missing)) from None
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
