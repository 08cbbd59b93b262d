"""Mistakes that can be seen in a document's outline: those of names, which are found in sets.

Validation finds them too, in half a millisecond each with what the parser takes: a document that consists of them is
refused before that.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema

if TYPE_CHECKING:
    from dbopt.graphql.safety.outlines import Outline

_META_FIELDS = ("__typename", "__schema", "__type")


def vocabulary_of(schema: GraphQLSchema) -> frozenset[str]:
    """Return all names that a document may take from a schema: of types, fields, arguments and directives."""
    names = {*_META_FIELDS, *schema.type_map}
    for directive in schema.directives:
        names.update((directive.name, *directive.args))
    for named in schema.type_map.values():
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType):
            names.update(named.fields)
            for described in named.fields.values():
                names.update(described.args)
    return frozenset(names)


def mistakes_in(outline: Outline, vocabulary: frozenset[str]) -> int:
    """Return how many names of a document are unknown, unused or repeated, at least. Validation refuses each of them."""
    unknown = len([name for name in outline.names if name not in vocabulary])
    variables = _lonely(outline.defined, outline.used)
    fragments = _lonely(Counter(dict.fromkeys(outline.fragments, 1)), outline.spreads)
    return unknown + variables + fragments + outline.repeated


def _lonely(defined: Counter[str], used: Counter[str]) -> int:
    """Return how often something is defined that is nowhere used, and the other way round."""
    without_use = sum(count for name, count in defined.items() if not used[name])
    return without_use + sum(count for name, count in used.items() if not defined[name])
