"""Pages of lists in Neo4j: the Cypher of a page, and the values of its cursors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

from dbopt.exceptions import ConfigurationError
from dbopt.graphql.pages.nested_pages import Pages, Position
from dbopt.neo4j import graphs
from dbopt.pagination.cursor import decode_cursor, encode_cursor, list_signature

_KEYS, _LIMIT = "keys", "dbopt_limit"

# Temporal values are in a cursor as Neo4j writes them: Python's have no nanoseconds, and the driver's do not tell the
# zone UTC from an offset of 0. The function reads them back.
_TEMPORAL = {
    ("DateTime", True): "datetime",
    ("DateTime", False): "localdatetime",
    ("Time", True): "time",
    ("Time", False): "localtime",
    ("Date", False): "date",
}
_PLAIN = ""


@dataclass(frozen=True, slots=True)
class CypherKey:
    """One expression of the order."""

    expression: str
    is_descending: bool

    @classmethod
    def of(cls, item: str) -> CypherKey:
        """Read "e.name" or "-e.name"."""
        return cls(item.removeprefix("-").strip(), item.startswith("-"))

    def sorted(self, *, is_backward: bool) -> str:
        """Return the key's part of ORDER BY, or of the order from the end."""
        return f"{self.expression} {'DESC' if self.is_descending != is_backward else 'ASC'}"

    def operator(self, *, is_backward: bool) -> str:
        """Return how a later (or earlier) value compares to an earlier one."""
        return "<" if self.is_descending != is_backward else ">"


@dataclass(frozen=True, slots=True)
class CypherList:
    """A list of rows, written in Cypher; `key` in it is the key of the list.

    Attributes:
        match: patterns behind MATCH.
        where: a condition, or None.
        returns: a map for each row.
        order: keys of a total order; rows without one of them are no part of the list.
    """

    match: str
    where: str | None
    returns: str
    order: tuple[CypherKey, ...]

    def rows(self, conditions: Sequence[str], *, is_backward: bool) -> str:
        """Return the query of the first rows of each list; a list's rows come in one record, in their order."""
        places = ", ".join(key.expression for key in self.order)
        order = ", ".join(key.sorted(is_backward=is_backward) for key in self.order)
        return (
            f"UNWIND ${_KEYS} AS key\nCALL (key) {{\n{self._matched(conditions)}\n"
            f"WITH {self.returns} AS value, [place IN [{places}] | [place, toString(place)]] AS place "
            f"ORDER BY {order} LIMIT ${_LIMIT}\n"
            "RETURN collect([value, place]) AS found\n}\nRETURN key, found"
        )

    def existence(self, conditions: Sequence[str]) -> str:
        """Return the query of the keys whose lists have such a row."""
        return f"UNWIND ${_KEYS} AS key\nWITH key WHERE EXISTS {{\n{self._matched(conditions)}\n}}\nRETURN DISTINCT key"

    def count(self, *, is_capped: bool) -> str:
        """Return the query of the number of rows of each list."""
        limit = f"WITH 1 AS row LIMIT ${_LIMIT}\n" if is_capped else ""
        return (
            f"UNWIND ${_KEYS} AS key\nCALL (key) {{\n{self._matched(())}\n{limit}RETURN count(*) AS total\n}}\n"
            "RETURN key, total"
        )

    def beyond(self, kinds: Sequence[str], *, name: str, is_backward: bool, is_inclusive: bool) -> str:
        """Return the condition of rows after (or before) a position.

        Cypher compares no rows: it is spelled out, with a bound of the first key, where an index can start.

        Args:
            kinds: how each value is read back.
            name: of the parameters, which are numbered.
            is_backward: before it.
            is_inclusive: the position's own row is counted in.
        """
        compared = [
            (key.expression, key.operator(is_backward=is_backward), _parameter(kind, f"{name}{number}"))
            for number, (key, kind) in enumerate(zip(self.order, kinds, strict=True))
        ]
        *firsts, (expression, operator, value) = compared
        condition = f"{expression} {operator}{'=' if is_inclusive else ''} {value}"
        for expression, operator, value in reversed(firsts):
            condition = f"({expression} {operator} {value} OR ({expression} = {value} AND {condition}))"
        if firsts:
            expression, operator, value = compared[0]
            condition = f"{expression} {operator}= {value} AND {condition}"
        return condition

    def _matched(self, conditions: Sequence[str]) -> str:
        own = [] if self.where is None else [f"({self.where})"]
        # An index has no missing values: only with this condition can it give the rows in their order.
        present = [f"{key.expression} IS NOT NULL" for key in self.order]
        return f"MATCH {self.match}\nWHERE {' AND '.join([*own, *present, *conditions])}"


def _parameter(kind: str, name: str) -> str:
    return f"{kind}(${name})" if kind else f"${name}"


