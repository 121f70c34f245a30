"""Chaos: every process of asynchronous serving is killed at random moments while requests come; then everything is counted.

    tests/chaos/run.py [--kills 1000] [--minutes M] [--seed 0] [--kills_a_second 1.0] [--client kafka-python|confluent]
                       [--hangs 0.0] [--cancels 0.0] [--clock_steps 0]

`kill -9`; what was killed starts again at once. Of all kills the share `--hangs` are SIGSTOP instead, and SIGCONT when sessions
and transactions have run out. The share `--cancels` of all submissions is canceled, each at a random moment. With `--clock_steps`
the wall clock of all our programs is stepped so often, an hour forward and back, before anybody is killed. After `--minutes`
nobody more is killed, however many were. After every tenth kill one prediction has to go all the way before the next.

Exits 1 if an id was lost or doubled, or if the database says other than Kafka, or other than who canceled was told, or if
everything stood still. However it ends, at SIGTERM and SIGINT too, what was taken until then is counted. The seed decides who is
killed and after how long; what the machine makes of it is chance.
"""

import argparse
import math
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hangs
import httpx
from cancels import Cancels
from cast import MODEL, Cast, Program
from clock import HOUR_S, Clock
from judge import DEAD_LETTERS, PREDICTIONS, Judge, Verdict
from load import Produced, Submissions
from topics import make_topics

