"""The whole circle without a cluster: served, logged, told, found to be bad, asked for, retrained, and applied.

The flights' own model answers `penstock serve`. Its callers live in another world than the one it was trained in: there, long
flights are late. So its accuracy passes the bound, and a model that is trained on the log is better.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner

from penstock.bundle.reading import Bundle, open_bundle
from penstock.features.document import write_document
from penstock.features.reading import read_spec
from penstock.features.spec import StoreLayout, ViewLayout
from penstock.features.writing import store_fields
from penstock.testing.kubernetes import KubernetesServer
from penstock.testing.server import ServerProcess
from penstock.testing.servers import free_port
from penstock.testing.waiting import until
from penstock_cli.__main__ import penstock
from penstock_transformer.feedback.folder import LogFolder
from penstock_transformer.feedback.trigger.bundles import Bundles
from penstock_transformer.store.opening import open_store
from penstock_transformer.store.port import RowWrite

# Servers, a bundle's build and a training: minutes where others use the machine.
pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[3]
FLIGHTS = ROOT / "examples/flights"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAIT_S = 120.0
REQUESTS, ROWS = 12, 40
_TABLE = (
    "CREATE TABLE flights_{0} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, value_num REAL,"
    " vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY (entity_key, feature_name))"
)
_NUMBERS = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
# As the example's Feast repository has it; to ask Feast itself takes longer than all the rest.
LAYOUT = StoreLayout(
    "flights",
    3,
    {
        "flights": ViewLayout(
            {"flight_id": "string"},
            {"carrier": "string", "origin": "string", "dest": "string", "tailnum": "string", "distance": "double",
             "departs": "unix_timestamp", "hour_utc": "int64"},
        ),
        "planes": ViewLayout({"tailnum": "string"}, {"built": "int64", "seats": "int64", "engines": "int64"}),
        "weather": ViewLayout({"origin": "string", "hour": "int64"}, dict.fromkeys(_NUMBERS, "double")),
        "airports": ViewLayout({"faa": "string"}, dict.fromkeys(("lat", "lon", "alt"), "double")),
    },
)  # fmt: skip


def invoke(*arguments: object) -> tuple[int, str]:
    found = CliRunner().invoke(penstock, [str(argument) for argument in arguments])
    return found.exit_code, found.output


async def fill(url: str) -> None:
    """Planes, weather and airports that requests name."""
    chance = random.Random(4)
    store = open_store(url, LAYOUT)
    await store.start()
    rows = [RowWrite("planes", (f"N{at}",), {"built": 1990 + at, "seats": 100 + 9 * at, "engines": 2}, 1e9) for at in range(9)]
    for hour in range(9):
        values = {name: chance.random() * 50 for name in _NUMBERS}
        rows.append(RowWrite("weather", ("EWR", hour), values, 1e9))
    rows += [RowWrite("airports", (f"A{at}",), {"lat": 30.0 + at, "lon": -80.0 - at, "alt": 9.0 * at}, 1e9) for at in range(9)]
    await store.write(rows)
    await store.close()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The example's bundle, in a folder of bundles."""
    folder = tmp_path_factory.mktemp("circle")
    features = folder / "features.yaml"
    features.write_text((FLIGHTS / "features.yaml").read_text() + "\n" + write_document({"store": store_fields(LAYOUT)}))
    assert read_spec(features.read_text()).store == LAYOUT
    status, said = invoke(
        "bundle", "build", FLIGHTS / "model.onnx", "--features", features, "--describe", FLIGHTS / "bundle.draft.yaml",
        "--examples", FLIGHTS / "examples.csv", "--out", folder / "bundles/flights-1",
    )  # fmt: skip
    assert status == 0, said
    return open_bundle(folder / "bundles/flights-1")


