"""Opens the broker that a box of dead letters works with, by the settings of every part that speaks to Kafka."""

from penstock_transformer.broker.opening import open_admin, open_outlet, open_reader
from penstock_transformer.broker.port import Admin, Outlet, Reader
from penstock_transformer.broker.settings import BrokerSettings


class KafkaBroker:
    """Implements `dead_letter_box.Broker`."""

    def __init__(self, settings: BrokerSettings) -> None:
        self._settings = settings

    def reader(self) -> Reader:
        return open_reader(self._settings)

    def admin(self) -> Admin:
        return open_admin(self._settings)

    def outlet(self, transactional_id: str) -> Outlet:
        return open_outlet(self._settings, transactional_id)
