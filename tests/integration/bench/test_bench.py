"""Each benchmark runs with its smallest settings, its table comes out, and the page and plot are made of the results.

All of them run at once: what they measure here does not count, and no figure is looked at except for being there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[3] / "bench"
NEEDS = {
    "predictor": ("wrk",),
    "pipeline": ("wrk", "redis-server"),
    "stages": ("wrk", "redis-server"),
    "feature_store": ("redis-server",),
    "start_up": (),
    "overload": ("wrk",),
    "peers": ("wrk",),
    "latency": ("wrk",),
    "many_rows": ("wrk",),
}
SMALLEST = {
    "pipeline": ["--entities", "1000"],
    "stages": ["--entities", "1000"],
    "feature_store": ["--seconds", "0.1"],
    # The others have to be installed first.
    "peers": ["--peers", "penstock,FastAPI", "--models", "small,words", "--connections", "1"],
    "latency": ["--peers", "penstock"],
    "many_rows": ["--models", "small"],
}
LIMIT_S = 280

Finished = tuple[int, str, str]


def missing(name: str) -> list[str]:
    return [program for program in NEEDS[name] if shutil.which(program) is None]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Finished]]:
    """A benchmark's exit status, output and error output."""
    directory = tmp_path_factory.mktemp("bench")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = {}
    for name in NEEDS:
        if missing(name):
            continue
        command = [
            sys.executable,
            str(BENCH / f"{name}.py"),
            "--rounds",
            "1",
            "--seconds",
            "1",
            "--json",
            *SMALLEST.get(name, []),
        ]
        with (directory / f"{name}.out").open("wb") as output, (directory / f"{name}.err").open("wb") as errors:
            started[name] = subprocess.Popen(command, stdout=output, stderr=errors, env=environment, cwd=directory)

    def wait(name: str) -> Finished:
        if name not in started:
            pytest.skip(f"{' and '.join(missing(name))} not installed (Debian: apt-get install {' '.join(missing(name))})")
        status = started[name].wait(LIMIT_S)
        return status, (directory / f"{name}.out").read_text(), (directory / f"{name}.err").read_text()

    yield wait
    for process in started.values():
        if process.poll() is None:
            process.terminate()
            process.wait(30)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A module of bench/, which is no package."""
    monkeypatch.syspath_prepend(str(BENCH))
    return import_module


def result_of(finished: Callable[[str], Finished], name: str) -> dict[str, Any]:
    status, output, errors = finished(name)
    assert status == 0, errors
    result: dict[str, Any] = json.loads(output)
    return result


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", list(NEEDS))
def test_table_comes_out(finished: Callable[[str], Finished], bench: Callable[[str], Any], name: str) -> None:
    result = result_of(finished, name)
    lines = list(bench(name).table(result))
    tables = [line for line in lines if line.startswith("|")]
    assert result["bench"] == name
    assert set(tables[1]) == {"|", "-"}
    assert len(tables) >= 2 + len(result["rows"])
    assert {"nan", "inf", "None"}.isdisjoint(" ".join(lines).split())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_table_of_stages_adds_up(finished: Callable[[str], Finished]) -> None:
    for row in result_of(finished, "stages")["rows"]:
        assert sum(row["stages"].values()) == pytest.approx(row["cpu_us"], abs=0.02)
        # A step that fell between two ticks of a busy machine's clock may count for nothing; most of them do not.
        assert sum(us > 0 for us in row["stages"].values()) > len(row["stages"]) / 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_page_holds_each_result_and_the_plot(
    finished: Callable[[str], Finished], bench: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench("run")
    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "PLOT", tmp_path / "benchmarks.png")
    for name in ("stages", "start_up"):
        result = result_of(finished, name) | {"measured": "2026-01-01", "rounds": 1, "seconds": 1}
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
    standing = "# Benchmarks\n\n## Latency at a given rate\n\nas it was\n\n## Start-up and memory\n\nolder\n"
    page = "\n".join(run.page(standing))
    assert page.count("\n## ") == 3
    assert "\n## Latency at a given rate\n\nas it was" in page
    assert "older" not in page
    assert "](benchmarks.png)" in page
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_failed_benchmark_is_named_and_the_others_are_written(
    bench: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench("run")
    (tmp_path / "good.py").write_text(
        "import json\nif __name__ == '__main__': print(json.dumps({'rows': []}))\ndef table(result): yield '| fine |'\n"
    )
    (tmp_path / "bad.py").write_text("import sys\nsys.exit('bench/bad.py needs abacus')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "RESULTS", tmp_path / ".bench")
    monkeypatch.setattr(run, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(run, "BENCHES", {"bad": "Bad", "good": "Good"})
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "bad,good"])
    with pytest.raises(SystemExit, match="bad failed"):
        run.main()
    assert "FAILED bad: bench/bad.py needs abacus" in capsys.readouterr().out
    assert "| fine |" in (tmp_path / "benchmarks.md").read_text()
    assert "## Bad" not in (tmp_path / "benchmarks.md").read_text()


def test_missing_programs_are_named(bench: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="needs wrk and redis-server"):
        bench("rig").require("bench/stages.py", "wrk", "redis-server")
