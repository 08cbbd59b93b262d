"""Synthetic rows of the domain: deterministic, and skewed like real data. Pure: no database here."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

# Every moment is counted back from here, so that a run is the same on any day.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = ("PERSON", "ORGANIZATION", "ACCOUNT", "LOCATION", "EVENT")
TYPE_WEIGHTS = (45, 25, 15, 10, 5)
RELATIONSHIP_TYPES = ("TRANSFERRED", "OWNS", "KNOWS", "LOCATED_IN", "MENTIONS")
STATUSES = ("open", "active", "closed", "archived")
COUNTRIES = ("DE", "FR", "US", "SG", "LV", "CY", "GB", "AE", "CH", "PA")
FIRST = ("Ada", "Boris", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hugo", "Inés", "Jürgen", "Kofi", "Łucja")
LAST = ("Abadi", "Berg", "Costa", "Dvořák", "Eriksen", "Fonseca", "García", "Hassan", "Ivanova", "Jensen", "Keita")
BUSINESS = ("Atlas", "Baltic", "Crescent", "Delta", "Everest", "Falcon", "Granite", "Harbour", "Indigo", "Juniper")
FORMS = ("Ltd", "GmbH", "SA", "LLC", "Holding", "Bank", "Trading", "Shipping")
# Exponents over a uniform number: the larger, the more the first rows are preferred.
HUB, TARGET = 3.0, 2.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How many rows a tenant gets for its entities."""

    entities: int

    @property
    def relationships(self) -> int:
        """Three per entity."""
        return self.entities * 3

    @property
    def investigations(self) -> int:
        """One per fifty entities, at least one."""
        return max(1, self.entities // 50)

    @property
    def sources(self) -> int:
        """One per two entities."""
        return self.entities // 2

    @property
    def embeddings(self) -> int:
        """One per twenty entities."""
        return self.entities // 20

    @property
    def runs(self) -> int:
        """One per ten entities."""
        return self.entities // 10


def tenant_shares(entities: int, tenants: int) -> list[Shares]:
    """Split entities over tenants by Zipf's law: the first gets most; every tenant gets at least one."""
    weights = [1 / (rank + 1) for rank in range(tenants)]
    total = sum(weights)
    sizes = [1 + int((entities - tenants) * weight / total) for weight in weights]
    sizes[0] += entities - sum(sizes)
    return [Shares(size) for size in sizes]


class Generator:
    """Rows of one tenant; the same seed and sizes give the same rows."""

    def __init__(self, *, seed: int, tenant: int) -> None:
        self.random = random.Random(f"{seed}/{tenant}")  # noqa: S311 - data, not secrets

    def moment(self) -> datetime:
        """A moment in the three years before EPOCH; recent ones are likelier."""
        return EPOCH - timedelta(seconds=int(94_608_000 * self.random.random() ** 2))

    def pick(self, items: Sequence[Any], skew: float) -> Any:
        """One of the items, the first ones more often."""
        return items[int(len(items) * self.random.random() ** skew)]

    def entities(self, count: int) -> Iterator[tuple[Any, ...]]:
        """external_id, type, canonical_id, name, confidence, props, created_at, updated_at."""
        choose = self.random
        for number in range(count):
            kind = choose.choices(TYPES, TYPE_WEIGHTS)[0]
            created = self.moment()
            canonical = f"{kind.lower()}:{number}" if choose.random() < 0.3 else None  # noqa: PLR2004
            props = {"country": choose.choice(COUNTRIES), "risk": choose.randrange(100)}
            changed = created + timedelta(hours=choose.randrange(500))
            yield (
                f"e-{number}",
                kind,
                canonical,
                self._name(kind, number),
                round(choose.random() ** 0.5, 3),
                props,
                created,
                changed,
            )

    def _name(self, kind: str, number: int) -> str:
        choose = self.random
        if kind == "PERSON":
            return f"{choose.choice(FIRST)} {choose.choice(LAST)} {number:x}"
        if kind == "ORGANIZATION":
            return f"{choose.choice(BUSINESS)} {choose.choice(LAST)} {choose.choice(FORMS)} {number:x}"
        return f"{kind.title()} {choose.choice(COUNTRIES)} {choose.randrange(16**8):08X} {number:x}"

    def relationships(self, entities: Sequence[int], count: int) -> Iterator[tuple[Any, ...]]:
        """external_id, source, target, type, confidence, weight, valid_from, valid_to, props, created_at, updated_at."""
        choose = self.random
        for number in range(count):
            created = self.moment()
            start = None if choose.random() < 0.1 else created.date() - timedelta(days=choose.randrange(400))  # noqa: PLR2004
            end = None
            if start is not None and choose.random() < 0.6:  # noqa: PLR2004
                # One in a hundred ends before it begins, as in real data.
                days = choose.randrange(700) if choose.random() > 0.01 else -choose.randrange(1, 30)  # noqa: PLR2004
                end = start + timedelta(days=days)
            yield (
                f"r-{number}",
                self.pick(entities, HUB),
                self.pick(entities, TARGET),
                choose.choice(RELATIONSHIP_TYPES),
                round(choose.random() ** 0.5, 3),
                round(choose.lognormvariate(3, 2), 2) if choose.random() < 0.7 else None,  # noqa: PLR2004
                start,
                end,
                {"report": f"{choose.randrange(5000)}"},
                created,
                created,
            )

    def investigations(self, count: int, users: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """external_id, name, status, priority, assigned_to, created_at, updated_at."""
        choose = self.random
        for number in range(count):
            created = self.moment()
            assignee = choose.choice(users) if choose.random() < 0.8 else None  # noqa: PLR2004
            name = f"Case {choose.choice(BUSINESS)} {choose.choice(LAST)} {number}"
            yield f"i-{number}", name, choose.choice(STATUSES), choose.randint(1, 4), assignee, created, created

    def memberships(self, investigations: Sequence[int], entities: Sequence[int]) -> Iterator[tuple[Any, ...]]:
        """investigation, entity, added_at; three to twenty entities each, none twice."""
        choose = self.random
        for investigation in investigations:
            wanted = choose.randint(3, 20)
            for entity in dict.fromkeys(self.pick(entities, TARGET) for _ in range(wanted)):
                yield investigation, entity, self.moment()

    def sources(self, entities: Sequence[int], count: int) -> Iterator[tuple[Any, ...]]:
        """entity, type, url, title, created_at."""
        choose = self.random
        for number in range(count):
            kind = choose.choice(("report", "article", "registry"))
            yield (
                choose.choice(entities),
                kind,
                f"https://example.org/{kind}/{number:x}",
                f"{kind} {number}",
                self.moment(),
            )

    def audit(self, entities: Sequence[int], users: Sequence[int], count: int) -> Iterator[tuple[Any, ...]]:
        """actor, action, object_type, object_id, data, created_at; in the order of time, as a log is."""
        choose = self.random
        for moment in sorted(self.moment() for _ in range(count)):
            action = choose.choices(("view", "update", "export", "delete"), (80, 15, 4, 1))[0]
            yield choose.choice(users), action, "entity", self.pick(entities, TARGET), {}, moment

    def embeddings(self, entities: Sequence[int], count: int) -> Iterator[tuple[Any, ...]]:
        """entity, model, vector, is_stale, created_at."""
        choose = self.random
        for entity in choose.sample(entities, count):
            vector = [round(choose.uniform(-1, 1), 4) for _ in range(8)]
            yield entity, "mini-8", vector, choose.random() < 0.1, self.moment()  # noqa: PLR2004

    def runs(self, pipelines: Sequence[int], count: int) -> Iterator[tuple[Any, ...]]:
        """pipeline, status, priority, idempotency_key, created_at, started_at, heartbeat_at."""
        choose = self.random
        for number in range(count):
            status = choose.choices(("queued", "running", "done", "failed"), (4, 2, 84, 10))[0]
            created = self.moment()
            started = None if status == "queued" else created + timedelta(seconds=choose.randrange(600))
            beat = started + timedelta(seconds=choose.randrange(3600)) if started else None
            yield choose.choice(pipelines), status, choose.randrange(10), f"run-{number}", created, started, beat
