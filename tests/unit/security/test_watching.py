"""Files that change: by a swapped link, by renaming, in place; and how often they are looked at."""

import os
from pathlib import Path

from penstock.serving.security.watching import Watch
from penstock.testing.certificates import SecretMount


def test_every_way_of_changing_is_seen_once(tmp_path: Path) -> None:
    now = 0.0
    mount = SecretMount(tmp_path)
    mount.put({"key": b"one", "cert": b"one"})
    watch = Watch([tmp_path / "key", tmp_path / "cert"], clock=lambda: now)

    def changed() -> bool:
        nonlocal now
        now += 1.0
        return watch.changed()

    assert not changed()
    mount.put({"key": b"two", "cert": b"two"})
    assert changed()
    assert not changed()
    (tmp_path / "key").write_bytes(b"in place")
    assert changed()
    (tmp_path / "new").write_bytes(b"in place")
    os.replace(tmp_path / "new", tmp_path / "key")
    assert changed()
    (tmp_path / "cert").unlink()
    assert changed()
    assert not changed()


def test_files_are_looked_at_once_a_second(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "file"
    path.write_bytes(b"one")
    watch = Watch([path], clock=lambda: now)
    path.write_bytes(b"other")
    assert not watch.changed()
    now = 1.0
    assert watch.changed()
