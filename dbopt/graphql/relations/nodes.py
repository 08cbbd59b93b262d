"""Relay's `node(id)`: the nodes of a type that an operation asks for are one statement."""

# ruff: noqa: SLF001  _meta is graphene's way to the options of a type

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import router
from graphene.relay import Node
from graphene_django import DjangoObjectType

from dbopt.graphql.execution.batches import LazyInfo
from dbopt.graphql.loading.model_loaders import ModelLoader
from dbopt.graphql.loading.projection import reading_of
from dbopt.graphql.relations.fields import node_manager

if TYPE_CHECKING:
    from django.db.models import QuerySet

_STOCK = ("node_resolver", "get_node_from_global_id")


def node_resolver(resolve: Any) -> NodeResolver | None:
    """Return a resolver with loaders in place of a stock ``relay.Node.Field()``'s; None for any other resolver."""
    node: Any = getattr(resolve.func, "__self__", None) if isinstance(resolve, partial) else None
    if not _is_a(node, Node) or resolve.func != node.node_resolver:
        return None
    if any(getattr(node, name).__func__ is not getattr(Node, name).__func__ for name in _STOCK):
        # A project that finds nodes in its own way goes on doing so.
        return None
    return NodeResolver(resolve, node, only_type=resolve.args[0])


def _is_a(candidate: Any, kind: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, kind)


class NodeResolver:
    """Resolver of a node by global id: by loader where graphene-django would ask for one row, by `get_node` elsewhere."""

    def __init__(self, stock: Any, node: Any, *, only_type: Any) -> None:
        self.stock = stock
        self.node = node
        self.only_type = only_type

    def __call__(self, root: Any, info: Any, **arguments: Any) -> Any:
        """Resolve one node."""
        node_type, key = self._asked(info, arguments["id"]) if isinstance(info, LazyInfo) else (None, None)
        if node_type is None:
            return self.stock(root, info, **arguments)
        using = router.db_for_read(node_type._meta.model)
        loader = NodeLoader(info.context, node_type, using, reading_of(info, node_type._meta.name))
        if loader.info is None:
            loader.info = info
        return loader.load(key)

    def _asked(self, info: Any, global_id: str) -> tuple[Any, Any]:
        """Return type and key of an id that a loader may answer; all others, wrong ones too, are for graphene to judge."""
        type_name, key = self.node.resolve_global_id(info, global_id)
        node_type: Any = getattr(info.schema.get_type(type_name), "graphene_type", None)
        if not _is_a(node_type, DjangoObjectType):
            return None, None
        is_allowed = self.node in node_type._meta.interfaces and (not self.only_type or node_type == self.only_type)
        is_stock = node_type.get_node.__func__ is DjangoObjectType.get_node.__func__
        return (node_type, key) if is_allowed and is_stock else (None, None)


class NodeLoader(ModelLoader):
    """Nodes of a type by primary key. Parameters: graphene type, alias, reading."""

    def set_up(self) -> None:
        """Read the parameters."""
        self.node_type, self.using, self.reading = self.params
        self.model = self.node_type._meta.model
        super().set_up()

    def rows(self) -> QuerySet[Any]:
        """Return all rows that `DjangoObjectType.get_node` would start from."""
        rows: QuerySet[Any] = node_manager(self.model).using(self.using)
        return rows