@pytest.fixture(scope="module")
def server(base: Bundle) -> Iterator[ServerProcess]:
    assert base.directory is not None
    folder = base.directory.parent.parent
    with sqlite3.connect(folder / "online.db") as connection:
        for view in LAYOUT.views:
            connection.execute(_TABLE.format(view))
            connection.execute(f"CREATE INDEX flights_{view}_ek ON flights_{view} (entity_key)")
    connection.close()
    url = f"sqlite:///{folder / 'online.db'}"
    asyncio.run(fill(url))
    options = (
        "--feature_store",
        url,
        "--log_rate",
        "1",
        "--log_dir",
        str(folder / "log"),
        "--log_part_s",
        "0.3",
        "--log_level",
        "info",
    )
    with ServerProcess("penstock_cli.serve", str(base.directory), *options, cwd=str(folder)) as server:
        yield server


def rows(chance: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "carrier": chance.choice(["UA", "EV", "DL"]), "origin": "EWR", "distance": chance.uniform(100, 2500),
            "departs": 1.38e9 + chance.randrange(10**7), "tailnum": f"N{chance.randrange(9)}", "dest": f"A{chance.randrange(9)}",
            "hour_utc": chance.randrange(9),
        }
        for _ in range(ROWS)
    ]  # fmt: skip


async def ask_and_tell(url: str) -> int:
    """Requests, and what became of each flight; how many outcomes were taken."""
    chance = random.Random(3)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=8)) as http:
        told = []
        for _ in range(REQUESTS):
            asked = rows(chance)
            answer = await http.post("/models/flights/predict", json={"rows": asked})
            assert answer.status_code == 200, answer.text
            path = f"/predictions/{answer.headers['x-request-id']}/outcome"
            for at, row in enumerate(asked):
                late = (row["distance"] > 1200) != (chance.random() < 0.1)
                told.append(http.post(path, json={"row": at, "label": "late" if late else "on time"}))
        answers = await asyncio.gather(*told)
    return sum(answer.status_code == 202 for answer in answers)


def test_bundles_are_found_by_digest_in_folders_and_on_servers(base: Bundle, server: ServerProcess, tmp_path: Path) -> None:
    assert base.directory is not None
    for place in (base.directory, base.directory.parent, base.directory.parent.parent, server.url):
        found = Bundles(str(place), "flights").find(base.digest)
        assert found is not None, place
        assert found.digest == base.digest
        assert "profile.json" in found.files
        assert Bundles(str(place), "flights").find(f"sha256:{'0' * 64}") is None
    assert Bundles(server.url, "other").find(base.digest) is None
    assert Bundles(f"http://127.0.0.1:{free_port()}", "flights").find(base.digest) is None
    assert Bundles("", "flights").find(base.digest) is None
    # One that was changed is none.
    copy = tmp_path / "copy"
    shutil.copytree(base.directory, copy)
    (copy / "profile.json").write_text("{}")
    assert Bundles(str(copy), "flights").find(base.digest) is None


