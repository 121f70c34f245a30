"""Every named point of asynchronous serving is one at which a test ends the process; and nobody names one that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "transformer" / "src" / "penstock_transformer"
AREAS = ("broker", "predictions", "relay", "sink", "updates", "worker")
POINT = re.compile(r'failpoint\("([a-z_.]+)"\)')
NAMED = re.compile(r'"([a-z_]+\.[a-z_]+)(?:=kill(?:@\d+)?)?"')


def test_each_point_is_one_at_which_a_test_kills() -> None:
    points = {name for area in AREAS for path in (SOURCES / area).rglob("*.py") for name in POINT.findall(path.read_text())}
    assert len(points) > 20
    tests = [path.read_text() for path in (ROOT / "tests" / "integration").rglob("*.py")]
    killed = {name for text in tests if "=kill" in text for name in NAMED.findall(text)}
    assert points - killed == set()
