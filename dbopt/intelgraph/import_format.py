"""The import format: which files and columns there are, and what a value must look like. Pure: no database here."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from dbopt.intelgraph.models.fields import MAX_NAME, is_storable

# A cell may hold a long JSON list; csv's own limit is 128 kB and holds for the whole process.
MAX_CELL = 64 * 1024 * 1024
MAX_ID, MAX_TYPE, MAX_STATUS = 200, 64, 32
MAX_PRIORITY = 4
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# What "surrogateescape" makes of bytes that are not UTF-8.
_UNDECODABLE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where; never the value itself.

    Attributes:
        line: of the file, from 1; None: the whole file.
        column: None: the whole row.
    """

    file: str
    line: int | None
    column: str | None
    reason: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.reason}" if self.column is None else f"{where}: {self.column} {self.reason}"


@dataclass(frozen=True, slots=True)
class Row:
    """A good row: its first line, and its values in the order of the table's columns."""

    line: int
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One file of the format.

    Attributes:
        columns: name -> reader of a cell, which raises ValueError with the reason.
        key: the columns that no two rows may share.
    """

    file: str
    columns: dict[str, Callable[[str], Any]]
    key: tuple[str, ...]


def _text(maximum: float = math.inf) -> Callable[[str], str]:
    def read(cell: str) -> str:
        if not cell:
            raise ValueError("is empty")
        if len(cell) > maximum:
            raise ValueError(f"is longer than {maximum} characters")
        return cell

    return read


def _optional(read: Callable[[str], Any], default: Any = None) -> Callable[[str], Any]:
    return lambda cell: read(cell) if cell else default


def _number(cell: str) -> float:
    if not _NUMBER.fullmatch(cell):
        raise ValueError("is not a number")
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError("is too large for a number")
    return value


def _confidence(cell: str) -> float:
    value = _number(cell)
    if not 0 <= value <= 1:
        raise ValueError("is not between 0 and 1")
    return value


def _priority(cell: str) -> int:
    if cell not in {str(number) for number in range(1, MAX_PRIORITY + 1)}:
        raise ValueError(f"is not a whole number from 1 to {MAX_PRIORITY}")
    return int(cell)


def _date(cell: str) -> date:
    try:
        if _DATE.fullmatch(cell):
            return date.fromisoformat(cell)
    except ValueError:
        pass
    raise ValueError("is not a date (YYYY-MM-DD)")


def _json(cell: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"holds {constant}, which JSON does not know")

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError("holds a number that is too large")
        return value

    try:
        value = json.loads(cell, parse_constant=refuse, parse_float=finite)
        if not is_storable(value):
            raise ValueError("holds a character that PostgreSQL cannot keep")
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error.msg.lower()} at character {error.pos + 1})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return value


def _props(cell: str) -> str:
    """The text as it is: PostgreSQL keeps all digits of its numbers, Python would not."""
    if isinstance(_json(cell), dict):
        return cell
    raise ValueError("is not a JSON object")


def _ids(cell: str) -> list[str]:
    value = _json(cell)
    if not isinstance(value, list) or not all(isinstance(part, str) and 0 < len(part) <= MAX_ID for part in value):
        raise ValueError("is not a JSON array of external ids")
    return list(dict.fromkeys(value))


_ID, _TYPE, _NAME = _text(MAX_ID), _text(MAX_TYPE), _text(MAX_NAME)
_PROPS = _optional(_props, "{}")
ENTITIES = Table(
    "entities.csv",
    {"external_id": _ID, "type": _TYPE, "name": _NAME, "confidence": _confidence, "props": _PROPS},
    key=("external_id",),
)
RELATIONSHIPS = Table(
    "relationships.csv",
    {
        "external_id": _ID,
        "source": _ID,
        "target": _ID,
        "type": _TYPE,
        "confidence": _confidence,
        "weight": _optional(_number),
        "valid_from": _optional(_date),
        "valid_to": _optional(_date),
        "props": _PROPS,
    },
    key=("external_id",),
)
INVESTIGATIONS = Table(
    "investigations.csv",
    {
        "external_id": _ID,
        "name": _NAME,
        "status": _text(MAX_STATUS),
        "priority": _priority,
        "entities": _optional(_ids, []),
    },
    key=("external_id",),
)
SOURCES = Table(
    "sources.csv",
    {"entity": _ID, "type": _TYPE, "url": _text(), "title": _optional(_text(), "")},
    key=("entity", "url"),
)
TABLES = (ENTITIES, RELATIONSHIPS, INVESTIGATIONS, SOURCES)


def check_folder(folder: Path) -> list[Problem]:
    """Return what is wrong with the files as a whole: unknown, missing, empty, or with other columns."""
    known = {table.file: table for table in TABLES}
    problems = [
        Problem(path.name, None, None, f"is not a file of the format; known are {', '.join(known)}")
        for path in sorted(folder.glob("*.csv"))
        if path.name not in known
    ]
    if not (folder / ENTITIES.file).is_file():
        problems.append(Problem(ENTITIES.file, None, None, "is missing"))
    for table in TABLES:
        if (folder / table.file).is_file():
            problems += _check_header(folder, table)
    return problems


def _check_header(folder: Path, table: Table) -> list[Problem]:
    with _cells(folder / table.file) as rows:
        line, header = next(rows, (None, None))
    if header is None:
        return [Problem(table.file, None, None, "is empty: it has no header")]
    if isinstance(header, csv.Error):
        return [Problem(table.file, line, None, f"is not CSV ({header})")]
    if any(map(_fault, header)):
        return [Problem(table.file, 1, None, "is not UTF-8 text")]
    reasons = [
        *(f"has no column {name}" for name in table.columns if name not in header),
        *("has a column that is not of the format" for name in header if name not in table.columns),
        *(f"has the column {name} twice" for name in table.columns if header.count(name) > 1),
    ]
    return [Problem(table.file, 1, None, f"{reason}; the columns are {', '.join(table.columns)}") for reason in reasons]


def read_rows(folder: Path, table: Table) -> Iterator[Row | Problem]:
    """Read a file whose header is right; a bad row comes as the first thing that is wrong with it."""
    seen: dict[tuple[str, ...], int] = {}
    with _cells(folder / table.file) as rows:
        _, header = next(rows)
        if isinstance(header, csv.Error):
            raise header
        order = [header.index(name) for name in table.columns]
        keys = [header.index(name) for name in table.key]
        for line, cells in rows:
            if isinstance(cells, csv.Error):
                yield Problem(table.file, line, None, f"is not CSV ({cells})")
                continue
            if len(cells) != len(header):
                reason = f"has {len(cells)} columns instead of {len(header)}"
                yield Problem(table.file, line, None, reason)
                continue
            row = _read_row(table, line, [cells[index] for index in order])
            if isinstance(row, Row):
                first = seen.setdefault(tuple(cells[index] for index in keys), line)
                if first != line:
                    row = Problem(table.file, line, " and ".join(table.key), f"already stands in line {first}")
            yield row


def _read_row(table: Table, line: int, cells: Sequence[str]) -> Row | Problem:
    values = []
    for (name, read), cell in zip(table.columns.items(), cells, strict=True):
        fault = _fault(cell)
        if fault is not None:
            return Problem(table.file, line, name, fault)
        try:
            values.append(read(cell))
        except ValueError as error:
            return Problem(table.file, line, name, str(error))
    return Row(line, tuple(values))


def _fault(cell: str) -> str | None:
    if "\0" in cell:
        return "holds a NUL character"
    return "is not UTF-8 text" if _UNDECODABLE.search(cell) else None


def raw_rows(folder: Path, table: Table, lines: Collection[int]) -> Iterator[tuple[int, list[str]]]:
    """Return the rows that begin in these lines, as they are; what is not CSV is left out."""
    with _cells(folder / table.file) as rows:
        yield from ((line, cells) for line, cells in rows if line in lines and not isinstance(cells, csv.Error))


@contextmanager
def _cells(path: Path) -> Iterator[Iterator[tuple[int, list[str] | csv.Error]]]:
    """Open a file as the line where each row begins, and its cells or why it is not CSV."""
    limit = csv.field_size_limit(MAX_CELL)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield _rows(csv.reader(lines, strict=True))
    finally:
        csv.field_size_limit(limit)


def _rows(reader: Any) -> Iterator[tuple[int, list[str] | csv.Error]]:
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            # The reader goes on behind it.
            yield line, error
        else:
            if cells:
                yield line, cells
