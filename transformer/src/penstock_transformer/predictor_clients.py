"""The clients of predictors, all made by the same settings: one for each entry of a route, or the one that is followed.

Transformer --connect(address) | fixed(address)--> PredictorClient --> pods
"""

from penstock.dataplane import DataPlane
from penstock_transformer.loading import Close
from penstock_transformer.predictor_client import PredictorClient
from penstock_transformer.settings import PipelineSettings


class PredictorClientFactory:
    """Makes clients by the settings; owns the one that a transformer without a route file keeps for its whole life."""

    def __init__(self, settings: PipelineSettings) -> None:
        self._settings = settings
        self.api = settings.api()
        self._tls = settings.client_tls()
        self._credential = settings.credential()
        self._fixed: PredictorClient | None = None

    def make(self, address: str) -> PredictorClient:
        settings = self._settings
        return PredictorClient(
            address,
            timeout_s=settings.predictor_timeout_ms / 1e3,
            connect_timeout_s=settings.connect_timeout_ms / 1e3,
            max_connections=settings.predictor_connections,
            max_age_s=settings.connection_age_s,
            over_tls=settings.over_tls,
            tls=self._tls,
            credential=self._credential,
            api=self.api,
        )

    def connect(self, address: str) -> tuple[DataPlane, Close]:
        """A client for one entry of a route, and what closes it."""
        client = self.make(address)
        return client, client.close

    def fixed(self, address: str) -> DataPlane:
        """The client of the one predictor."""
        self._fixed = self.make(address)
        return self._fixed

    async def close(self) -> None:
        if self._fixed is not None:
            await self._fixed.close()
