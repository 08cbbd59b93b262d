"""Which tables lie behind a model that Django did not make: it may stand for a view, or for a part of another table.

A view's rows change when its tables are written, and those writes never name the view. Rows of a partition, or of a table
that inherits, are rows of its parent too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dbopt.cache.observation.functions import forget_functions
from dbopt.statements import read_statement

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# Rules of views lead from each view to what it reads; a materialized view ends the way, it changes by REFRESH alone.
_BEHIND = """
    WITH RECURSIVE ways (oid, leads_to) AS (
        SELECT r.ev_class, d.refobjid
        FROM pg_rewrite r
        JOIN pg_class c ON c.oid = r.ev_class AND c.relkind = 'v'
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE d.refclassid = 'pg_class'::regclass
        UNION ALL
        SELECT inhrelid, inhparent FROM pg_inherits
    ), used (oid) AS (
        SELECT to_regclass(%s)::oid
        UNION
        SELECT leads_to FROM used JOIN ways USING (oid)
    )
    SELECT c.relname, c.relkind::text, CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END, EXISTS (
        SELECT FROM pg_rewrite r
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
        WHERE r.ev_class = c.oid AND c.relkind = 'v' AND p.provolatile <> 'i'
    )
    FROM used JOIN pg_class c USING (oid)
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
    forget_functions()


def _ask(quoted: str, connection: BaseDatabaseWrapper) -> frozenset[str] | None:
    if connection.vendor != "postgresql":
        return None
    with connection.connection.cursor() as cursor:
        cursor.execute(_BEHIND, [quoted])
        found = [_Relation(*row) for row in cursor.fetchall()]
    return frozenset(each.name for each in found) if found and all(map(_is_followed, found)) else None


class _Relation(NamedTuple):
    name: str
    kind: str
    definition: str | None
    calls_functions: bool


def _is_followed(relation: _Relation) -> bool:
    """Tell whether rows change by writes alone that can be seen: not those of foreign tables, nor with time or chance.

    What a function of somebody's own reads does not show, unless it promises to read nothing (IMMUTABLE).
    """
    return (
        relation.kind != "f"
        and not relation.calls_functions
        and (relation.definition is None or not read_statement(relation.definition).volatile)
    )
