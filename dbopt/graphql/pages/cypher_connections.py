"""`CypherConnection`: a list of Neo4j in pages by cursor, with the arguments and codes of `KeysetConnectionField`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphene.types.resolver import dict_or_attr_resolver

from dbopt.exceptions import ConfigurationError
from dbopt.graphql.execution.batches import LazyInfo
from dbopt.graphql.loading.loaders import DataLoader
from dbopt.graphql.loading.path_resolvers import frozen
from dbopt.graphql.pages.connection_types import PAGE_ARGUMENTS, Connection, PagedField, with_codes
from dbopt.graphql.pages.cypher_pages import CypherKey, CypherList, CypherPages
from dbopt.graphql.pages.nested_pages import ListPage
from dbopt.pagination.limits import page_size
from dbopt.tenancy import current_tenant

if TYPE_CHECKING:
    from dbopt.graphql.loading.loaders import Column

_ROOT = 0
"""The key of a list that belongs to no parent."""


class CypherConnection(PagedField):
    """A field with the arguments first, after, last and before; all others are parameters of the query.

    Only what is selected is asked for: a page is one query, ``totalCount`` one more, ``pageInfo`` of the other direction one
    more; of all parents together, under dbopt's executor.
    """

    def __init__(  # noqa: PLR0913  # all by keyword
        self,
        node_type: Any,
        *,
        match: str,
        returns: str,
        order_by: Sequence[str],
        where: str | None = None,
        key: str | None = None,
        alias: str = "default",
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Declare the field. All Cypher is constant: values are parameters.

        Args:
            node_type: graphene type of the rows, or a function that returns it; its fields are read from a map.
            match: what stands behind MATCH, for example ``(e:Entity {tenantId: $tenant})``; `key` in it is the parent's.
            returns: a map, for example ``e {.id, .name}``.
            order_by: expressions of one type each, "-" in front for the largest first; the last must tell rows apart. A row
                without one of them is no part of the list.
            where: a condition. Arguments that are not given are null: ``$kind IS NULL OR e.kind = $kind``.
            key: attribute of the parent; None: the list belongs to no parent.
            alias: of ``DBOPT["NEO4J"]``.
            timeout: seconds; None: QUERY_TIMEOUT.
            **options: as for `KeysetConnectionField`.

        Raises:
            ConfigurationError: there is no order, or the total is to be estimated.
        """
        if not order_by or isinstance(order_by, str):
            raise ConfigurationError(
                f'order_by is {order_by!r}. Give a sequence of expressions: ("-e.createdAt", "e.id").'
            )
        if options.get("total_count") == "estimated":
            raise ConfigurationError('Neo4j estimates no total. Use total_count="capped", "exact" or None.')
        super().__init__(node_type, **options)
        self.list = CypherList(match, where, returns, tuple(map(CypherKey.of, order_by)))
        self.key = key
        self.alias = alias
        self.timeout = timeout

    def wrap_resolve(self, parent_resolver: Callable[..., Any]) -> Callable[..., Any]:
        """Return the resolver of a page."""
        return CypherConnectionResolver(self, list(self.args))

    def pages(self, keys: Sequence[Any], info_name: str, *, arguments: Mapping[str, Any], tenant: Any) -> CypherPages:
        """Return pages of lists; nothing is read yet."""
        size, is_backward = page_size(first=arguments.get("first"), last=arguments.get("last"), **self.sizes())
        parameters = {name: value for name, value in arguments.items() if name not in PAGE_ARGUMENTS}
        return CypherPages(
            self.list,
            keys,
            parameters={**parameters, "tenant": tenant},
            cursors=arguments,
            size=size,
            is_backward=is_backward,
            cap=self.cap,
            alias=self.alias,
            timeout=self.timeout,
            name=info_name,
        )


class CypherConnectionResolver:
    """Resolver of pages of a list in Neo4j: of all parents of a column at once."""

    def __init__(self, field: CypherConnection, names: list[str]) -> None:
        self.field = field
        self.names = names
        self.requires = () if field.key is None else (field.key,)

    def __call__(self, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve for one parent: by promise under dbopt's executor, at once anywhere else."""
        key = self._key(root)
        if key is None:
            return None
        if isinstance(info, LazyInfo):
            return self._loader(info, arguments).load(key)
        return with_codes(lambda: self._alone(key, info, arguments))

    def batch_resolve(self, parents: Sequence[Any], info: Any, column: Column, **arguments: Any) -> list[Any] | None:
        """Resolve for a whole column of parents; None when the loader delivers later."""
        return self._loader(info, arguments).load_column([self._key(parent) for parent in parents], column)

    def _key(self, root: Any) -> Any:
        return _ROOT if self.field.key is None else dict_or_attr_resolver(self.field.key, None, root, None)

    def _complete(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments: a parameter that is missing would be an error of the query."""
        return {**dict.fromkeys(self.names), **arguments}

    def _alone(self, key: Any, info: Any, arguments: dict[str, Any]) -> Connection:
        name = f"{info.parent_type.name}.{info.field_name}"
        pages = self.field.pages([key], name, arguments=self._complete(arguments), tenant=current_tenant())
        page = ListPage(pages, key)
        return Connection(page, page.total)

    def _loader(self, info: Any, arguments: dict[str, Any]) -> CypherPagesLoader:
        complete = self._complete(arguments)
        name = f"{info.parent_type.name}.{info.field_name}"
        loader = CypherPagesLoader(info.context, self.field, name, frozen(complete))
        loader.arguments = complete
        return loader


class CypherPagesLoader(DataLoader[Any, Connection]):
    """Pages of lists in Neo4j. Parameters: field, name of the queries, frozen arguments."""

    arguments: Mapping[str, Any]

    def batch_load(self, keys: list[Any]) -> dict[Any, Connection]:
        """Return a connection for each list; what is selected of them is asked for all, later."""
        field, name, _ = self.params
        pages = field.pages(keys, name, arguments=self.arguments, tenant=self.tenant)
        return {key: Connection(found := ListPage(pages, key), found.total) for key in keys}
