"""Settings by command line, environment and file: every type, what is refused and how, and that no secret is ever printed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from penstock.serving.options import ServingSettings
from penstock.settings import build_parser, has_password, hide_password, parse, setting, shown, variables


@dataclass(frozen=True, kw_only=True)
class Example:
    model_name: str = setting(text="Name in URLs.")
    http_port: int = setting(8080, "Port.", most=65535)
    max_delay_ms: float = setting(0.0, "Wait this long; 100% sure.", unit="ms")
    fast: bool = setting(False, "Be fast.")
    model_dir: Path = setting(Path("/mnt/models"), "Where models are.")  # noqa: RUF009
    store: str | None = setting(None, "Store URL.", secret=True)
    tags: tuple[str, ...] = setting((), "Tags.")
    device: Literal["auto", "cpu"] = setting("auto", "Device.")
    limit: int | None = setting(None, "Limit.")

    def __post_init__(self) -> None:
        if self.http_port == 13:
            raise ValueError("http_port: 13 is unlucky")


def read(*argv: str, **env: str) -> Example:
    return parse(Example, argv, {f"PENSTOCK_X_{name.upper()}": value for name, value in env.items()}, "PENSTOCK_X")


def test_defaults():
    assert read("--model_name", "m") == Example(model_name="m")


def test_every_type_from_the_command_line():
    argv = "--model_name m --http_port 1 --max_delay_ms 2.5 --fast --model_dir /x --store redis://h "
    argv += "--tags a,b --device cpu --limit 7"
    expected = Example(
        model_name="m",
        http_port=1,
        max_delay_ms=2.5,
        fast=True,
        model_dir=Path("/x"),
        store="redis://h",
        tags=("a", "b"),
        device="cpu",
        limit=7,
    )
    assert read(*argv.split()) == expected
    assert read(*[part.replace("_", "-") if part.startswith("--") else part for part in argv.split()]) == expected


def test_every_type_from_the_environment():
    given = read(model_name="m", http_port="1", fast="yes", model_dir="/x", store="", tags="a, b", limit="")
    assert given == Example(model_name="m", http_port=1, fast=True, model_dir=Path("/x"), tags=("a", "b"))


def test_the_command_line_wins():
    assert read("--model-name=line", "--fast=false", model_name="env", fast="true") == Example(model_name="line")


def test_a_value_with_hyphens_stays_as_it_is():
    assert read("--model-name", "my-model", "--tags=a-b").model_name == "my-model"


@pytest.mark.parametrize(
    "argv, env, words",
    [
        ((), {}, ["--model_name", "PENSTOCK_X_MODEL_NAME", "required"]),
        (("--model_name", "m", "--http_port", "many"), {}, ["--http_port", "expected a whole number, got 'many'"]),
        (("--model_name", "m"), {"http_port": "many"}, ["PENSTOCK_X_HTTP_PORT", "expected a whole number"]),
        (("--model_name", "m", "--device", "tpu"), {}, ["expected one of auto, cpu", "tpu"]),
        (("--model_name", "m"), {"fast": "maybe"}, ["PENSTOCK_X_FAST", "true or false"]),
        (("--model_name", "m", "--modle_dir", "/x"), {}, ["unknown option --modle_dir; did you mean --model_dir?"]),
        (("--model_name", "m", "stray"), {}, ["unknown option stray; see --help"]),
        (("--model_name", "m", "--http_port", "-1"), {}, ["--http_port", "expected 0 to 65535, got -1"]),
        (("--model_name", "m", "--limit=-5"), {}, ["--limit", "expected 0 or more, got -5"]),
        (("--model_name", "m"), {"http_port": "65536"}, ["PENSTOCK_X_HTTP_PORT", "expected 0 to 65535, got 65536"]),
        (("--model_name", "m", "--max_delay_ms", "nan"), {}, ["--max_delay_ms", "expected a finite number, got 'nan'"]),
        (("--model_name", "m"), {"max_delay_ms": "inf"}, ["PENSTOCK_X_MAX_DELAY_MS", "expected a finite number"]),
        (("--model_name", "m", "--http_port", "13"), {}, ["13 is unlucky"]),
        (("--model", "m"), {}, ["--model"]),
    ],
)
def test_wrong_settings_exit_2_and_name_what_is_wrong(capsys, argv, env, words):
    with pytest.raises(SystemExit) as exit:
        read(*argv, **env)
    assert exit.value.code == 2
    written = capsys.readouterr().err
    for word in words:
        assert word in written


def test_a_secret_given_to_a_misspelt_option_is_not_printed(capsys):
    with pytest.raises(SystemExit):
        read("--model_name", "m", "--stroe=redis://user:word@h")
    written = capsys.readouterr().err
    assert "--stroe" in written
    assert "word" not in written


def test_what_kserve_injects_without_meaning_here_is_accepted():
    given = read(
        "--model_name",
        "m",
        "--predictor_protocol",
        "v2",
        "--enable_grpc=false",
        "--predictor-use-ssl",
        "false",
        "--http_port",
        "9",
    )
    assert given == Example(model_name="m", http_port=9)


def test_help_says_meaning_unit_default_and_variable(capsys):
    with pytest.raises(SystemExit) as exit:
        read("--help")
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Wait this long; 100% sure. (default 0.0 ms; PENSTOCK_X_MAX_DELAY_MS)" in text
    assert "Name in URLs. (required; PENSTOCK_X_MODEL_NAME)" in text


def test_secrets_are_not_shown():
    assert shown(Example(model_name="m", store="redis://user:word@h"))["store"] == "***"
    assert "word" not in repr(Example(model_name="m", store="redis://user:word@h"))
    assert shown(Example(model_name="m"))["store"] is None


def test_a_setting_without_a_text_is_refused():
    with pytest.raises(TypeError):
        setting(1)


def test_every_serving_setting_has_a_variable_and_a_help_text():
    assert "PENSTOCK_PREDICTOR_HTTP_PORT" in variables(ServingSettings, "PENSTOCK_PREDICTOR")
    build_parser(ServingSettings, "PENSTOCK_PREDICTOR").format_help()


@pytest.mark.parametrize(
    "text, hidden, has",
    [
        ("redis://:pw@h/0", "redis://***@h/0", True),
        ("redis://u:p/w#x@y@h", "redis://***@h", True),
        ("rediss://user@h", "rediss://***@h", False),
        ("postgresql://h/db?user=a&password=x", "postgresql://h/db?user=a&password=***", True),
        ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db", False),
        ("invalid DSN: postgresql://u:p@h/d is none", "invalid DSN: postgresql://***@h/d is none", True),
    ],
)
def test_passwords_of_urls_are_hidden(text, hidden, has):
    assert (hide_password(text), has_password(text)) == (hidden, has)


def test_a_password_on_the_command_line_is_refused_and_not_repeated(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(Example, ["--model_name", "m", "--store", "redis://:word@h"], {}, "PENSTOCK_EXAMPLE")
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "PENSTOCK_EXAMPLE_STORE_FILE" in said
    assert "word@" not in said


def test_a_secret_is_read_from_the_file_that_a_variable_names(tmp_path, capsys):
    (tmp_path / "url").write_text("redis://:word@h\n")
    env = {"PENSTOCK_EXAMPLE_STORE_FILE": str(tmp_path / "url")}
    assert parse(Example, ["--model_name", "m"], env, "PENSTOCK_EXAMPLE").store == "redis://:word@h"
    for wrong in ({**env, "PENSTOCK_EXAMPLE_STORE": "x"}, {"PENSTOCK_EXAMPLE_STORE_FILE": "/nowhere"}):
        with pytest.raises(SystemExit):
            parse(Example, ["--model_name", "m"], wrong, "PENSTOCK_EXAMPLE")
        assert "PENSTOCK_EXAMPLE_STORE_FILE" in capsys.readouterr().err
    assert "PENSTOCK_EXAMPLE_STORE_FILE" in variables(Example, "PENSTOCK_EXAMPLE")


def test_a_password_is_refused_on_the_command_line_and_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class WithPassword:
        password: str | None = setting(None, "A password.", password=True)

    with pytest.raises(SystemExit):
        parse(WithPassword, ["--password", "hunter2"], {}, "X")
    assert "hunter2" not in capsys.readouterr().err
    settings = parse(WithPassword, [], {"X_PASSWORD": "hunter2"}, "X")
    assert settings.password == "hunter2"
    assert "hunter2" not in repr(settings)