class CypherRow(dict[str, Any]):
    """A row of a page: a map, and its place in the order: of each key the value, and how Neo4j writes it."""

    __slots__ = ("place",)

    place: list[tuple[Any, str]]


class CypherPages(Pages):
    """Pages of lists in Neo4j.

    Args:
        rows: the list.
        keys: of the lists.
        parameters: of the query, and what a signature has beside it: whose list it is.
        cursors: {"after": ..., "before": ...}, as the client sent them.
        size, is_backward: as `page_size` gives them.
        cap: count at most this many rows and one more; None: all.
        alias: of ``DBOPT["NEO4J"]``.
        timeout: seconds; None: QUERY_TIMEOUT.
        name: of the queries in logs and metrics.

    Raises:
        InvalidCursorError: a cursor is damaged, forged, or of another list, order or tenant.
    """

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        rows: CypherList,
        keys: Collection[Any],
        *,
        parameters: Mapping[str, Any],
        cursors: Mapping[str, str | None],
        size: int,
        is_backward: bool,
        cap: int | None,
        alias: str,
        timeout: float | None,
        name: str,
    ) -> None:
        tenant = parameters.get("tenant")
        order = [key.sorted(is_backward=False) for key in rows.order]
        self._signature = list_signature([alias, rows.match, *order, type(tenant).__name__, str(tenant)])
        lower, upper = (
            None if cursor is None else decode_cursor(cursor, self._signature, argument=argument)
            for argument, cursor in ((argument, cursors.get(argument)) for argument in ("after", "before"))
        )
        super().__init__(keys, size=size, is_backward=is_backward, lower=lower, upper=upper)
        self._list = rows
        self._parameters = parameters
        self._cap = cap
        self._alias = alias
        self._timeout = timeout
        self._name = name

    def fetch(self) -> Mapping[Any, list[Any]]:
        """Read one row more than a page has, of each list."""
        conditions: list[str] = []
        values: dict[str, Any] = {}
        for name, position, is_backward in (("dbopt_after", self.lower, False), ("dbopt_before", self.upper, True)):
            if position is not None:
                kinds, own = _read(position, name)
                values |= own
                conditions.append(self._list.beyond(kinds, name=name, is_backward=is_backward, is_inclusive=False))
        text = self._list.rows(conditions, is_backward=self.is_backward)
        records = self._run(text, values | {_LIMIT: self.size + 1})
        return {record["key"]: [_row(*found) for found in record["found"]] for record in records}

    def beyond(self, position: Position | None, *, is_backward: bool, is_inclusive: bool) -> Collection[Any]:
        """Return the keys of the lists that have a row there."""
        if position is None:
            return {record["key"] for record in self._run(self._list.existence(()), {})}
        kinds, values = _read(position, "dbopt_place")
        condition = self._list.beyond(kinds, name="dbopt_place", is_backward=is_backward, is_inclusive=is_inclusive)
        return {record["key"] for record in self._run(self._list.existence([condition]), values)}

    def count(self) -> Mapping[Any, int]:
        """Count the rows of each list."""
        values = {} if self._cap is None else {_LIMIT: self._cap + 1}
        records = self._run(self._list.count(is_capped=self._cap is not None), values)
        return {record["key"]: record["total"] for record in records}

    def cursor(self, row: CypherRow) -> str:
        """Return the cursor of a row."""
        kinds, values = zip(*starmap(_written, row.place), strict=True)
        return encode_cursor(self._signature, [",".join(kinds), *values])

    def _run(self, text: str, values: Mapping[str, Any]) -> list[Any]:
        parameters = {**self._parameters, **values, _KEYS: list(self.keys)}
        return graphs[self._alias].read(text, parameters, timeout=self._timeout, name=self._name)


def _row(value: Any, place: list[tuple[Any, str]]) -> CypherRow:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"A row is a {type(value).__name__}. `returns` must be a map: e {{.id, .name}}.")
    row = CypherRow((name, _native(item)) for name, item in value.items())
    row.place = place
    return row


def _native(value: Any) -> Any:
    """Return a temporal value as Python has it, which is what graphene's scalars know."""
    return value.to_native() if hasattr(value, "to_native") else value


def _written(value: Any, text: str) -> tuple[str, Any]:
    """Return how a value is read back, and the value as a cursor holds it."""
    if not hasattr(value, "iso_format"):
        return _PLAIN, value
    kind = _TEMPORAL.get((type(value).__name__, getattr(value, "tzinfo", None) is not None))
    if kind is None:
        raise ConfigurationError(f"Cannot page by a {type(value).__name__}: it has no order. Order by a number of it.")
    return kind, text


def _read(position: Position, name: str) -> tuple[list[str], dict[str, Any]]:
    """Return how the values of a position are read back, and the parameters of that name."""
    kinds, *values = position
    return kinds.split(","), {f"{name}{number}": value for number, value in enumerate(values)}
