"""What a schema and its source show before anything runs: lists without a bound, loops that ask, writes unseen.

Source is read, never run. What it shows is worth a look; what it does not show may be there all the same:
`dbopt.graphql.audit.traces` runs a document and counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from django.core.checks import Warning as Finding
from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    Undefined,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
)

from dbopt.graphql.audit.row_queries import Asking, all_queries, queries_in_loops
from dbopt.graphql.audit.sources import Source, reached, sources_behind
from dbopt.graphql.audit.unseen_writes import unseen_writes
from dbopt.graphql.execution.lists import gives_rows, is_connection, is_row, most_rows, sizes_of

if TYPE_CHECKING:
    from dbopt.conf import GraphQLSettings

_PLACES = 3


@dataclass(frozen=True)
class SchemaField:
    """One field of an object type, with what is known of it.

    Attributes:
        is_repeated: its parents may come in a list.
        sources: the project's functions behind its resolver.
    """

    parent: GraphQLObjectType
    name: str
    definition: GraphQLField
    is_root: bool
    is_repeated: bool
    is_mutation: bool
    sources: list[Source] = field(default_factory=list)

    @property
    def coordinate(self) -> str:
        """``Type.field``."""
        return f"{self.parent.name}.{self.name}"

    @property
    def is_batched(self) -> bool:
        """Whether all parents are resolved at once."""
        return getattr(self.definition.resolve, "batch_resolve", None) is not None


def audit(schema: GraphQLSchema, options: GraphQLSettings, *, declared: Collection[str] = ()) -> list[Finding]:
    """Return the findings about a schema, in the order of its fields.

    Args:
        schema: as it is served, optimised or not.
        options: bounds of lists, and fields about which nothing shall be said.
        declared: functions of the database whose writes the settings declare (``FUNCTION_WRITES``).
    """
    fields = list(fields_of(schema))
    findings = [*_unknown_coordinates(fields, options), *_bare_relations(fields, options)]
    for each in fields:
        if each.coordinate not in options.check_exceptions:
            findings += _unbounded(each, options)
            findings += _asking(each)
            findings += _writing(each, declared)
    return findings


def fields_of(schema: GraphQLSchema) -> Iterator[SchemaField]:
    """Walk the fields of all object types that can be reached, introspection aside."""
    roots = {root for root in (schema.query_type, schema.mutation_type, schema.subscription_type) if root}
    repeated = _repeated_types(schema, roots)
    for parent in schema.type_map.values():
        if isinstance(parent, GraphQLObjectType) and not parent.name.startswith("__"):
            for name, definition in parent.fields.items():
                yield SchemaField(
                    parent,
                    name,
                    definition,
                    is_root=parent in roots,
                    is_repeated=parent.name in repeated,
                    is_mutation=parent is schema.mutation_type,
                    sources=sources_behind(definition.resolve),
                )


def _repeated_types(schema: GraphQLSchema, roots: Collection[GraphQLObjectType]) -> set[str]:
    """Return the types whose objects may come in a list, however far above them it is."""
    todo = [(root, False) for root in roots]
    seen: set[tuple[str, bool]] = set()
    while todo:
        parent, in_list = todo.pop()
        if (parent.name, in_list) in seen:
            continue
        seen.add((parent.name, in_list))
        for definition in parent.fields.values():
            named = get_named_type(definition.type)
            possible: Any = schema.get_possible_types(cast("Any", named)) if is_abstract_type(named) else [named]
            below = in_list or isinstance(get_nullable_type(cast("Any", definition.type)), GraphQLList)
            todo.extend((inner, below) for inner in possible if isinstance(inner, GraphQLObjectType))
    return {name for name, in_list in seen if in_list}


def _unknown_coordinates(fields: list[SchemaField], options: GraphQLSettings) -> list[Finding]:
    lists = {each.coordinate for each in fields if gives_rows(each.definition, each.parent)}
    known = {each.coordinate for each in fields}
    faults: Mapping[str, list[str]] = {
        "LIST_SIZES": [name for name in options.list_sizes if name not in lists],
        "CHECK_EXCEPTIONS": [name for name in options.check_exceptions if name not in known],
    }
    return [
        Finding(
            f'DBOPT["GRAPHQL"]["{key}"] names {name}, which is no {"list of rows" if key == "LIST_SIZES" else "field"}.',
            hint="Correct the name (Type.field, as clients write it), or remove the entry.",
            obj=name,
            id="dbopt.W502",
        )
        for key, names in faults.items()
        for name in names
    ]


def _bare_relations(fields: list[SchemaField], options: GraphQLSettings) -> list[Finding]:
    """Find relations that nothing but graphene-django resolves: all in one finding, because one call is the cure."""
    bare = [
        each.coordinate
        for each in fields
        if each.is_repeated
        and not each.sources
        and is_row(each.parent)
        and is_row(get_named_type(each.definition.type))
        and not each.is_batched
        and each.coordinate not in options.check_exceptions
    ]
    if not bare:
        return []
    return [
        Finding(
            f"{_listed(bare)} {'ask' if len(bare) > 1 else 'asks'} for each row of a list: no loader stands behind.",
            hint="schema = optimize(graphene.Schema(...)), of dbopt.graphql.",
            obj=bare[0],
            id="dbopt.W508",
        )
    ]


def _unbounded(each: SchemaField, options: GraphQLSettings) -> list[Finding]:
    if not gives_rows(each.definition, each.parent) or options.require_pagination:
        # What is not bounded is then refused when it is asked for.
        return []
    sizes = sizes_of(each.definition)
    if is_connection(each.definition):
        is_open = not _max_limit(each.definition)
        fix = "Give the field a max_limit, or use KeysetConnectionField."
    else:
        has_default = any(_is_given(each.definition.args[name]) for name in sizes)
        is_open = most_rows(each.coordinate, options) is None and not has_default
        fix = (
            f"Use KeysetConnectionField, or bound it: LIST_SIZES = {{{each.coordinate!r}: 100}}. "
            "REQUIRE_PAGINATION refuses what is left."
        )
    if not is_open or _is_allowed(each.sources, "W501"):
        return []
    optional = f": {' and '.join(sizes)} may be left out" if sizes else ""
    return [Finding(f"{each.coordinate} gives all rows{optional}.", hint=fix, obj=each.coordinate, id="dbopt.W501")]


def _is_given(argument: GraphQLArgument) -> bool:
    return isinstance(argument.type, GraphQLNonNull) or argument.default_value not in (None, Undefined)


def _max_limit(definition: GraphQLField) -> Any:
    """Return the limit of a `DjangoConnectionField`: the one number that graphene-django binds to its resolver."""
    # `optimize` puts a resolver of its own around it.
    bound = getattr(getattr(definition.resolve, "stock", definition.resolve), "args", ())
    numbers = [value for value in bound if isinstance(value, int) and not isinstance(value, bool)]
    return numbers[0] if numbers else None


def _asking(each: SchemaField) -> list[Finding]:
    is_per_row = each.is_repeated and not each.is_root and not each.is_batched
    model = getattr(getattr(getattr(each.parent, "graphene_type", None), "_meta", None), "model", None)
    found: list[Finding] = []
    loops = [
        asking
        for source in reached(each.sources)
        for asking in queries_in_loops(source, model if source in each.sources else None)
    ]
    per_row = [asking for source in each.sources if is_per_row for asking in all_queries(source, model)]
    if loops and not _is_allowed(each.sources, "W505"):
        found.append(
            _finding(
                each, "W505", "asks in a loop", loops,
                "Ask once for all (filter(pk__in=...), bulk_create), or load_many(keys) of a loader.",
            )
        )  # fmt: skip
    elif per_row and not _is_allowed(each.sources, "W504"):
        found.append(
            _finding(
                each, "W504", f"asks for each {each.parent.name} of a list", per_row,
                "Use a loader, or @batch for all parents at once. "
                "Where the rows are sure to be loaded already (select_related, prefetch_related), say so in a comment.",
            )
        )  # fmt: skip
    if is_per_row and is_connection(each.definition):
        message = f"{each.coordinate} asks for a page, and counts, for each {each.parent.name} of a list."
        hint = "Use a RelatedLoader with a limit."
        found.append(Finding(message, hint=hint, obj=each.coordinate, id="dbopt.W504"))
    return found


def _writing(each: SchemaField, declared: Collection[str]) -> list[Finding]:
    if not each.is_mutation:
        return []
    found = unseen_writes(reached(each.sources), declared=declared)
    if not found or _is_allowed(each.sources, "W503"):
        return []
    hint = "Put it into `with writes(Model):`, or call invalidate(...) after it, of dbopt.cache."
    return [_finding(each, "W503", "writes what no observer sees, as it seems", found, hint)]


def _finding(each: SchemaField, code: str, fault: str, found: list[Asking], hint: str) -> Finding:
    places = dict.fromkeys(f"{asking.what} ({asking.where})" for asking in _once_a_line(found))
    message = f"{each.coordinate} {fault}: {_listed([*places])}."
    return Finding(message, hint=hint, obj=each.coordinate, id=f"dbopt.{code}")


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - _PLACES} more" if len(names) > _PLACES else ""
    return ", ".join(names[:_PLACES]) + more


def _once_a_line(found: list[Asking]) -> list[Asking]:
    # The outermost of what is nested on a line comes first.
    return list({asking.where: asking for asking in reversed(found)}.values())[::-1]


def _is_allowed(sources: list[Source], code: str) -> bool:
    return any(source.allows(code) for source in reached(sources))
