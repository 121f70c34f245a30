"""A real browser opens /docs and presses Send, as somebody who predicts by hand does: what the page suggests is answered."""

import json
from typing import Any

import pytest

from penstock.testing.browser import Browser
from penstock.testing.programs import ProgramMissing, program
from penstock.testing.server import ServerProcess

PREDICT = "/models/flights/predict"
PRESS = """(async () => {
  const until = async (what) => {
    for (let look = 0; look < 600; look += 1) {
      const found = what();
      if (found) return found;
      await new Promise((next) => setTimeout(next, 50));
    }
    throw new Error(`never: ${what}`);
  };
  const sections = await until(() => {
    const found = [...document.querySelectorAll("details")];
    return found.length > 20 && found;
  });
  const said = {};
  for (const [method, path, kind] of %s) {
    const section = sections.find((one) => one.querySelector(".method").textContent === method
      && one.querySelector("summary .path").textContent === path);
    section.open = true;
    const types = [...section.querySelectorAll("select")].find((one) => [...one.options].some((option) => option.value === kind));
    if (kind) { types.value = kind; types.onchange(); }
    section.querySelector("button").click();
    const out = section.querySelector("pre");
    await until(() => /^\\d{3} /.test(out.textContent));
    said[`${method} ${path} ${kind}`] = out.textContent;
  }
  return said;
})()"""


def test_what_the_page_suggests_is_answered(server: ServerProcess) -> None:
    try:
        program("chromium")
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    asked = [
        ("POST", PREDICT, "application/json"),
        ("POST", PREDICT, "text/csv"),
        ("POST", PREDICT, "application/x-ndjson"),
        ("POST", "/v2/models/flights/infer", "application/json"),
        ("POST", "/v1/models/flights:predict", "application/json"),
        ("GET", "/v2/models/{model}", ""),
        ("GET", "/v2/health/ready", ""),
    ]
    with Browser() as browser:
        said: dict[str, Any] = browser.outcome(f"{server.url}/docs", PRESS % json.dumps(asked))
    assert {name: text[:3] for name, text in said.items()} == {" ".join(one): "200" for one in asked}
    answer = said[f"POST {PREDICT} application/json"]
    assert "penstock-bundle: flights@sha256:" in answer
    assert json.loads(answer.partition("\n\n")[2])["predictions"][0]["label"] in ("late", "on time")