@pytest.mark.slow
def test_the_whole_circle(
    base: Bundle, server: ServerProcess, receiver: Any, kubernetes: KubernetesServer, tmp_path: Path
) -> None:
    assert base.directory is not None
    bundles = base.directory.parent
    log = bundles.parent / "log"
    assert asyncio.run(ask_and_tell(server.url)) == REQUESTS * ROWS
    until(lambda: len(list(LogFolder(log, "flights").rows())) == REQUESTS * ROWS, WAIT_S, "rows in the log")

    file = tmp_path / "watch.yaml"
    document = {
        "model": "flights", "window": "1h", "every": "1s", "leastRows": 200, "bundles": server.url, "log": str(log),
        "quality": {"accuracy": {"least": 0.8}}, "drift": {"features": 0.3}, "action": {"webhook": receiver.url},
    }  # fmt: skip
    file.write_text(yaml.safe_dump(document))

    def watched() -> str | None:
        # The window ends with a whole second, so that the last rows are in the next one.
        status, said = invoke("feedback", "watch", log, file)
        return said if status == 3 and f"{REQUESTS * ROWS} rows" in said else None

    assert "distance of the feature origin from training" in str(until(watched, WAIT_S, "every row in the window"))

    receiver.statuses = [503]
    event = triggered(log, file, receiver)
    assert event["data"]["digest"] == base.digest
    assert event["data"]["outcomes"] == REQUESTS * ROWS
    names = {reason["name"] for reason in event["data"]["reasons"]}
    assert {"accuracy", "origin"} <= names
    # A point in time is never that of training, and says nothing.
    assert "departs" not in names

    namespace = kubernetes.namespace("circle")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(kubernetes.kubeconfig(namespace)))
    more = {"runtime": {"replicas": {"min": 2}}, "rollout": {"steps": [50, 100], "margins": {"latencyP99": 1.5}}}
    place = ("--namespace", namespace, "--kubeconfig", kubeconfig)
    said = retrain(event, log, bundles, "--apply", "--spec", json.dumps(more), *place)
    judged = re.search(r"(\d+) rows predicted, 0 refused", said)
    assert judged is not None, said
    assert int(judged[1]) == bundle_rows(said), "judged by rows that it has seen"
    (made,) = [path for path in bundles.iterdir() if path.is_dir() and path != base.directory]
    bundle = open_bundle(made)
    assert bundle.features is not None
    assert bundle.features.store == LAYOUT
    assert bundle.manifest.card["evaluation"]["auc"] > 0.8
    path = f"/apis/penstock.dev/v1alpha1/namespaces/{namespace}/modelversions/{made.name}"
    applied = kubernetes.request("GET", path)
    assert applied["spec"]["bundle"] == {"uri": f"pvc://bundles/{made.name}", "digest": bundle.digest}
    assert (applied["spec"]["inferenceService"], applied["spec"]["rollout"]["strategy"]) == ("flights", "evidence")
    # Flights that the old model calls on time are late here: a model that knows must not be taken back for that.
    assert applied["spec"]["rollout"]["margins"]["disagreement"] > 0.2
    assert (applied["spec"]["runtime"]["replicas"]["min"], applied["spec"]["rollout"]["steps"]) == (2, [50, 100])
    assert applied["spec"]["rollout"]["margins"]["latencyP99"] == 1.5
    assert applied["metadata"]["annotations"]["penstock.dev/retraining"] == event["id"]
    written = yaml.safe_load((bundles / f"{made.name}.yaml").read_text())
    assert written["spec"]["bundle"] == applied["spec"]["bundle"]


def triggered(log: Path, file: Path, receiver: Any) -> dict[str, Any]:
    """The event that the program sends, twice since the receiver was away; its signature holds."""
    options = ("--log_dir", str(log), "--watch", str(file), "--look_s", "0.1", "--webhook_first_retry_s", "0")
    secret = {"PENSTOCK_TRANSFORMER_WEBHOOK_SECRET": SECRET}
    with ServerProcess("penstock_transformer", *options, env=secret, program=("retrain-trigger",)) as trigger:
        until(lambda: len(receiver.received) >= 2, WAIT_S, "the event, twice")
        under_way = 'penstock_retrain_state{model="flights",state="under_way"} 1.0'
        until(lambda: under_way in httpx.get(f"{trigger.url}/metrics", timeout=30).text, WAIT_S, "a retraining under way")
        text = httpx.get(f"{trigger.url}/metrics", timeout=30).text
    assert 'penstock_retrain_passed{kind="quality",model="flights",name="accuracy"} 1.0' in text
    first, second = receiver.received
    assert first.body == second.body
    assert second.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    content = f"{second.headers['webhook-id']}.{second.headers['webhook-timestamp']}.".encode() + second.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    assert second.headers["webhook-signature"] == f"v1,{signature}"
    event: dict[str, Any] = json.loads(second.body)
    assert event["id"] == second.headers["webhook-id"]
    return event


def bundle_rows(said: str) -> int:
    """How many rows the script's own figures are of."""
    found = re.search(r"'flights': (\d+)", said)
    assert found is not None, said
    return int(found[1])


def retrain(event: dict[str, Any], log: Path, bundles: Path, *more: object) -> str:
    """What the example's script says, told as a Job's containers are."""
    command = [sys.executable, FLIGHTS / "retrain.py", "--log", log, "--base", bundles, "--out", bundles, *more]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "PENSTOCK_RETRAIN_EVENT": json.dumps(event)}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True, text=True, timeout=400, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
