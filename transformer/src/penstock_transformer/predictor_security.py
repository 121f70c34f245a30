"""How the transformer's calls reach a predictor safely: TLS, its own certificate, and its credential."""

from dataclasses import dataclass
from pathlib import Path

from penstock.serving.security.client_tls import ClientTls, Credential
from penstock.settings import setting


@dataclass(frozen=True, kw_only=True)
class PredictorSecurity:
    """Settings of the way to the predictors. Files are followed while they change."""

    predictor_use_ssl: bool = setting(False, "Call predictors over https where an address does not say how.")
    predictor_tls_ca: Path | None = setting(  # noqa: RUF009
        None, "PEM file with the authorities of the predictors' certificates (else the system's); means --predictor_use_ssl."
    )
    predictor_tls_cert: Path | None = setting(None, "PEM file with the certificate that predictors are shown (mutual TLS).")  # noqa: RUF009
    predictor_tls_key: Path | None = setting(None, "PEM file with that certificate's key.")  # noqa: RUF009
    predictor_token_file: Path | None = setting(None, "File with the API key or token that predictors are sent.")  # noqa: RUF009

    @property
    def over_tls(self) -> bool:
        """Whether an address without a scheme means https."""
        return self.predictor_use_ssl or self.predictor_tls_ca is not None or self.predictor_tls_cert is not None

    def client_tls(self) -> ClientTls:
        """TLS for https addresses. Raises InvalidInput."""
        return ClientTls(self.predictor_tls_ca, self.predictor_tls_cert, self.predictor_tls_key, option="predictor_tls")

    def credential(self) -> Credential | None:
        """Raises InvalidInput."""
        path = self.predictor_token_file
        return None if path is None else Credential(path, "predictor_token_file")
