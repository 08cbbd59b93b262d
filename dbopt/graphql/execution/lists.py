"""Lists of rows: which fields of a schema are such, and what bounds them.

Rows are what a graphene type of a Django model shows. graphene is not imported: its types say in ``_meta`` what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLField, GraphQLList, GraphQLNonNull, GraphQLObjectType

from dbopt.conf import dbopt_settings
from dbopt.exceptions import PageSizeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dbopt.conf import GraphQLSettings

SIZES = ("first", "last", "limit")
"""Arguments that say how many rows a field gives at most."""


def gives_rows(field: GraphQLField, parent: GraphQLObjectType) -> bool:
    """Say whether a field gives rows in a list, or in a connection of graphene's (``DjangoConnectionField``).

    The lists inside of a connection are no fields of their own here, and `KeysetConnectionField` bounds itself.
    """
    inner: Any = field.type
    is_list = False
    while isinstance(inner, (GraphQLList, GraphQLNonNull)):
        is_list = is_list or isinstance(inner, GraphQLList)
        inner = inner.of_type
    if is_list:
        return "pageInfo" not in parent.fields and is_row(inner)
    return is_connection(field)


def is_connection(field: GraphQLField) -> bool:
    """Say whether a field gives a connection of graphene's."""
    inner: Any = field.type
    inner = inner.of_type if isinstance(inner, GraphQLNonNull) else inner
    node = getattr(getattr(getattr(inner, "graphene_type", None), "_meta", None), "node", None)
    return _shows_rows(getattr(node, "of_type", node))


def is_row(named: Any) -> bool:
    """Say whether a type of the schema shows rows."""
    return _shows_rows(getattr(named, "graphene_type", None))


def _shows_rows(graphene_type: Any) -> bool:
    meta = getattr(graphene_type, "_meta", None)
    # A union of such types is searched in the same way.
    return getattr(meta, "model", None) is not None or any(map(_shows_rows, getattr(meta, "types", None) or ()))


def sizes_of(field: GraphQLField) -> tuple[str, ...]:
    """Return the arguments of a field that say how many rows it gives."""
    return tuple(name for name in SIZES if name in field.args)


def most_rows(coordinate: str, options: GraphQLSettings) -> int | None:
    """Return how many rows a list may have, None for any number. ``LIST_SIZES`` goes before ``MAX_LIST_SIZE``."""
    return options.list_sizes.get(coordinate, options.max_list_size)


def rows_to_read(info: Any) -> int | None:
    """Return how many rows of a field's list are worth reading: one more than it may have tells that there are too many."""
    most = most_rows(f"{info.parent_type.name}.{info.field_name}", dbopt_settings.graphql)
    return None if most is None else most + 1


def missing_size(
    coordinate: str, field: GraphQLField, arguments: Mapping[str, Any], options: GraphQLSettings
) -> PageSizeError | None:
    """Return why a list may not be asked for in this way where pagination is required, None if it may."""
    sizes = sizes_of(field)
    if sizes:
        if any(arguments.get(name) is not None for name in sizes):
            return None
        named = " or ".join(f"`{name}`" for name in sizes)
        return PageSizeError(f"{coordinate} must be paginated: give {named}.", code="PAGINATION_REQUIRED")
    if most_rows(coordinate, options) is not None:
        return None
    return PageSizeError(
        f"{coordinate} cannot be asked for: it takes no {', '.join(SIZES[:-1])} or {SIZES[-1]}, and nothing bounds it.",
        code="PAGINATION_REQUIRED",
    )


def too_many(coordinate: str, most: int) -> PageSizeError:
    """Return the error of a list that is longer than it may be."""
    return PageSizeError(
        f"{coordinate} has more than {most} rows, which is the most it may give.", code="PAGE_TOO_LARGE"
    )
