"""Compare declarations with a server: what is there, what is missing, what stands in the way. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dbopt.neo4j.schema.conflicts import Conflict, conflicts, reduce_rules
from dbopt.neo4j.schema.render import create_statement, drop_statement
from dbopt.neo4j.schema.rules import (
    CONSTRAINT_KINDS,
    ENTERPRISE_KINDS,
    INDEX_KINDS,
    INDEXED_KINDS,
    Live,
    LiveRule,
    Rule,
    draw,
)

OK, CREATE, CHANGE, COVERED, UNSUPPORTED, EXTRA = "OK", "CREATE", "CHANGE", "COVERED", "UNSUPPORTED", "EXTRA"


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One rule, and what is to be done.

    Attributes:
        action: OK; CREATE; CHANGE (something must be dropped first); COVERED (another rule does its work);
            UNSUPPORTED (needs another edition, skipped); EXTRA (ours by name, but declared no more; left alone).
        rule: None of EXTRA.
        live_name: the server's name, where it is there.
        drops: what must go before it can be created.
        pending: it is there, and the server is still filling it.
    """

    action: str
    kind: str
    name: str
    target: str
    reason: str = ""
    rule: Rule | None = None
    live_name: str | None = None
    drops: tuple[LiveRule, ...] = ()
    pending: bool = False

    @property
    def cypher(self) -> list[str]:
        """The statements that would do it."""
        if self.rule is None or self.action not in (CREATE, CHANGE):
            return []
        return [*map(drop_statement, self.drops), create_statement(self.rule)]


@dataclass(frozen=True, slots=True)
class Plan:
    """All items: constraints first, because indexes depend on them."""

    items: tuple[PlanItem, ...]
    conflicts: tuple[Conflict, ...]
    edition: str
    version: str

    def having(self, *actions: str) -> list[PlanItem]:
        """Return the items with one of these actions."""
        return [item for item in self.items if item.action in actions]

    @property
    def is_in_sync(self) -> bool:
        """Whether nothing is missing, to be changed, or still being filled."""
        return not self.having(CREATE, CHANGE) and not any(item.pending for item in self.items)

    @property
    def errors(self) -> list[Conflict]:
        """Contradictions that keep anything from being applied."""
        return [conflict for conflict in self.conflicts if conflict.is_error]

    def summary(self) -> dict[str, int]:
        """Return how many items have which action."""
        return dict(sorted(Counter(item.action for item in self.items).items()))


def make_plan(declared: Sequence[Rule], live: Live) -> Plan:
    """Compare what is declared with what is there."""
    supported, skipped = _for_edition(declared, live)
    wanted, redundant = reduce_rules(supported)
    wanted.sort(key=lambda rule: not rule.is_constraint)
    items = [_item(rule, live) for rule in wanted]
    items += [_of(item.rule, COVERED, f"{item.reason}: {item.by.name!r}") for item in redundant]
    items += skipped
    return Plan(
        items=(*items, *_extras(items, declared, live)),
        conflicts=tuple(conflicts(declared)),
        edition=live.edition,
        version=live.version,
    )


def _for_edition(declared: Sequence[Rule], live: Live) -> tuple[list[Rule], list[PlanItem]]:
    supported, skipped = [], []
    for rule in declared:
        if live.is_enterprise or rule.kind not in ENTERPRISE_KINDS:
            supported.append(rule)
        elif rule.kind == "key" and rule.fallback == "unique":
            supported.append(replace(rule, kind="unique"))
            skipped.append(_of(rule, UNSUPPORTED, f"needs Neo4j Enterprise, this is {live.edition}: unique instead"))
        else:
            skipped.append(_of(rule, UNSUPPORTED, f"needs Neo4j Enterprise, this is {live.edition}: skipped"))
    return supported, skipped


def _of(rule: Rule, action: str, reason: str = "", **facts: object) -> PlanItem:
    item = PlanItem(action, rule.kind, rule.name, rule.target, reason, rule=rule)
    return replace(item, **facts) if facts else item  # type: ignore[arg-type]  # names are this module's own


def _item(rule: Rule, live: Live) -> PlanItem:
    same = [other for other in live.rules if other.key == rule.key and other.owned_by is None]
    if same:
        return _existing(rule, same[0])
    covering = _covered_by(rule, live)
    if covering is not None:
        return _of(rule, COVERED, f"constraint {covering.name!r} does it", live_name=covering.name)
    drops = _in_the_way(rule, live)
    if drops:
        names = ", ".join(f"{other.kind} {other.name!r}" for other in drops)
        return _of(rule, CHANGE, f"{names} must be dropped first", drops=drops)
    return _of(rule, CREATE)


def _existing(rule: Rule, live: LiveRule) -> PlanItem:
    if live.state == "FAILED":
        return _of(rule, CHANGE, "the server failed to build it", drops=(live,))
    differing = _differing(rule, live)
    if differing:
        return _of(rule, CHANGE, f"{differing}; {live.name!r} must be dropped first", drops=(live,))
    reason = "" if live.name == rule.name else f"is there as {live.name!r}"
    pending = live.state != "ONLINE"
    if pending:
        reason = f"{reason} {live.state.lower()}, {live.population:.0f} %".strip()
    return _of(rule, OK, reason, live_name=live.name, pending=pending)


def _differing(rule: Rule, live: LiveRule) -> str:
    """Compare what was declared only: the server fills in its defaults for the rest."""
    if rule.property_type != live.property_type and rule.kind == "typed":
        return f"type is {live.property_type}, declared {rule.property_type}"
    there = dict(live.options)
    for name, value in rule.options:
        wanted = value.lower() if isinstance(value, str) else value
        if there.get(name) != wanted:
            return f"{name} is {there.get(name)!r}, declared {value!r}"
    return ""


def _covered_by(rule: Rule, live: Live) -> LiveRule | None:
    stronger = {"unique": ("key",), "range": ("unique", "key")}.get(rule.kind, ())
    for other in live.rules:
        if other.kind in stronger and other.key[1:] == rule.key[1:]:
            return other
        if rule.kind == "exists" and _key_has(other, rule):
            return other
    return None


def _key_has(other: LiveRule, rule: Rule) -> bool:
    return other.kind == "key" and other.key[1:3] == rule.key[1:3] and rule.properties[0] in other.properties


def _in_the_way(rule: Rule, live: Live) -> tuple[LiveRule, ...]:
    found = []
    for other in live.rules:
        blocks_index = rule.kind in INDEXED_KINDS and other.key == rule.range_key and other.owned_by is None
        weaker = rule.kind == "key" and other.kind == "unique" and other.key[1:] == rule.key[1:]
        # An index that belongs to a constraint has the constraint's name, and goes with it.
        named = other.name == rule.name and other.owned_by is None
        if blocks_index or weaker or named:
            found.append(other)
    return tuple(found)


def _extras(items: Sequence[PlanItem], declared: Sequence[Rule], live: Live) -> list[PlanItem]:
    known = {item.name for item in items} | {item.live_name for item in items}
    known |= {other.name for item in items for other in item.drops}
    prefixes = tuple(f"{owner.lower()}_{kind}_" for owner in {rule.owner for rule in declared} for kind in _KINDS)
    return [
        PlanItem(EXTRA, other.kind, other.name, _draw(other), "its name is one of ours, but it is declared no more")
        for other in live.rules
        if other.owned_by is None and other.name not in known and other.name.startswith(prefixes)
    ]


_KINDS = sorted(INDEX_KINDS | CONSTRAINT_KINDS)


def _draw(live: LiveRule) -> str:
    return draw(live.entity, live.labels, live.properties)
