"""Random histories: edits, pods that die, an operator that dies between any two calls, caches that lag.

The world raises by itself when something happens that never may (its module says what). Here: whatever happened, the end is that
of a run in which nothing did.
"""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_operator.cluster import CONFIG_MAPS, INFERENCE_SERVICES, PODS
from penstock_operator.route import route_name
from penstock_operator.simulation.memory_cluster import MemoryCluster
from penstock_operator.simulation.watched_cluster import MODEL, NAMESPACE
from penstock_operator.simulation.world import World

NAMES = [f"flights-{number}" for number in range(1, 5)]
DIGESTS = {name: "sha256:" + str(number) * 64 for number, name in enumerate(NAMES, 1)}
OWN = "sha256:" + "f" * 64
ROLLOUTS: list[dict[str, Any]] = [
    {"strategy": "immediate"},
    {"strategy": "manual", "steps": [5, 50, 100]},
    {"strategy": "manual", "steps": [20, 100], "shadow": {"fraction": 0.5}},
    {"strategy": "manual", "steps": [100], "onNewerVersion": "queue", "keepForRollback": "0s"},
    {"strategy": "evidence", "steps": [5, 20, 50, 100], "baseline": True},
    {"strategy": "evidence", "steps": [20, 100], "baseline": True, "shadow": {"fraction": 0.5}},
]

Edit = tuple[str, int, int]
EDITS: st.SearchStrategy[Edit] = st.tuples(
    st.sampled_from(["add"] * 4 + ["promote"] * 3 + ["rollback", "pause", "resume", "delete", "later"]),
    st.integers(0, 3),
    st.integers(0, 5),
)
OFTEN = ["round"] * 6 + ["die"] * 3 + ["stale"] * 2 + ["apply one"] * 3
SELDOM = ["operate", "cache", "apply", "kill", "deaf", "gone", "broken"]
MOVES = st.lists(st.tuples(st.sampled_from(OFTEN + SELDOM), st.integers(0, 12)), max_size=40)
FASTER = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def begin(own: bool, bad: int) -> World:
    world = World({DIGESTS[NAMES[bad]]: "golden"} if bad < len(NAMES) else {})
    if own:
        world.apply_service(OWN, transformers=4)
    return world


async def edit(world: World, change: Edit) -> None:
    what, which, how = change
    name = NAMES[which]
    there = (("modelversions"), NAMESPACE, name) in world.cluster.objects
    match what:
        case "add" if not there:
            world.add_version(name, DIGESTS[name], rollout=ROLLOUTS[how])
        case "promote":
            world.annotate(name, promote=["5", "20", "50", "100", "20", "100"][how])
        case "rollback":
            world.annotate(name, rollback="asked for")
        case "pause":
            world.annotate(name, paused="true")
        case "resume":
            world.annotate(name, paused=None)
        case "delete" if there:
            await world.delete_version(name)
        case "later":
            world.now += 1800.0 * how


async def disturb(world: World, moves: list[tuple[str, int]]) -> None:
    cache: MemoryCluster | None = None
    for move, number in moves:
        match move:
            case "operate":
                await world.operate()
            case "die":
                await world.operate_and_die(number)
            case "cache":
                cache = world.keep_cache()
            case "stale" if cache is not None:
                await world.operate(cache)
            case "round":
                await world.round()
            case "apply":
                world.apply_route()
            case "apply one":
                world.apply_route(number)
            case "kill" if world.transformers:
                kill_transformer(world, number)
            case "deaf" if world.transformers:
                transformer = list(world.transformers.values())[number % len(world.transformers)]
                transformer.deaf = not transformer.deaf
            case "gone":
                found = sorted(world.services() - {MODEL})
                if found:
                    world.remove(INFERENCE_SERVICES, NAMESPACE, found[number % len(found)])
            case "broken":
                break_route(world, number)


def kill_transformer(world: World, number: int) -> None:
    """A pod dies, and its Deployment makes another."""
    uid = list(world.transformers)[number % len(world.transformers)]
    name = next((name for (plural, _, name), pod in world.cluster.objects.items() if pod["metadata"]["uid"] == uid), None)
    if name is None:
        return  # evicted a moment ago
    world.remove(PODS, NAMESPACE, name)
    world.add_transformer(name)


def break_route(world: World, number: int) -> None:
    key = (CONFIG_MAPS.plural, NAMESPACE, route_name(MODEL))
    if key not in world.cluster.objects:
        return
    if number % 2:
        world.remove(CONFIG_MAPS, NAMESPACE, route_name(MODEL))
    else:
        world.cluster.put(CONFIG_MAPS, {**world.cluster.objects[key], "data": {"route.yaml": "{"}})


def heal(world: World) -> None:
    for transformer in world.transformers.values():
        transformer.deaf = False


def ending(world: World) -> dict[str, Any]:
    """What users see at the end. When a version went live, and how often it had to try, is not part of it."""
    phases = {name: (world.status(name).get("stage"), world.status(name).get("weight")) for name in NAMES}
    # A route to the user's own bundle alone says what no route says, too, and so does one to versions that are all gone.
    route = world.route() if world.route().keys() & (world.services() - {MODEL}) else {}
    return {"phases": phases, "route": route, "services": world.services()}


@FASTER
@given(st.booleans(), st.integers(0, 7), st.lists(st.tuples(EDITS, MOVES), min_size=1, max_size=7))
def test_whatever_happens_between_two_edits_it_ends_as_if_nothing_had(
    own: bool, bad: int, history: list[tuple[Edit, list[tuple[str, int]]]]
) -> None:
    async def both() -> None:
        calm, rough = begin(own, bad), begin(own, bad)
        for change, moves in history:
            await edit(calm, change)
            await calm.settle()
            await edit(rough, change)
            await disturb(rough, moves)
            heal(rough)
            await rough.settle()
            assert ending(rough) == ending(calm), (change, moves)

    asyncio.run(both())


@FASTER
@given(st.booleans(), st.integers(0, 7), st.lists(st.one_of(EDITS, MOVES), max_size=25))
def test_edits_in_the_middle_of_everything_end_in_a_good_state(own: bool, bad: int, history: list[Any]) -> None:
    async def run() -> None:
        world = begin(own, bad)
        for part in history:
            if isinstance(part, tuple):
                await edit(world, part)
            else:
                await disturb(world, part)
        heal(world)
        await world.settle()
        check(world)

    asyncio.run(run())


def check(world: World) -> None:
    stages = {name: world.status(name).get("stage") for name in NAMES}
    route = world.route()
    weights = {name: weight for name, (weight, _) in route.items() if weight}
    assert not route or abs(sum(weights.values()) - 100) < 1e-6
    beside = {name for name in route if name.endswith("-base")}
    assert len(beside) <= 1
    # One that is paused before its first step has the pods of its baseline made, and takes them into the route when it goes on.
    waiting = {
        f"{name}-base" for name in NAMES if stages[name] in ("Joining", "Shadow") and world.status(name)["reason"] == "Paused"
    }
    assert beside <= {name for name in world.services() if name.endswith("-base")} <= beside | waiting
    given = sum(weights.pop(name, 0) for name in beside)
    for name, stage in stages.items():
        if stage in ("Failed", "RolledBack", "Retired", "Pending", None):
            assert name not in route
            assert name not in world.services()
        if stage == "Live":
            assert name in route
            assert weights.get(name, 0) + given == world.status(name)["weight"]
    assert sum(stage == "Live" for stage in stages.values()) <= 1
