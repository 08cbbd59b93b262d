"""How large a document may be, and the error that says by how much it is not.

Checked in this order, each on what the one before has let through: the text, its tokens, its names, its outline; then it is
parsed and validated, and the operation checked. Nothing here takes longer than in proportion to the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, GraphQLSyntaxError, Source

from dbopt.graphql.safety.measures import MAX_STEPS, FragmentCycleError, Measure, TooDeepError, measure
from dbopt.graphql.safety.mistakes import mistakes_in
from dbopt.graphql.safety.outlines import Outline, outline_of
from dbopt.graphql.safety.tokens import endless_string, tokens_of

if TYPE_CHECKING:
    from dbopt.conf import GraphQLSettings

# As in the rule of graphql-core, which older versions lack: what tools ask for has one.
MAX_INTROSPECTED_LISTS = 2

# Whoever writes documents corrects fewer at once; each that validation finds takes a tenth of a millisecond.
MAX_MISTAKES = 20

# Numbers above are not exact in a client that reads JSON with JavaScript.
_LARGEST_EXACT = 2**53 - 1


class LimitExceededError(GraphQLError):
    """A document, or a request, is larger than a limit: ``extensions`` have code, limit and actual."""

    def __init__(self, code: str, *, what: str, limit: int, actual: int) -> None:
        actual = min(actual, _LARGEST_EXACT)
        super().__init__(
            f"{actual} {what}; at most {limit} are allowed.",
            extensions={"code": code, "limit": limit, "actual": actual},
        )


def checked_outline(text: str, options: GraphQLSettings) -> Outline:
    """Return the outline of a text, refusing one that is too large, before anything reads it properly.

    Raises:
        LimitExceededError: it is.
        GraphQLSyntaxError: a string in it never ends.
    """
    check(len(text), options.max_characters, code="SIZE_LIMIT", what="characters in the document")
    tokens = tokens_of(text)
    check(len(tokens), options.max_tokens, code="TOKEN_LIMIT", what="tokens in the document")
    start = endless_string(text, tokens)
    if start is not None:
        raise GraphQLSyntaxError(Source(text), start, "Unterminated string.")
    outline = outline_of(tokens)
    check(outline.nesting, MAX_STEPS, code="DEPTH_LIMIT", what="nested brackets in the document")
    definitions = len(outline.definitions)
    check(definitions, options.max_definitions, code="DEFINITION_LIMIT", what="operations and fragments")
    return outline


def checked_measure(outline: Outline, options: GraphQLSettings) -> Measure:
    """Measure a document, refusing one that is too large.

    Raises:
        LimitExceededError: it is too large.
        GraphQLError: FRAGMENT_CYCLE, a fragment spreads itself.
    """
    try:
        found = measure(outline, max_fields=options.max_fields, max_merges=options.max_merges)
    except TooDeepError:
        # It was left at the first step too many: nobody knows how many there are.
        raise LimitExceededError(
            "DEPTH_LIMIT", what="or more nested selections", limit=MAX_STEPS, actual=MAX_STEPS + 1
        ) from None
    except FragmentCycleError as error:
        raise GraphQLError(
            f"Cannot spread fragment '{error}' within itself.", extensions={"code": "FRAGMENT_CYCLE"}
        ) from None
    check_measure(found, options)
    return found


def check_measure(found: Measure, options: GraphQLSettings) -> None:
    """Refuse a document by its measure, which may have been taken under other limits.

    Raises:
        LimitExceededError: it is too large.
        GraphQLError: INTROSPECTION_DISABLED.
    """
    if found.introspects and not options.introspection:
        raise GraphQLError("Introspection is disabled.", extensions={"code": "INTROSPECTION_DISABLED"})
    check(found.aliases, options.max_aliases, code="ALIAS_LIMIT", what="aliases")
    check(found.directives, options.max_directives, code="DIRECTIVE_LIMIT", what="directives")
    check(found.fields, options.max_fields, code="FIELD_LIMIT", what="fields")
    check(found.merges, options.max_merges, code="MERGE_LIMIT", what="pairs of fields or fragments to merge")
    check(
        found.introspected_lists,
        MAX_INTROSPECTED_LISTS,
        code="DEPTH_LIMIT",
        what="nested lists of fields or types in introspection",
    )
    check(found.depth, options.max_depth, code="DEPTH_LIMIT", what="levels of fields")
    check(found.root_fields, options.max_root_fields, code="ROOT_FIELD_LIMIT", what="fields of the root")


def check_names(outline: Outline, vocabulary: frozenset[str]) -> None:
    """Refuse a document that is little but mistakes, which validation would list one by one.

    Raises:
        LimitExceededError: it is.
    """
    mistakes = mistakes_in(outline, vocabulary)
    check(mistakes, MAX_MISTAKES, code="MISTAKE_LIMIT", what="unknown, unused or repeated names")


def check_values(variables: Any, limit: int | None) -> None:
    """Refuse variables that hold too many values: each is looked at twice before anything runs.

    Raises:
        LimitExceededError: they do. Counting ends there, so `actual` may be less than there are.
    """
    if limit is None:
        return
    waiting, found = [variables], 0
    while waiting:
        container = waiting.pop()
        if isinstance(container, dict | list):
            found += len(container)
            if found > limit:
                break
            waiting += container.values() if isinstance(container, dict) else container
    check(found, limit, code="VALUE_LIMIT", what="or more values in the variables")


def check(actual: int, limit: int | None, *, code: str, what: str) -> None:
    """Refuse a number above its limit; None is no limit.

    Raises:
        LimitExceededError: it is above.
    """
    if limit is not None and actual > limit:
        raise LimitExceededError(code, what=what, limit=limit, actual=actual)
