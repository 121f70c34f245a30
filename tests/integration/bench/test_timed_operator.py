"""What bench/timed_operator.py tells of the operator's judgements: each is counted, with the processor's time that it took."""

import json
import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[3] / "bench"
# In a process of its own: the operator's functions are replaced for good.
PROGRAM = """
import asyncio, json, sys, time
from pathlib import Path

import timed_operator
from penstock_operator.judgement import LOOK_S
from penstock_operator.simulation.world import World

path, world = Path(sys.argv[1]), World()
for name, digit, strategy in (("flights-1", "a", "immediate"), ("flights-2", "b", "evidence")):
    world.add_version(name, "sha256:" + digit * 64, rollout={"strategy": strategy})
    asyncio.run(world.settle())
timed_operator.make_file(path)
timed_operator.tell(path)
began = time.thread_time()
for _ in range(3):
    world.now += LOOK_S
    asyncio.run(world.operate())
print(json.dumps([timed_operator.read_spent(path), time.thread_time() - began]))
"""


def test_each_judgement_is_counted_with_its_time(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "times")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(BENCH)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    spent, took_s = json.loads(done.stdout)
    (judging_s, judged), (testing_s, tested) = spent["judge"], spent["analyse"]
    # One whose words are due is tested a second time, for these.
    assert 3 == judged <= tested
    assert 0.0 < testing_s < judging_s < took_s
