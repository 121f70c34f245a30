"""The topics that the relay writes, looked at before it writes them: the markers', which is its memory, and a model's requests.

The markers' topic is made whenever it is missing, for the relay alone knows of it; those of models only where the settings say so
(`--kafka_create_topics`). What is wrong with a topic is said with how to mend it.
"""

import logging
from dataclasses import replace

from penstock_transformer.broker.opening import open_admin
from penstock_transformer.broker.port import BrokerError
from penstock_transformer.broker.settings import TopicSettings
from penstock_transformer.broker.topics import Fault, markers_topic, model_topics, prepare, requests_topic

logger = logging.getLogger(__name__)


class RelayTopics:
    """Sees to it that topics are there. Blocking calls, each once a topic."""

    def __init__(self, settings: TopicSettings) -> None:
        self._settings = settings

    def markers(self) -> None:
        """Raises BrokerError for a markers' topic that forgets."""
        settings = replace(self._settings, kafka_create_topics=True)
        admin = open_admin(settings)
        try:
            _judge(prepare(admin, settings, [markers_topic(settings)]))
        finally:
            admin.close()

    def requests(self, model: str) -> None:
        """Raises BrokerError for a model's requests that cannot be written as they should be."""
        admin = open_admin(self._settings)
        try:
            faults = prepare(admin, self._settings, model_topics(self._settings, model))
        finally:
            admin.close()
        # Who reads the other two looks after them.
        _judge([fault for fault in faults if fault.topic == requests_topic(model)])


def _judge(faults: list[Fault]) -> None:
    for fault in faults:
        if fault.grave:
            raise BrokerError(str(fault))
        logger.warning("topic", extra={"reason": str(fault)})
