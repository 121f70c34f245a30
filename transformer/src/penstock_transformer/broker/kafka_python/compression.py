"""Codecs: what kafka-python needs a further package for, said with the package's name where it is missing."""

import re

from penstock_transformer.broker.port import BrokerError

PACKAGES = {"snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}


def missing(what: str, error: Exception) -> BrokerError:
    """The error of a codec that kafka-python, whose own `error` names it, has no package for."""
    named = re.search(r"Libraries for (\w+)", str(error))
    codec = named[1] if named else "an unknown codec"
    package = PACKAGES.get(codec)
    mend = f"install the package {package}, or take --kafka_client confluent" if package else "take --kafka_client confluent"
    return BrokerError(f"{what}: {codec} is not understood here: {mend}")
