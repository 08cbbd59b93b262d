"""Which tables lie behind a model that Django did not make: it may stand for a view.

A view's rows change when its tables are written, and those writes never name the view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Rules of views lead from each view to what it reads; a materialized view ends the way, it changes by REFRESH alone.
_BEHIND = """
    WITH RECURSIVE used (oid) AS (
        SELECT to_regclass(%s)::oid
        UNION
        SELECT d.refobjid
        FROM used
        JOIN pg_class c ON c.oid = used.oid AND c.relkind = 'v'
        JOIN pg_rewrite r ON r.ev_class = used.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> used.oid
    )
    SELECT c.relname, c.relkind::text FROM used JOIN pg_class c ON c.oid = used.oid
"""

_known: dict[tuple[str, str], frozenset[str] | None] = {}


def tables_behind(db_table: str, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    """Return the relations whose writes change a table or view, itself included; None when that cannot be told.

    Asks the catalogue once a process, on the driver's own cursor, right before the statement that reads the view.
    """
    key = (connection.alias, db_table)
    if key not in _known:
        _known[key] = _ask(connection.ops.quote_name(db_table), connection)
    return _known[key]


def forget_views() -> None:
    """Ask the catalogue again next time: definitions changed."""
    _known.clear()


def _ask(quoted: str, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    if connection.vendor != "postgresql":
        return None
    with connection.connection.cursor() as cursor:
        cursor.execute(_BEHIND, [quoted])
        found: dict[str, str] = {name: str(kind) for name, kind in cursor.fetchall()}
    # Rows of foreign tables change where nobody here sees it.
    return frozenset(found) if found and "f" not in found.values() else None
