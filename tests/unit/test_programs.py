"""Foreign programs that are missing are told with how to get them."""

from pathlib import Path

import pytest

from penstock.testing.programs import ProgramMissing, perf_analyzer, program


@pytest.mark.parametrize("name, package", [("node", "nodejs"), ("chromium", "chromium"), ("curl", "curl")])
def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, package: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match=f"{name} is missing: apt-get install {package}"):
        program(name)


def test_perf_analyzer_is_found_in_the_cache_with_its_libraries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ProgramMissing, match=r"tools/get_judges\.py"):
        perf_analyzer()
    path = tmp_path / "penstock" / "perf_analyzer" / "bin" / "perf_analyzer"
    path.parent.mkdir(parents=True)
    path.touch()
    found = perf_analyzer()
    assert found.path == str(path)
    assert "cuda_runtime" in found.environment["LD_LIBRARY_PATH"]
