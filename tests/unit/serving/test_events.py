"""Server-sent events: their form, as a browser reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.serving.events import format_event


def parsed(stream: bytes) -> list[dict[str, str]]:
    """Events as a browser reads them (WHATWG HTML, 9.2.6)."""
    events: list[dict[str, str]] = []
    event: dict[str, str] = {}
    for line in stream.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not line:
            if event:
                events.append(event)
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event[name]}\n{value}" if name == "data" and "data" in event else value
    return events


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_data_comes_through(text: str) -> None:
    (event,) = parsed(format_event(text.encode(), id="7", event="e", retry_ms=5))
    wanted = text.replace("\r\n", "\n").replace("\r", "\n")
    assert event == {"id": "7", "event": "e", "retry": "5", "data": wanted}


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
def test_an_id_cannot_smuggle_lines(bad: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        format_event(b"", id=bad)
    with pytest.raises(ValueError, match="line break"):
        format_event(b"", event=bad)
