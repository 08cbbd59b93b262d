"""Documents that are parsed, measured and validated once, and remembered by their text."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
)

from dbopt.graphql.execution.core_versions import validate_document
from dbopt.graphql.safety.costs import Cost, cost_of
from dbopt.graphql.safety.limits import MAX_MISTAKES, check_measure, check_names, checked_measure, checked_outline
from dbopt.graphql.safety.mistakes import vocabulary_of

if TYPE_CHECKING:
    from dbopt.conf import GraphQLSettings
    from dbopt.graphql.safety.measures import Measure

V = TypeVar("V")
Rules = tuple[type[ASTValidationRule], ...]

# What an entry weighs besides its text, in characters: many tiny documents are bounded, too.
_OVERHEAD = 200

# Refused documents are remembered apart, so that they push out no good one, and only those that bugs send again and again.
_REFUSED_CHARACTERS = 100_000
_LONGEST_REFUSED = 2_000


class TextCache(Generic[V]):
    """Values by text, the least used dropped first. Thread-safe.

    Characters bound it, because memory goes with the length of a text: a parsed document takes about 100 bytes a character.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable) -> V | None:
        """Return the value of a key, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: Hashable, value: V, *, characters: int, limit: int) -> None:
        """Remember a value whose text has so many characters, as long as all together have no more than the limit."""
        weight = characters + _OVERHEAD
        with self._lock:
            if key in self._entries:
                self._weight -= self._entries.pop(key)[1]
            if weight <= limit:
                self._entries[key] = (value, weight)
                self._weight += weight
            while self._weight > limit:
                self._weight -= self._entries.popitem(last=False)[1][1]

    def __len__(self) -> int:
        return len(self._entries)


@dataclass(slots=True, eq=False)
class PreparedDocument:
    """A parsed document; errors are those of validation. Shared by threads: nobody changes the document."""

    document: DocumentNode
    measure: Measure
    errors: list[GraphQLError]
    _costs: dict[int, tuple[GraphQLSettings, Cost]] = field(default_factory=dict)

    def cost(
        self, schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Any, options: GraphQLSettings
    ) -> int:
        """Return the points of one of its operations; remembered where no variable has a part in them."""
        known = self._costs.get(id(operation))
        if known is not None and known[0] is options:
            return known[1].points
        cost = cost_of(
            schema,
            self.document,
            operation,
            variables=variables if isinstance(variables, dict) else {},
            page_size=options.default_page_size,
            costs=options.costs,
        )
        if cost.is_constant:
            self._costs[id(operation)] = (options, cost)
        return cost.points


class Documents:
    """The documents of one schema."""

    def __init__(self) -> None:
        self.valid: TextCache[PreparedDocument] = TextCache()
        self.refused: TextCache[PreparedDocument] = TextCache()
        self._names: frozenset[str] | None = None

    def prepare(
        self, schema: GraphQLSchema, text: str, options: GraphQLSettings, *, rules: Rules, max_errors: int | None
    ) -> PreparedDocument:
        """Return a document, checked against the limits of its text and validated, or remembered as such.

        Nothing that depends on the user, the variables or the request is remembered.

        Raises:
            GraphQLError: it cannot be parsed, or is larger than a limit.
        """
        hides_suggestions = not options.shows_suggestions
        key = (text, rules, max_errors, hides_suggestions)
        known = self.valid.get(key) or self.refused.get(key)
        if known is not None:
            # The limits may be others than those it was remembered under: those of another view, for instance.
            check_measure(known.measure, options)
            return known
        outline = checked_outline(text, options)
        check_names(outline, self._vocabulary(schema))
        found = checked_measure(outline, options)
        document = parse(text)
        errors = _validate(schema, document, rules, max_errors=max_errors, hides_suggestions=hides_suggestions)
        prepared = PreparedDocument(document, found, errors)
        limit = options.document_cache_characters
        if not errors:
            self.valid.put(key, prepared, characters=len(text), limit=limit)
        elif len(text) <= _LONGEST_REFUSED:
            self.refused.put(key, prepared, characters=len(text), limit=min(limit, _REFUSED_CHARACTERS))
        return prepared

    def _vocabulary(self, schema: GraphQLSchema) -> frozenset[str]:
        if self._names is None:
            self._names = vocabulary_of(schema)
        return self._names


_documents: WeakKeyDictionary[GraphQLSchema, Documents] = WeakKeyDictionary()


def documents_of(schema: GraphQLSchema) -> Documents:
    """Return what this process remembers of the documents of a schema."""
    return _documents.setdefault(schema, Documents())


def rules_of(extra: Collection[type[ASTValidationRule]] | None) -> Rules:
    """Return those of a view's validation rules that are not of the specification, which always apply."""
    return tuple(rule for rule in extra or () if rule not in specified_rules)


def _validate(
    schema: GraphQLSchema, document: DocumentNode, rules: Rules, *, max_errors: int | None, hides_suggestions: bool
) -> list[GraphQLError]:
    # What older versions of graphql-core suggest all the same is cut out of the response.
    most = MAX_MISTAKES if max_errors is None else max_errors
    options: dict[str, Any] = {"max_errors": most, "hides_suggestions": hides_suggestions}
    errors = validate_document(schema, document, tuple(specified_rules), **options)
    # Afterwards: rules from elsewhere rely on fragments that exist and have no cycles.
    return errors or (validate_document(schema, document, rules, **options) if rules else [])
