"""What connections by cursor have in common: arguments, types of the Relay specification, objects behind them."""

# ruff: noqa: SLF001  _meta is graphene's way to the options of a type

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Protocol

import graphene
from graphene.relay import PageInfo
from graphql import GraphQLError

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, DboptError
from dbopt.graphql.errors import error_code
from dbopt.pagination.totals import DEFAULT_CAP, TotalMode

PAGE_ARGUMENTS = ("first", "after", "last", "before")


class AnyPage(Protocol):
    """A page of any source, as a connection reads it."""

    @property
    def rows(self) -> list[Any]:
        """The rows."""
        ...

    @property
    def has_next(self) -> bool:
        """Whether rows follow."""
        ...

    @property
    def has_previous(self) -> bool:
        """Whether rows come before."""
        ...

    def cursor(self, row: Any) -> str:
        """Return the cursor of a row."""
        ...


class PagedField(graphene.Field):
    """A field with the arguments first, after, last and before, whose type is a connection.

    Attributes:
        total_count: how ``totalCount`` is made; None: there is none.
        total_cap: what "capped" counts at most.
    """

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        node_type: Any,
        *,
        default_size: int | None = None,
        max_size: int | None = None,
        require_pagination: bool | None = None,
        total_count: TotalMode | None = "exact",
        total_cap: int = DEFAULT_CAP,
        required: bool = True,
        **options: Any,
    ) -> None:
        self.node_type = node_type
        self.default_size = default_size
        self.max_size = max_size
        self.require_pagination = require_pagination
        self.total_count = total_count
        self.total_cap = total_cap
        page_arguments = {
            "first": graphene.Int(description="At most this many rows, from the start or from `after` on."),
            "after": graphene.String(description="The cursor that the rows come after."),
            "last": graphene.Int(description="At most this many rows, up to the end or up to `before`."),
            "before": graphene.String(description="The cursor that the rows come before."),
        }
        # graphene calls functions and partials for a type, but no methods.
        super().__init__(partial(self._connection_type), required=required, **page_arguments, **options)

    @property
    def node(self) -> Any:
        """The type of the rows."""
        is_type = isinstance(self.node_type, type)
        return self.node_type if is_type else self.node_type()

    @property
    def cap(self) -> int | None:
        """Rows that a total counts at most, and one more; None: all."""
        return self.total_cap if self.total_count == "capped" else None

    def sizes(self) -> dict[str, Any]:
        """Return the limits of a page as `keyset_page` takes them: the field's own, else those of the settings."""
        defaults = dbopt_settings.graphql
        maximum = defaults.max_page_size if self.max_size is None else self.max_size
        return {
            "default_size": min(defaults.default_page_size, maximum)
            if self.default_size is None
            else self.default_size,
            "max_size": maximum,
            "required": defaults.require_pagination if self.require_pagination is None else self.require_pagination,
        }

    def _connection_type(self) -> Any:
        return connection_type(self.node, has_total=self.total_count is not None)


def argument_names(names: Mapping[str, str] | Sequence[str], options: Mapping[str, Any]) -> dict[str, str]:
    """Return {argument: look-up} of a field's filters.

    Raises:
        ConfigurationError: a filter is no argument of the field.
    """
    filters = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    for name in filters:
        if name not in options:
            raise ConfigurationError(
                f"The filter {name!r} is no argument of the connection. Declare it: {name}=graphene.String()."
            )
    return filters


def with_codes(resolve: Callable[[], Any]) -> Any:
    """Return what a function returns; an error of dbopt is raised with its code, which graphene's executor does not know."""
    try:
        return resolve()
    except DboptError as error:
        code = error_code(error)
        if code is None:
            raise
        raise GraphQLError(str(error), original_error=error, extensions={"code": code}) from error


class Edge:
    """A row and its place in the list; the cursor is made when it is asked for."""

    __slots__ = ("_page", "node")

    def __init__(self, node: Any, page: AnyPage) -> None:
        self.node = node
        self._page = page

    @property
    def cursor(self) -> str:
        """The row's cursor."""
        return self._page.cursor(self.node)


class Connection:
    """What a page's fields are read from; each costs only when it is read."""

    __slots__ = ("_page", "_total")

    def __init__(self, page: AnyPage, total: Callable[[], int]) -> None:
        self._page = page
        self._total = total

    @property
    def nodes(self) -> list[Any]:
        """The rows."""
        return self._page.rows

    @property
    def edges(self) -> list[Edge]:
        """The rows with their cursors."""
        return [Edge(row, self._page) for row in self._page.rows]

    @property
    def page_info(self) -> Connection:
        """Where the page lies: this very object."""
        return self

    @property
    def has_next_page(self) -> bool:
        """Whether rows follow."""
        return self._page.has_next

    @property
    def has_previous_page(self) -> bool:
        """Whether rows come before."""
        return self._page.has_previous

    @property
    def start_cursor(self) -> str | None:
        """The first row's cursor."""
        rows = self._page.rows
        return self._page.cursor(rows[0]) if rows else None

    @property
    def end_cursor(self) -> str | None:
        """The last row's cursor."""
        rows = self._page.rows
        return self._page.cursor(rows[-1]) if rows else None

    @property
    def total_count(self) -> int:
        """Rows of the whole list."""
        return self._total()


@cache
def connection_type(node_type: Any, *, has_total: bool) -> Any:
    """Return the graphene type of a node type's pages: always the same, as a schema demands."""
    prefix = _prefix(node_type)
    fields = {
        "__doc__": "A page of a list.",
        "edges": graphene.List(graphene.NonNull(_edge_type(node_type)), required=True),
        "nodes": graphene.List(graphene.NonNull(node_type), required=True, description="The rows without cursors."),
        "page_info": graphene.Field(PageInfo, required=True),
    }
    if not has_total:
        return type(f"{prefix}UncountedConnection", (graphene.ObjectType,), fields)
    fields["total_count"] = graphene.Int(required=True, description="Rows of the whole list, counted when selected.")
    return type(f"{prefix}Connection", (graphene.ObjectType,), fields)


@cache
def _edge_type(node_type: Any) -> Any:
    fields = {
        "__doc__": "A row and its cursor.",
        "node": graphene.Field(node_type, required=True),
        "cursor": graphene.String(required=True),
    }
    return type(f"{_prefix(node_type)}Edge", (graphene.ObjectType,), fields)


def _prefix(node_type: Any) -> str:
    name: str = node_type._meta.name
    # graphene-django makes a type of the usual name for a type with the interface Node: two cannot share it.
    return f"{name}Keyset" if getattr(node_type._meta, "connection", None) else name
