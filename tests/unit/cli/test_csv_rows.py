"""Rows of a CSV file on their way into a view."""

from pathlib import Path

import pytest

from penstock.errors import InvalidInput
from penstock_cli.features import rows
from penstock_cli.features.rows import CsvRows


def test_rows_know_their_line_and_blank_ones_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('a,b\n1,2\n\n"3\n3",4\n5,6\n')
    source = CsvRows(file)
    assert source.header == ["a", "b"]
    assert [(row.line, row.cells) for row in source.rows()] == [(2, ["1", "2"]), (4, ["3\n3", "4"]), (6, ["5", "6"])]


def test_a_cell_without_end_is_said_with_the_line_it_begins_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_LONGEST_CELL", 1000)
    file = tmp_path / "a.csv"
    file.write_text('a,b\n1,2\n3,"4\n' + "5,6\n" * 1000)
    with pytest.raises(InvalidInput, match=r"a\.csv line 3: not CSV: field larger than field limit"):
        list(CsvRows(file).rows())
    file.write_text('"a' * 1000)
    with pytest.raises(InvalidInput, match=r"a\.csv line 1: not CSV"):
        CsvRows(file)