# The broker and the database take seconds to come back, during which the others have nothing to do: they are killed less often.
WEIGHTS = {"worker-0": 5, "worker-1": 5, "relay": 4, "sink": 4, "predictor": 3, "transformer": 3, "broker": 1, "database": 1}
_QUIET_S = 90.0
# After so many kills one prediction has to go all the way: what is killed is a system at work, however slow the machine.
_AT_WORK_EVERY = 10
_AT_WORK_S = 300.0
# Predictions that are taken between two steps of the clock.
_BETWEEN_STEPS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills_a_second", type=float, default=1.0)
    parser.add_argument("--client", default="kafka-python", choices=("kafka-python", "confluent"))
    parser.add_argument("--clock_steps", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--hangs", type=float, default=0.0)
    parser.add_argument("--cancels", type=float, default=0.0)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = Path(tempfile.mkdtemp(prefix="penstock-chaos-"))
    print(f"logs: {directory}", flush=True)
    clock = Clock(directory) if given.clock_steps else None
    environment = (clock.environment if clock else {}) | (hangs.ENVIRONMENT if given.hangs else {})
    with Cast(directory, client=given.client, environment=environment) as cast:
        sys.exit(chaos(cast, given, clock))


def chaos(cast: Cast, given: argparse.Namespace, clock: Clock | None = None) -> int:
    """Step the clock and kill so many times; the exit status."""
    make_topics(cast.kafka.bootstrap)
    await_one(cast)
    cancels = Cancels(cast.url, given.cancels, given.seed)
    submissions = Submissions(cast.url, 0.02, cancels.note)
    produced = Produced(cast.kafka.bootstrap, 0.05, given.seed)
    for thread in (submissions, produced, cancels):
        thread.start()
    if clock is not None:
        step(clock, given.clock_steps, submissions)
    killed, stopped = Counter[str](), list[str]()
    with noted(stopped):
        kill(cast, given, killed)
    for thread in (submissions, produced, cancels):
        with noted(stopped):
            thread.stop()
    submitted, foreign = set(submissions.taken), set(produced.taken)
    judge = Judge(cast.kafka.bootstrap, cancels.answers)
    try:
        judge.read_until_all(submitted | foreign, _QUIET_S)
        judge.ask_states(cast.url, submitted, _QUIET_S)
        if stopped or judge.verdict.lost(submitted | foreign):
            print("\n".join(judge.where_it_stands(f"penstock-{MODEL}")), flush=True)
    finally:
        judge.close()
    print(f"kills {killed.total()}: {counted(killed)}")
    ends = Counter({name: target.ends for name, target in cast.targets.items() if isinstance(target, Program) and target.ends})
    print(f"ended by themselves {ends.total()}: {counted(ends)}")
    return report(judge.verdict, submitted, foreign) or int(bool(stopped))


@contextmanager
def noted(stopped: list[str]) -> Iterator[None]:
    """What ends this early is printed and noted, and all is counted nevertheless. Who asks for the end a second time gets it."""
    try:
        yield
    except RuntimeError as error:
        print(f"stands still: {error}", flush=True)
        stopped.append(str(error))
    except KeyboardInterrupt:
        print("told to end", flush=True)


def report(verdict: Verdict, submitted: set[str], foreign: set[str]) -> int:
    """Print what became of all; the exit status."""
    lost, doubled, disagreeing = verdict.lost(submitted | foreign), verdict.doubled(), verdict.disagreeing(submitted)
    records = ", ".join(f"{topic} {verdict.seen[topic].total()}" for topic in (PREDICTIONS, DEAD_LETTERS))
    print(f"taken {len(submitted)} over HTTP, {len(foreign)} on Kafka; records: {records} ({counted(verdict.reasons)})")
    if verdict.answers:
        canceled = verdict.canceled()
        print(f"cancels {len(verdict.answers)}: canceled {canceled.total()} ({counted(canceled)} its request was published)")
    print(f"lost {len(lost)}, doubled {len(doubled)}, disagreeing {len(disagreeing)}", flush=True)
    if disagreeing:
        states = Counter(verdict.states.get(name, "not to be had") for name in disagreeing)
        print(f"said of those: {counted(states)}", flush=True)
    for kind, names in (("lost", lost), ("doubled", doubled), ("disagreeing", disagreeing)):
        if names:
            print(f"{kind}: {', '.join(sorted(names)[:20])}", flush=True)
    return 1 if lost or doubled or disagreeing else 0


def counted(counts: Counter[str]) -> str:
    """Each with its number."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def kill(cast: Cast, given: argparse.Namespace, killed: Counter[str]) -> None:
    """Kill and start again, or let hang; `killed`: who was how often. Raises RuntimeError if all of it stands still."""
    with hangs.Hangs(cast.targets, random.Random(given.seed)) as hanging:
        try:
            kill_some(cast, given, killed, hanging)
        finally:
            hanging.end()
            for target in cast.targets.values():
                if not target.running:
                    target.start()
            if hanging.begun:
                own = f"{hanging.succeeded} had a successor by then, {hanging.stopped} stopped by themselves"
                print(f"of those, hangs {hanging.begun.total()}: {counted(hanging.begun)}; {own}", flush=True)


def kill_some(cast: Cast, given: argparse.Namespace, killed: Counter[str], hanging: hangs.Hangs) -> None:
    """As many as are asked for, or as long."""
    chance, names, began, longest_s = random.Random(given.seed), list(WEIGHTS), time.monotonic(), 0.0
    while killed.total() < given.kills and time.monotonic() < began + 60 * given.minutes:
        time.sleep(chance.uniform(0, 2 / given.kills_a_second))
        hanging.go_on()
        name = chance.choices(names, [WEIGHTS[name] for name in names])[0]
        target = cast.targets[name]
        if not target.running:
            target.start()
            continue
        if not (given.hangs and chance.random() < given.hangs and hanging.begin(name)):
            hanging.forget(name)
            target.kill()
            target.start()
        killed[name] += 1
        if killed.total() % _AT_WORK_EVERY == 0:
            asked = time.monotonic()
            await_one(cast, hanging.go_on)
            now = time.monotonic()
            longest_s = max(longest_s, now - asked)
            print(f"{killed.total()} kills after {now - began:.0f} s, longest wait {longest_s:.0f} s", flush=True)


def step(clock: Clock, steps: int, submissions: Submissions) -> None:
    """Step the clock, each time once predictions were taken since the last."""
    for number in range(steps):
        until = len(submissions.taken) + _BETWEEN_STEPS
        deadline = time.monotonic() + 60
        while len(submissions.taken) < until:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing is taken after {number} steps of the clock; the logs say why")
            time.sleep(0.05)
        offset_s = (HOUR_S, 0, -HOUR_S, HOUR_S, -HOUR_S, 0)[number % 6]
        clock.step_to(offset_s)
        print(f"the clock is {offset_s:+d} s off", flush=True)


def await_one(cast: Cast, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Return when one prediction has gone all the way. Raises RuntimeError if it does not: the system stands still."""
    deadline = time.monotonic() + _AT_WORK_S
    taken = ""
    while time.monotonic() < deadline:
        meanwhile()
        try:
            # However much waits before it: it is asked for again, and not sent again.
            answer = httpx.get(f"{cast.url}/predictions/{taken}", timeout=10.0) if taken else submit_one(cast.url)
            if answer.is_success:
                taken = answer.json()["id"]
                if answer.json()["state"] == "succeeded":
                    return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"no prediction within {_AT_WORK_S:g} s; the logs say why")


def submit_one(url: str) -> httpx.Response:
    """One that can be predicted."""
    return httpx.post(f"{url}/models/{MODEL}/predictions", json={"rows": [{"a": 1.0}]}, timeout=10.0)


if __name__ == "__main__":
    main()
