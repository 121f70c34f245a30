"""The transformer's own client over TLS: servers it can believe, its certificate, its credential, and files that change."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.dataplane import Context, InferRequest, infer
from penstock.errors import InvalidInput, PenstockError, UpstreamUnavailable
from penstock.serving.security.client_tls import ClientTls, Credential
from penstock.serving.security.tls import TlsSettings
from penstock.tensors import Tensor
from penstock.testing.certificates import Authority
from penstock.testing.server import ServerProcess
from penstock_transformer.predictor_client import PredictorClient
from penstock_transformer.settings import TransformerSettings

ECHO = "penstock.testing.echo_server"


def ask(make: Callable[[], PredictorClient], *, times: int = 1) -> Any:
    """The echo of a client that is made, used and closed on a loop of its own; or the error."""

    async def body() -> Any:
        client = make()
        try:
            for _ in range(times):
                request = InferRequest(
                    "echo", [Tensor.from_flat("x", "FP32", (1, 2), [1.0, 2.0])], Context("r", deadline=time.monotonic() + 10)
                )
                response = await infer(client, request)
            await client.metadata("echo")
            return response.outputs[0].name
        except PenstockError as error:
            return error
        finally:
            await client.close()

    return asyncio.run(body())


def test_calls_over_mutual_tls_with_a_credential(trust: Any, keys: Any, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(keys.by_name["echo"] + "\n")
    tls = ("--tls_cert", str(trust.server.cert), "--tls_key", str(trust.server.key), "--tls_client_ca", str(trust.ca))
    with ServerProcess(ECHO, *tls, "--api_keys", str(keys.path), "--drain_delay_s", "0") as server:
        address = f"localhost:{server.port}"
        ours = ClientTls(trust.ca, trust.client.cert, trust.client.key)

        def client(**changes: Any) -> PredictorClient:
            return PredictorClient(
                **{
                    "address": address,
                    "over_tls": True,
                    "tls": ours,
                    "credential": Credential(token, "x"),
                    "connect_timeout_s": 15.0,
                    **changes,
                }
            )

        assert ask(client, times=3) == "x"
        assert ask(lambda: client(address=f"https://{address}", over_tls=False)) == "x"
        stranger = ClientTls(trust.ca, trust.stranger.cert, trust.stranger.key)
        unbelieving = ClientTls(Authority("another").write(tmp_path / "another.pem"))
        for changes, words in (
            ({"tls": ClientTls(trust.ca)}, f":{server.port} closed the connection"),
            ({"tls": stranger}, f":{server.port} closed the connection"),
            ({"tls": unbelieving}, "TLS: "),
            ({"tls": None}, "TLS: "),
            ({"over_tls": False}, "closed the connection"),
        ):
            error = ask(lambda changes=changes: client(**changes))  # type: ignore[misc]
            assert isinstance(error, UpstreamUnavailable), (changes, error)
            assert words in error.message, changes
        told = [line for line in map(json.loads, server.lines) if line["event"] == "TLS handshake refused"]
        assert [(line["peer"], line["reason"]) for line in told] == [("127.0.0.1", "peer did not return a certificate")]
        error = ask(lambda: client(credential=None))
        assert "answered 401" in str(error)
        assert keys.by_name["echo"] not in "".join(server.lines)


def test_a_certificate_for_another_name_is_not_believed(trust: Any, tmp_path: Path) -> None:
    pair = trust.authority.issue(tmp_path, "elsewhere", host="elsewhere.example")

    async def body() -> None:
        listener = TlsSettings(pair.cert, pair.key).server_context()
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=listener) as server:
            port = server.sockets[0].getsockname()[1]
            client = PredictorClient(f"localhost:{port}", over_tls=True, tls=ClientTls(trust.ca))
            with pytest.raises(UpstreamUnavailable, match="Hostname mismatch"):
                await client.metadata("echo")
            await client.close()

    asyncio.run(body())


def test_our_own_files_are_followed(trust: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.serving.security.watching.LOOK_S", 0.0)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trust.ca.read_bytes())
    tls = ClientTls(ca)
    first = tls.context()
    assert tls.context() is first
    ca.write_text("broken")
    assert tls.context() is first
    Authority("another").write(ca)
    assert tls.context() is not first
    token = tmp_path / "token"
    token.write_text("one")
    credential = Credential(token, "predictor_token_file")
    assert credential.line() == b"Authorization: Bearer one\r\n"
    token.write_text("three")
    assert credential.line() == b"Authorization: Bearer three\r\n"
    token.write_text("two\r\nX-Evil: 1")
    assert credential.line() == b"Authorization: Bearer three\r\n"


def settings(**options: Any) -> TransformerSettings:
    return TransformerSettings(model_name="m", predictor_host="p", **options)


def test_settings_that_cannot_work(trust: Any, tmp_path: Path) -> None:
    assert settings().over_tls is False
    assert settings(predictor_use_ssl=True).over_tls
    assert settings(predictor_tls_ca=trust.ca).over_tls
    with pytest.raises(InvalidInput, match="--predictor_tls_cert and --predictor_tls_key together"):
        settings(predictor_tls_cert=trust.client.cert).client_tls()
    with pytest.raises(InvalidInput, match="predictor_tls_ca: cannot read /nowhere"):
        settings(predictor_tls_ca=Path("/nowhere")).client_tls()
    (tmp_path / "token").write_text("two words")
    with pytest.raises(InvalidInput, match="expected one key or token") as caught:
        settings(predictor_token_file=tmp_path / "token").credential()
    assert "two words" not in str(caught.value)
    with pytest.raises(InvalidInput, match="cannot read"):
        settings(predictor_token_file=Path("/nowhere")).credential()
