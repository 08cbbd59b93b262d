"""What an app projects to the graph: models to nodes and relationships; written into ``graph_schema.py``."""

from __future__ import annotations

from collections.abc import Mapping

from dbopt.exceptions import GraphSchemaError
from dbopt.neo4j.schema.identifiers import check_identifier


class _Projection:
    def __init__(  # noqa: PLR0913 (a declaration, by keyword)
        self,
        model: str,
        target: str,
        *,
        properties: Mapping[str, str],
        key: str = "id",
        lookup: str = "pk",
        tenant: str | None = None,
        tenant_property: str = "tenantId",
        tenant_name: str | None = None,
    ) -> None:
        if model.count(".") != 1:
            raise GraphSchemaError(f"{model!r} is not a model; write it as 'app_label.Model'.")
        self.model = model
        self.target = check_identifier("A label or type", target)
        self.key = check_identifier("A property", key)
        self.lookup = lookup
        self.properties = {check_identifier("A property", name): path for name, path in properties.items()}
        if self.key in self.properties:
            raise GraphSchemaError(f"{self.key!r} of {target!r} is the key; it is no other property.")
        self.tenant = tenant
        self.tenant_property = check_identifier("A property", tenant_property)
        self.tenant_name = tenant_name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model!r}, {self.target!r})"

    @property
    def property_names(self) -> list[str]:
        """Every property that the projection owns, except its key; others of the graph are left alone."""
        return [*self.properties, *([self.tenant_property] if self.tenant else [])]

    @property
    def paths(self) -> list[str]:
        """What is read of the model, in the order of property_names, after the key."""
        return [*self.properties.values(), *([self.tenant] if self.tenant else [])]


class NodeProjection(_Projection):
    """Each row of a model is a node.

    Args:
        model: "app_label.Model".
        target: the label.
        properties: property of the graph -> lookup of the model, such as ``{"name": "name", "country": "country__code"}``.
        key: the property that rows are merged on; needs a uniqueness constraint. lookup: where its value comes from.
        tenant: the model's field for the tenant; its value is stored as tenant_property.
        tenant_name: lookup that ``dbopt_graph sync --tenant`` is compared with; None: the tenant's primary key.
    """


class RelationshipProjection(_Projection):
    """Each row of a model is a relationship; merged on its own key, never on its ends, so that parallel ones stay two.

    Args:
        target: the type.
        start, end: the projection of the node, and the lookup of its key in this model: ``(entities, "source_id")``.

    The ends must belong to the row's tenant.
    """

    def __init__(  # noqa: PLR0913 (a declaration, by keyword)
        self,
        model: str,
        target: str,
        *,
        start: tuple[NodeProjection, str],
        end: tuple[NodeProjection, str],
        properties: Mapping[str, str],
        key: str = "id",
        lookup: str = "pk",
        tenant: str | None = None,
        tenant_property: str = "tenantId",
        tenant_name: str | None = None,
    ) -> None:
        super().__init__(
            model,
            target,
            properties=properties,
            key=key,
            lookup=lookup,
            tenant=tenant,
            tenant_property=tenant_property,
            tenant_name=tenant_name,
        )
        self.start, self.start_path = start
        self.end, self.end_path = end
        for node in (self.start, self.end):
            if tenant and not node.tenant:
                raise GraphSchemaError(f"{self!r} has a tenant, but its end {node!r} has none.")


Projection = NodeProjection | RelationshipProjection
