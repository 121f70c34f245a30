"""Calls on the admin port: their parameters, workers' answers merged, and how many workers there are."""

import asyncio

import pytest

from penstock.errors import NotFound
from penstock.serving.admin import AdminRoutes, first
from penstock.serving.server import worker_count


def routes() -> AdminRoutes:
    made = AdminRoutes()

    async def revision(arguments):
        return {"revision": int(arguments.get("n", 0)), "arguments": arguments}

    made.add("GET", "/route", revision, merge=lambda answers: min(answers, key=lambda answer: answer["revision"]))
    made.add("POST", "/v2/repository/models/{model}/load", revision)
    return made


def test_a_path_gives_its_parameters_and_they_win_over_the_body():
    question = {"method": "POST", "path": "/v2/repository/models/a%20b/load", "arguments": {"model": "other", "n": 3}}
    answer = asyncio.run(routes().answer(question))
    assert answer == {"revision": 3, "arguments": {"model": "a b", "n": 3}}


def test_answers_of_workers_are_merged_by_their_route():
    question = {"method": "GET", "path": "/route", "arguments": {}}
    assert routes().merged(question, [{"revision": 7}, {"revision": 5}]) == {"revision": 5}
    assert first([{"a": 1}, {"a": 2}]) == {"a": 1}


@pytest.mark.parametrize("method, path", [("POST", "/route"), ("GET", "/routes"), ("POST", "/v2/repository/models/a/b/load")])
def test_an_unknown_route_names_those_that_are(method, path):
    with pytest.raises(NotFound, match=r"GET /route, POST /v2/repository/models/\{model\}/load"):
        asyncio.run(routes().answer({"method": method, "path": path, "arguments": {}}))


@pytest.mark.parametrize(
    "asked, most, limit, count", [(4, None, 2, 2), (4, 1, 8, 1), (1, None, 8, 1), (0, None, 8, 1), (-3, None, 8, 1), (3, 5, 8, 3)]
)
def test_workers_are_capped(asked, most, limit, count):
    assert worker_count(asked, most, limit) == count
