"""The options: as KServe injects them, and wrong ones."""

import pytest

from penstock.settings import parse, variables
from penstock_transformer.settings import INJECTED, PREFIX, TransformerSettings


def read(*argv, **env):
    return parse(TransformerSettings, argv, env, PREFIX, injected=INJECTED)


def test_what_kserve_injects():
    given = read(
        "--model_name", "flights", "--predictor_host", "flights-predictor.default", "--http_port", "8080", "--workers", "4",
        "--predictor_protocol", "v2", "--predictor_use_ssl=false",
    )  # fmt: skip
    assert (given.model_name, given.predictor_host, given.http_port, given.workers) == (
        "flights",
        "flights-predictor.default",
        8080,
        4,
    )


KSERVE = ("--model_name", "m", "--predictor_host", "p", "--http_port", "8080")


@pytest.mark.parametrize("later", [("--enable_foresight", "true"), ("--enable-foresight=true",), ("--enable_foresight",)])
def test_what_a_later_kserve_injects_is_told_and_left_out(later, capsys):
    given = read(*KSERVE, *later, "--workers", "2")
    assert (given.http_port, given.workers) == (8080, 2)
    told = capsys.readouterr().err
    assert "warning: unknown option --enable_foresight" in told
    assert "true" not in told


@pytest.mark.parametrize("misspelt", ["--feature_stor", "--feature-sotre", "--predictor_timeout", "--max_batch_row"])
def test_a_misspelt_option_is_refused_beside_what_kserve_injects(misspelt, capsys):
    with pytest.raises(SystemExit) as caught:
        read(*KSERVE, misspelt, "1")
    assert caught.value.code == 2
    assert "unknown option" in capsys.readouterr().err


def test_hyphens_and_environment():
    given = read("--model-name", "m", PENSTOCK_TRANSFORMER_PREDICTOR_HOST="p:81", PENSTOCK_TRANSFORMER_BATCHES_IN_FLIGHT="2")
    assert (given.predictor_host, given.batches_in_flight) == ("p:81", 2)
    assert "PENSTOCK_TRANSFORMER_FEATURE_STORE" in variables(TransformerSettings, PREFIX)


@pytest.mark.parametrize(
    "argv", [("--model_name", "m"), ("--predictor_host", "p"), ("--model_name", "m", "--predictor_host", "p", "--colour", "red")]
)
def test_wrong(argv, capsys):
    with pytest.raises(SystemExit) as caught:
        read(*argv)
    assert caught.value.code == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given", [("--route_configmap", "mine"), ("--route_file", "/x"), ("--route_configmap", "none", "--predictor_host", "p")]
)
def test_where_predictions_come_from(given):
    assert read("--model_name", "m", *given).model_name == "m"


@pytest.mark.parametrize(
    "given", [("--route_configmap", "auto"), ("--route_configmap", "none"), ("--route_configmap", "mine", "--route_file", "/x")]
)
def test_nowhere_or_two_places_at_once(given, capsys):
    with pytest.raises(SystemExit):
        read("--model_name", "m", *given)
    assert "--route_file" in capsys.readouterr().err
