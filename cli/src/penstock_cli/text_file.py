"""A file that a user names and that should be text: its text, or one line that says which file is none."""

from pathlib import Path

from penstock.errors import InvalidInput


def read_text(path: Path) -> str:
    """The file's text. Raises InvalidInput naming the file if it is not UTF-8, OSError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"expected UTF-8 text: {error.reason} at byte {error.start}", field=str(path)) from None
