"""`KeysetConnectionField`: a list of rows in pages by cursor, with the types of the Relay specification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import graphene
from django.db.models import Manager, QuerySet
from graphene.relay import PageInfo
from graphql import GraphQLError

from dbopt.conf import dbopt_settings
from dbopt.exceptions import ConfigurationError, DboptError
from dbopt.graphql.errors import error_code
from dbopt.pagination import Page, keyset_page

if TYPE_CHECKING:
    from dbopt.pagination.order import OrderItem

_PAGE_ARGUMENTS = ("first", "after", "last", "before")


class KeysetConnectionField(graphene.Field):
    """A field with the arguments first, after, last and before, and any others for its resolver.

    Rows are what the resolver returns (a QuerySet or a manager; by default all rows of the type's model),
    narrowed by the type's ``get_queryset``. Only what is selected is computed: a page is one statement,
    ``totalCount`` one more, ``pageInfo`` of the other direction one more.
    """

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        node_type: Any,
        *,
        order_by: Sequence[OrderItem] | OrderItem | None = None,
        default_size: int | None = None,
        max_size: int | None = None,
        require_pagination: bool | None = None,
        required: bool = True,
        **options: Any,
    ) -> None:
        """Declare the field.

        Args:
            node_type: a DjangoObjectType, or a function that returns it.
            order_by: names as for ``QuerySet.order_by``, in one direction and NOT NULL; None: the queryset's order.
            default_size: rows without first and last; None: ``DBOPT["GRAPHQL"]["DEFAULT_PAGE_SIZE"]``.
            max_size: None: ``MAX_PAGE_SIZE``.
            require_pagination: refuse a page without first or last; None: ``REQUIRE_PAGINATION``.
            required: the field is never null.
            **options: as for ``graphene.Field``: resolver, description, further arguments.
        """
        self.node_type = node_type
        self.order_by = order_by
        self.default_size = default_size
        self.max_size = max_size
        self.require_pagination = require_pagination
        page_arguments = {
            "first": graphene.Int(description="At most this many rows, from the start or from `after` on."),
            "after": graphene.String(description="The cursor that the rows come after."),
            "last": graphene.Int(description="At most this many rows, up to the end or up to `before`."),
            "before": graphene.String(description="The cursor that the rows come before."),
        }
        super().__init__(lambda: _connection_type(self.node), required=required, **page_arguments, **options)

    @property
    def node(self) -> Any:
        """The type of the rows."""
        is_type = isinstance(self.node_type, type)
        return self.node_type if is_type else self.node_type()

    def wrap_resolve(self, parent_resolver: Callable[..., Any]) -> Callable[..., Any]:
        """Return the resolver of a page, around the resolver of the rows."""
        resolver = super().wrap_resolve(parent_resolver)
        # graphene's own way to say that nobody wrote a resolver.
        is_default = self.resolver is None and isinstance(parent_resolver, partial)
        return partial(self._resolve, resolver, is_default)

    def _resolve(
        self, resolver: Callable[..., Any], is_default: bool, root: Any, info: Any, **arguments: Any
    ) -> Connection | None:
        page_arguments = {name: arguments.pop(name, None) for name in _PAGE_ARGUMENTS}
        try:
            rows = resolver(root, info, **arguments)
            if rows is None and not is_default:
                return None
            return Connection(self._page(rows, info, page_arguments))
        except DboptError as error:
            code = error_code(error)
            if code is None:
                raise
            # graphene's stock executor knows no codes: they have to be in the error.
            raise GraphQLError(str(error), original_error=error, extensions={"code": code}) from error

    def _page(self, rows: Any, info: Any, page_arguments: dict[str, Any]) -> Page[Any]:
        defaults = dbopt_settings.graphql
        maximum = defaults.max_page_size if self.max_size is None else self.max_size
        size = min(defaults.default_page_size, maximum) if self.default_size is None else self.default_size
        return keyset_page(
            self._queryset(rows, info),
            order_by=self.order_by,
            default_size=size,
            max_size=maximum,
            required=defaults.require_pagination if self.require_pagination is None else self.require_pagination,
            **page_arguments,
        )

    def _queryset(self, rows: Any, info: Any) -> QuerySet[Any]:
        model = self.node._meta.model  # noqa: SLF001  # graphene's way to the options of a type
        if rows is None:
            rows = model._default_manager  # noqa: SLF001  # public by documentation
        if isinstance(rows, Manager):
            rows = rows.all()
        if not isinstance(rows, QuerySet) or not issubclass(rows.model, model):
            found = rows.model.__name__ if isinstance(rows, QuerySet) else type(rows).__name__
            raise ConfigurationError(
                f"The resolver of {info.parent_type.name}.{info.field_name} must return a QuerySet of "
                f"{model.__name__}, not {found}: a page is cut by the database."
            )
        queryset: QuerySet[Any] = self.node.get_queryset(rows, info)
        return queryset


class Edge:
    """A row and its place in the list; the cursor is made when it is asked for."""

    __slots__ = ("_page", "node")

    def __init__(self, node: Any, page: Page[Any]) -> None:
        self.node = node
        self._page = page

    @property
    def cursor(self) -> str:
        """The row's cursor."""
        return self._page.cursor(self.node)


class Connection:
    """What a page's fields are read from; each costs only when it is read."""

    __slots__ = ("_page",)

    def __init__(self, page: Page[Any]) -> None:
        self._page = page

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
        return self._page.start_cursor

    @property
    def end_cursor(self) -> str | None:
        """The last row's cursor."""
        return self._page.end_cursor

    @property
    def total_count(self) -> int:
        """Rows of the whole list."""
        return self._page.total()


@cache
def _connection_type(node_type: Any) -> Any:
    """Return the graphene type of a node type's pages: always the same, as a schema demands."""
    name = node_type._meta.name  # noqa: SLF001  # graphene's way to the options of a type
    # graphene-django makes a type of the usual name for a type with the interface Node: two cannot share it.
    prefix = f"{name}Keyset" if getattr(node_type._meta, "connection", None) else name  # noqa: SLF001
    edge = type(
        f"{prefix}Edge",
        (graphene.ObjectType,),
        {
            "__doc__": "A row and its cursor.",
            "node": graphene.Field(node_type, required=True),
            "cursor": graphene.String(required=True),
        },
    )
    fields = {
        "__doc__": "A page of a list.",
        "edges": graphene.List(graphene.NonNull(edge), required=True),
        "nodes": graphene.List(graphene.NonNull(node_type), required=True, description="The rows without cursors."),
        "page_info": graphene.Field(PageInfo, required=True),
        "total_count": graphene.Int(required=True, description="Rows of the whole list, counted when selected."),
    }
    return type(f"{prefix}Connection", (graphene.ObjectType,), fields)
