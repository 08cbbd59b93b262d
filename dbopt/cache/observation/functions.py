"""Which functions a statement calls that may read tables: what they read does not show in its text.

PostgreSQL's own read none, nor do those that are declared IMMUTABLE, nor the STABLE ones of extensions, such as unaccent().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.backends.base.base import BaseDatabaseWrapper

_READING = """
    SELECT DISTINCT p.proname
    FROM pg_proc p
    LEFT JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
    WHERE p.proname = ANY(%s) AND p.pronamespace <> 'pg_catalog'::regnamespace
      AND (p.provolatile = 'v' OR (p.provolatile = 's' AND e.objid IS NULL))
"""

# By alias and name: whether it may read tables.
_known: dict[tuple[str, str], bool] = {}


def may_read(functions: Collection[str], connection: BaseDatabaseWrapper) -> bool:
    """Tell whether one of these functions may read tables; asks the catalogue once a process and name.

    On the driver's own cursor, right before the statement that calls them.
    """
    if connection.vendor != "postgresql":
        return False
    alias = connection.alias
    new = [name for name in functions if (alias, name) not in _known]
    if new:
        with connection.connection.cursor() as cursor:
            cursor.execute(_READING, [new])
            reading = {name for (name,) in cursor.fetchall()}
        _known.update({(alias, name): name in reading for name in new})
    return any(_known[alias, name] for name in functions)


def forget_functions() -> None:
    """Ask the catalogue again next time: definitions changed."""
    _known.clear()
