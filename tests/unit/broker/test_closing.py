"""What stands on several connections leaves all of them, though one cannot be left in order."""

from typing import Any

import pytest

from penstock_transformer.broker.confluent.admin import ConfluentAdmin
from penstock_transformer.broker.confluent.intake import ConfluentIntake
from penstock_transformer.broker.confluent.reader import ConfluentReader
from penstock_transformer.broker.port import Retriable


class Part:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True
        raise Retriable("away")


@pytest.mark.parametrize(
    ("kind", "names"),
    [(ConfluentIntake, ("_headers", "_consumer", "_places", "_offsets")), (ConfluentReader, ("_headers", "_consumer"))],
)
def test_all_are_left(kind: Any, names: tuple[str, ...]) -> None:
    # Opened in earnest it would want a broker.
    made, parts = object.__new__(kind), [Part() for _ in names]
    for name, part in zip(names, parts, strict=True):
        setattr(made, name, part)
    with pytest.raises(Retriable):
        made.close()
    assert all(part.closed for part in parts)


def test_an_admin_leaves_its_groups_and_its_reader() -> None:
    made, parts = object.__new__(ConfluentAdmin), [Part() for _ in range(3)]
    vars(made).update(_groups={"a": parts[0], "b": parts[1]}, _reader=parts[2])
    with pytest.raises(Retriable):
        made.close()
    assert all(part.closed for part in parts)
