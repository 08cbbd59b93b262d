"""`KeysetConnectionField`: a list of rows in pages by cursor, with the types of the Relay specification."""

# ruff: noqa: SLF001  _meta is graphene's and Django's way to the options of a type or a model

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.models import Manager, Model, QuerySet
from graphene.types.resolver import dict_or_attr_resolver

from dbopt.exceptions import ConfigurationError
from dbopt.graphql.loading.path_resolvers import PathLoader, PathResolver
from dbopt.graphql.loading.paths import ThroughPath, path_of, relation_of
from dbopt.graphql.loading.projection import reading_of
from dbopt.graphql.pages.connection_types import PAGE_ARGUMENTS, Connection, PagedField, argument_names, with_codes
from dbopt.graphql.pages.nested_pages import ListPage
from dbopt.graphql.pages.relation_pages import RelationPages
from dbopt.pagination import Page, declare_order, keyset_page

if TYPE_CHECKING:
    from dbopt.graphql.loading.paths import RelationPath
    from dbopt.graphql.loading.rows import Reading
    from dbopt.pagination.order import OrderItem


class KeysetConnectionField(PagedField):
    """A field with the arguments first, after, last and before, and any others for its filters or its resolver.

    Rows are what the resolver returns (a QuerySet or a manager), or a to-many relation of the parent, or all rows of the
    type's model; narrowed by `filters` and by the type's ``get_queryset``. Only what is selected is computed: a page is one
    statement, ``totalCount`` one more, ``pageInfo`` of the other direction one more. For a relation these are of all
    parents together, under dbopt's executor.
    """

    def __init__(
        self,
        node_type: Any,
        *,
        relation: str | None = None,
        order_by: Sequence[OrderItem] | OrderItem | None = None,
        filters: Mapping[str, str] | Sequence[str] = (),
        equality: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Declare the field.

        Args:
            node_type: a DjangoObjectType, or a function that returns it.
            relation: name of a to-many relation of the parent's model; by default the field's own name, if that is one.
            order_by: as for `keyset_page`; None: the queryset's order.
            filters: arguments that narrow the rows, by their names or as {argument: look-up}; null is no filter.
            equality: columns that the rows are always filtered by with one value (a tenant), for the system check of
                indexes; what a relation is filtered by is known.
            **options: of `PagedField` (default_size, max_size and require_pagination, by default those of
                ``DBOPT["GRAPHQL"]``; total_count "exact", "estimated", "capped" or None, total_cap; required) and of
                ``graphene.Field`` (resolver, description, further arguments).

        Raises:
            ConfigurationError: a filter is no argument; or both a relation and a resolver are given.
        """
        self.relation = relation
        self.order_by = order_by
        self.filters = argument_names(filters, options)
        self.equality = tuple(equality)
        super().__init__(node_type, **options)

    def wrap_resolve(self, parent_resolver: Callable[..., Any]) -> Callable[..., Any]:
        """Return the resolver of a page, around the resolver of the rows."""
        resolver = super().wrap_resolve(parent_resolver)
        # graphene's own way to say that nobody wrote a resolver.
        is_default = self.resolver is None and isinstance(parent_resolver, partial)
        if self.relation is not None:
            if not is_default:
                raise ConfigurationError(
                    f"A connection has the relation {self.relation!r} and a resolver. Give it only one of them."
                )
            resolver = partial(dict_or_attr_resolver, self.relation, None)
        if is_default and resolver.func is dict_or_attr_resolver:
            return RelationConnectionResolver(self, resolver)
        return ConnectionResolver(self, resolver, is_default=is_default)

    def declare(self, *equality: str) -> None:
        """Tell the system check in which order rows are paged; columns come in addition to the field's own."""
        declare_order(self.node._meta.model, self.order_by, equality=(*equality, *self.equality))

    def page(self, rows: QuerySet[Any], info: Any, arguments: Mapping[str, Any], reading: Reading) -> Page[Any]:
        """Return a page of rows, narrowed by filters and permissions; nothing is read yet."""
        conditions = {
            lookup: arguments[name] for name, lookup in self.filters.items() if arguments.get(name) is not None
        }
        rows = self.node.get_queryset(rows.filter(**conditions) if conditions else rows, info)
        place = {name: arguments.get(name) for name in PAGE_ARGUMENTS}
        return keyset_page(reading.prepare(rows), order_by=self.order_by, **self.sizes(), **place)


class ConnectionResolver:
    """Resolver of one list's page."""

    def __init__(self, field: KeysetConnectionField, resolver: Callable[..., Any], *, is_default: bool) -> None:
        self.field = field
        self.resolver = resolver
        self.is_default = is_default
        # What the resolver of the rows says that it reads of its parent.
        self.requires = getattr(resolver, "requires", None)

    def bind(self, model: type[Model] | None) -> None:
        """Declare the order, unless it is that of a queryset that is yet to be made. For `optimize`."""
        if self.field.order_by is not None:
            self.field.declare()

    def __call__(self, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve for one parent."""
        return with_codes(lambda: self._connection(root, info, arguments))

    def _connection(self, root: Any, info: Any, arguments: dict[str, Any]) -> Connection | None:
        field = self.field
        own = {
            name: value for name, value in arguments.items() if name not in PAGE_ARGUMENTS and name not in field.filters
        }
        rows = self.resolver(root, info, **own)
        if rows is None and not self.is_default:
            return None
        page = field.page(self._queryset(rows, info), info, arguments, reading_of(info, field.node._meta.name))
        return Connection(page, partial(_total, page, field))

    def _queryset(self, rows: Any, info: Any) -> QuerySet[Any]:
        model = self.field.node._meta.model
        if rows is None:
            rows = model._default_manager
        if isinstance(rows, Manager):
            rows = rows.all()
        if not isinstance(rows, QuerySet) or not issubclass(rows.model, model):
            found = rows.model.__name__ if isinstance(rows, QuerySet) else type(rows).__name__
            raise ConfigurationError(
                f"The resolver of {info.parent_type.name}.{info.field_name} must return a QuerySet of "
                f"{model.__name__}, not {found}: a page is cut by the database."
            )
        return rows


def _total(page: Page[Any], field: KeysetConnectionField) -> int:
    total = page.count(field.total_count, cap=field.total_cap)
    if total is None:
        raise ConfigurationError("This connection has no total.")
    return total.count + (total.kind == "more than")


class PagesLoader(PathLoader):
    """Pages of a relation; the source is the field."""

    def batch_load(self, keys: list[Any]) -> dict[Any, Connection]:
        """Return a connection for each parent; what is selected of them is read for all, later."""
        rows = self.path.model._default_manager.using(self.using)
        page = self.source.page(rows, self.info, self.arguments, self.reading)
        pages = RelationPages(page, path=self.path, keys=keys, cap=self.source.cap)
        return {key: Connection(found := ListPage(pages, key), found.total) for key in keys}


class RelationConnectionResolver(PathResolver):
    """Resolver of pages of a relation: of all parents of a column at once; of any other rows one by one."""

    loader_class = PagesLoader

    def __init__(self, field: KeysetConnectionField, resolver: Any) -> None:
        self.field = self.source = field
        self.attribute: str = resolver.args[0]
        self._single = ConnectionResolver(field, resolver, is_default=True)
        self._paths: dict[type, RelationPath | None] = {}

    @property
    def node(self) -> Any:
        """The graphene type of the rows."""
        return self.field.node

    def bind(self, model: type[Model] | None) -> None:
        """Take in whose field it is (None: of no rows), so that the parents' key is read with them. For `optimize`."""
        path = None if model is None else self.path(model)
        if path is not None:
            self.requires = (path.key_attribute,)
        if not isinstance(path, ThroughPath):
            # Pairs of rows lie in another table: no index has them beside the order.
            self.field.declare(*(() if path is None else path.equality))

    def path(self, kind: type) -> RelationPath | None:
        """Return the way to the rows from parents of a class, None where the attribute is no relation."""
        if kind not in self._paths:
            self._paths[kind] = self._found_path(kind)
        return self._paths[kind]

    def alone(self, root: Any, info: Any, arguments: dict[str, Any]) -> Any:
        """Resolve for one parent without a loader."""
        return self._single(root, info, **arguments)

    def _found_path(self, kind: type) -> RelationPath | None:
        relation = relation_of(kind, self.attribute) if issubclass(kind, Model) else None
        node_model = self.field.node._meta.model
        is_many = relation is not None and (relation.one_to_many or relation.many_to_many)
        if is_many and issubclass(relation.related_model, node_model):  # type: ignore[union-attr]  # is_many says it
            if self.field.total_count == "estimated":
                raise ConfigurationError(
                    f"The total of {kind.__name__}.{self.attribute} cannot be estimated: the planner knows tables, not "
                    'parents. Give the connection total_count="capped", "exact" or None.'
                )
            return path_of(relation)
        if self.field.relation is not None:
            raise ConfigurationError(
                f"{kind.__name__} has no to-many relation {self.attribute!r} to {node_model.__name__}. "
                "Give the connection the name of one."
            )
        return None
