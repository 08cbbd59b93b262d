"""Rules as Cypher: identifiers quoted, options from known names only, never IF NOT EXISTS.

``IF NOT EXISTS`` does nothing in silence where the name or the properties are taken by another rule.
"""

from __future__ import annotations

from dbopt.neo4j.schema.identifiers import quote
from dbopt.neo4j.schema.rules import NODE, LiveRule, Rule


def create_statement(rule: Rule) -> str:
    """Return the statement that creates a rule."""
    pattern = _pattern(rule)
    if rule.is_constraint:
        return f"CREATE CONSTRAINT {quote(rule.name)} FOR {pattern} REQUIRE {_requirement(rule)}"
    columns = ", ".join(f"n.{quote(name)}" for name in rule.properties)
    on = f"ON EACH [{columns}]" if rule.kind == "fulltext" else f"ON ({columns})"
    statement = f"CREATE {rule.kind.upper()} INDEX {quote(rule.name)} FOR {pattern} {on}"
    if rule.options:
        config = ", ".join(f"{quote(name)}: {_literal(value)}" for name, value in rule.options)
        statement += f" OPTIONS {{indexConfig: {{{config}}}}}"
    return statement


def drop_statement(live: LiveRule) -> str:
    """Return the statement that drops what is on the server."""
    return f"DROP {'CONSTRAINT' if live.is_constraint else 'INDEX'} {quote(live.name)} IF EXISTS"


def duplicates_statement(rule: Rule, *, show: bool = False) -> str:
    """Return the query that counts, or shows, values that a uniqueness constraint would refuse."""
    match = _match(rule)
    present = " AND ".join(f"n.{quote(name)} IS NOT NULL" for name in rule.properties)
    values = ", ".join(f"n.{quote(name)}" for name in rule.properties)
    head = f"MATCH {match} WHERE {present} WITH [{values}] AS value, "
    if show:
        return head + "collect(elementId(n)) AS ids WHERE size(ids) > 1 RETURN value, ids"
    return head + (
        "count(*) AS held WHERE held > 1 RETURN count(*) AS value_count, coalesce(sum(held), 0) AS held_count"
    )


def missing_statement(rule: Rule) -> str:
    """Return the query that counts what an existence or key constraint would refuse."""
    match = _match(rule)
    absent = " OR ".join(f"n.{quote(name)} IS NULL" for name in rule.properties)
    return f"MATCH {match} WHERE {absent} RETURN count(*) AS missing_count"


def _match(rule: Rule) -> str:
    label = quote(rule.labels[0])
    return f"(n:{label})" if rule.entity == NODE else f"()-[n:{label}]->()"


def _pattern(rule: Rule) -> str:
    labels = "|".join(quote(label) for label in rule.labels)
    return f"(n:{labels})" if rule.entity == NODE else f"()-[n:{labels}]-()"


def _requirement(rule: Rule) -> str:
    columns = ", ".join(f"n.{quote(name)}" for name in rule.properties)
    if rule.kind == "unique":
        return f"({columns}) IS UNIQUE"
    if rule.kind == "key":
        return f"({columns}) IS {rule.entity} KEY"
    if rule.kind == "exists":
        return f"{columns} IS NOT NULL"
    return f"{columns} IS :: {rule.property_type}"


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
