"""Invalidation by hand: for writes that dbopt cannot see, and for what a project named itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connections, models

from dbopt.cache.functions.decorator import bypass
from dbopt.cache.names.declared import strict_among
from dbopt.cache.names.keys import tenant_slug
from dbopt.cache.names.tables import database_of, model_tables
from dbopt.cache.names.tokens import EPOCH, own_tag, tenant_tag
from dbopt.cache.observation.transactions import watch
from dbopt.cache.observation.unfinished import renew, unfinished
from dbopt.cache.observation.written import tags_of_row, whole_tables
from dbopt.cache.server.servers import server
from dbopt.cache.server.strict import new_writer

if TYPE_CHECKING:
    from collections.abc import Iterator


def invalidate(target: type[models.Model] | str, *, pk: object = None, using: str | None = None) -> bool:
    """Make results invalid that depend on a model's table, or on a tag of one's own.

    Inside a transaction the tokens are renewed now and once more after its COMMIT.

    Args:
        target: a model, or a tag as given to ``cached_query(tags=...)``.
        pk: the row that changed: results of single other rows stay; None means any of them.
        using: the database that was written, or a replica of it; None means all of them.

    Returns:
        False while the cache server is out of reach; the invalidation is then made up for later.
    """
    if isinstance(target, str):
        return renew({own_tag(target)}, unfinished())
    delivered = True
    for alias, tags in _model_tags((target,), using, pk=pk).items():
        within = [connection for connection in unfinished() if connection.alias == alias]
        delivered = renew(tags, within) and delivered
    return delivered


def invalidate_tenant(tenant: object) -> bool:
    """Make everything that is stored for a tenant, named by its primary key, invalid. Returns as invalidate()."""
    return renew({tenant_tag(tenant_slug(tenant))}, unfinished())


def invalidate_all() -> bool:
    """Make every stored result of all functions and tenants invalid. Returns as invalidate()."""
    return renew({EPOCH}, unfinished())


@contextmanager
def writes(*written: type[models.Model], using: str | None = None) -> Iterator[None]:
    """Declare that the block writes to models in ways that SQL does not show: functions, COPY, triggers.

    Tokens are renewed when the block ends, also after an error, or after the COMMIT of the transaction around it.
    ``using`` names the database, or a replica of it; None means all of them.
    """
    written_tags = _model_tags(written, using)
    # In an atomic block, what is written is announced before its COMMIT.
    at_once = (tags for alias, tags in written_tags.items() if not connections[alias].in_atomic_block)
    strict, writer = strict_among(frozenset().union(*at_once)), new_writer()
    if strict:
        # Not under the name of a transaction: those that end inside the block take their own marks away.
        server().mark(strict, writer=writer)
    try:
        # What the block itself reads may hold rows that are not committed yet.
        with bypass():
            yield
    finally:
        for alias, tags in written_tags.items():
            watch(connections[alias]).wrote(tags)
        if strict:
            server().renew(strict, writer=writer)


def _model_tags(
    written: tuple[type[models.Model], ...], using: str | None, *, pk: object = None
) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for alias in {database_of(connections[each]) for each in ([using] if using is not None else connections)}:
        tags = (
            whole_tables(alias, model_tables(model)) if pk is None else tags_of_row(model, pk, connections[alias])
            for model in written
        )
        found[alias] = frozenset().union(*tags)
    return found
