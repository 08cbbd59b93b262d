"""Contradictions between declarations, found without a server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from dbopt.exceptions import GraphSchemaError
from dbopt.neo4j.schema.discover import graph_schemas
from dbopt.neo4j.schema.rules import INDEXED_KINDS, NODE, Rule

if TYPE_CHECKING:
    from django.apps import AppConfig


@dataclass(frozen=True, slots=True)
class Conflict:
    """A contradiction or a redundancy.

    Attributes:
        code: "E301" and its like; those with E keep the schema from being applied.
    """

    code: str
    text: str
    hint: str

    @property
    def is_error(self) -> bool:
        """Whether nothing may be applied."""
        return self.code.startswith("E")


@dataclass(frozen=True, slots=True)
class Redundant:
    """A rule that need not be created, because another one does its work."""

    rule: Rule
    by: Rule
    reason: str


def conflicts(rules: Sequence[Rule]) -> list[Conflict]:
    """Return what is wrong between declarations of one alias, errors first; pure."""
    found = [
        *_repeated_properties(rules),
        *_taken_names(rules),
        *_contradicting_options(rules),
        *_redundancies(rules),
        *_permuted(rules),
        *_ambiguous_labels(rules),
        *_contained_unique(rules),
    ]
    return sorted(found, key=lambda conflict: (not conflict.is_error, conflict.code))


def reduce_rules(rules: Sequence[Rule]) -> tuple[list[Rule], list[Redundant]]:
    """Part rules into those to create and those that another one of them covers; pure."""
    kept: dict[Any, Rule] = {}
    redundant = []
    # Constraints first: they cover indexes, a key covers unique and existence.
    order = {"key": 0, "unique": 1}
    for rule in sorted(rules, key=lambda rule: order.get(rule.kind, 2)):
        by, reason = _covering(rule, kept)
        if by is None:
            kept[rule.key] = rule
        else:
            redundant.append(Redundant(rule, by, reason))
    position = {id(rule): number for number, rule in enumerate(rules)}
    return sorted(kept.values(), key=lambda rule: position[id(rule)]), redundant


def check_graph_schemas(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Graph declarations can be read, and do not contradict each other."""
    by_alias: dict[str, list[Rule]] = defaultdict(list)
    try:
        for found in graph_schemas():
            by_alias[found.alias].extend(found.schema.rules(app_label=found.app_label))
    except GraphSchemaError as error:
        return [Error(str(error), hint="See docs/graph-indexes.md.", id="dbopt.E300")]
    return [
        (Error if conflict.is_error else CheckWarning)(conflict.text, hint=conflict.hint, id=f"dbopt.{conflict.code}")
        for rules in by_alias.values()
        for conflict in conflicts(rules)
    ]


def _covering(rule: Rule, kept: dict[Any, Rule]) -> tuple[Rule | None, str]:
    _, *where = rule.key
    same = kept.get(rule.key)
    if same is not None:
        return same, "the same rule is declared twice"
    key, unique = kept.get(("key", *where)), kept.get(("unique", *where))
    if rule.kind == "unique" and key is not None:
        return key, "a key is unique already"
    if rule.kind == "range" and (key or unique) is not None:
        return key or unique, "the constraint brings this index"
    if rule.kind == "exists":
        for other in kept.values():
            if other.kind == "key" and _same_target(other, rule) and rule.properties[0] in other.properties:
                return other, "a key's properties exist already"
    return None, ""


def _same_target(one: Rule, other: Rule) -> bool:
    return (one.entity, sorted(one.labels)) == (other.entity, sorted(other.labels))


def _named(rule: Rule) -> str:
    return f"{rule.kind} {rule.name!r} on {rule.target} ({rule.source})"


def _repeated_properties(rules: Iterable[Rule]) -> Iterator[Conflict]:
    for rule in rules:
        if len(set(rule.properties)) < len(rule.properties):
            yield Conflict("E303", f"{_named(rule)} names a property twice.", "Name each property once.")


def _taken_names(rules: Iterable[Rule]) -> Iterator[Conflict]:
    first: dict[str, Rule] = {}
    for rule in rules:
        other = first.setdefault(rule.name, rule)
        # Indexes and constraints share one space of names.
        if other is not rule and replace(other, source="", owner="") != replace(rule, source="", owner=""):
            yield Conflict(
                "E301",
                f"The name {rule.name!r} is given to two rules: {_named(other)} and {_named(rule)}.",
                "Indexes and constraints share one space of names: give one of them another name.",
            )


def _contradicting_options(rules: Iterable[Rule]) -> Iterator[Conflict]:
    first: dict[Any, Rule] = {}
    for rule in rules:
        where = rule.key
        other = first.setdefault(where, rule)
        if (other.options, other.property_type) != (rule.options, rule.property_type):
            yield Conflict(
                "E302",
                f"{_named(rule)} has other options than {_named(other)}.",
                "The server keeps one rule of a kind for the same properties: declare one of them.",
            )


def _redundancies(rules: Sequence[Rule]) -> Iterator[Conflict]:
    for item in reduce_rules(rules)[1]:
        code = "W302" if item.rule.key == item.by.key else "W301"
        yield Conflict(
            code,
            f"{_named(item.rule)} is not created: {item.reason}, {_named(item.by)}.",
            "Delete this declaration.",
        )


def _permuted(rules: Sequence[Rule]) -> Iterator[Conflict]:
    groups: dict[Any, dict[tuple[str, ...], Rule]] = defaultdict(dict)
    for rule in rules:
        if rule.kind in ("range", "fulltext", *INDEXED_KINDS) and len(rule.properties) > 1:
            kind = "fulltext" if rule.kind == "fulltext" else "range"
            groups[kind, rule.entity, tuple(sorted(rule.labels)), tuple(sorted(rule.properties))].setdefault(
                rule.properties, rule
            )
    for group in groups.values():
        for one, other in combinations(group.values(), 2):
            yield Conflict(
                "W303",
                f"{_named(other)} has the same properties as {_named(one)} in another order.",
                "The server keeps both and writes both: keep one, unless queries need both orders.",
            )


def _ambiguous_labels(rules: Iterable[Rule]) -> Iterator[Conflict]:
    labels: dict[bool, set[str]] = {True: set(), False: set()}
    for rule in rules:
        labels[rule.entity == NODE].update(rule.labels)
    for name in sorted(labels[True] & labels[False]):
        yield Conflict(
            "W304",
            f"{name!r} is declared as a label of nodes and as a type of relationships.",
            "Both are legal, but a rule on the wrong one is never used: check which one the data has.",
        )


def _contained_unique(rules: Sequence[Rule]) -> Iterator[Conflict]:
    uniques = [rule for rule in rules if rule.kind in INDEXED_KINDS]
    for small in uniques:
        for large in uniques:
            if _same_target(small, large) and set(small.properties) < set(large.properties):
                yield Conflict(
                    "W305",
                    f"{_named(large)} can never be violated, because {_named(small)} is stricter.",
                    "Decide whether the shorter one really is unique over all tenants, and keep one.",
                )
