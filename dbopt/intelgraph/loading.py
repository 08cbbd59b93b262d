"""Load a folder in the import format: one transaction, COPY into staging tables, then set-based upserts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import transaction

from dbopt.intelgraph.copying import copy_rows, lift_limits, settle
from dbopt.intelgraph.import_format import TABLES, Problem, Row, Table, check_folder, read_rows
from dbopt.intelgraph.models import Entity, Investigation, Relationship, Tenant
from dbopt.intelgraph.staging import STAGES, Stage

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

UNKNOWN_ENTITY = "names an entity that is neither in the database nor in a good row of entities.csv"


@dataclass(slots=True)
class Loaded:
    """What became of one file; counts of rows.

    Attributes:
        links: entities that were put into or taken out of investigations.
    """

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    links: int = 0

    @property
    def is_changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.inserted or self.updated or self.links)


@dataclass(slots=True)
class Report:
    """What a load did.

    Attributes:
        problems: all that is wrong with the data, in the order of the files and lines.
        is_loaded: False: nothing was written.
        files: by name of the file.
    """

    tenant: str
    problems: list[Problem] = field(default_factory=list)
    is_loaded: bool = False
    is_tenant_new: bool = False
    files: dict[str, Loaded] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        """Whether anything was written."""
        return self.is_loaded and (self.is_tenant_new or any(loaded.is_changed for loaded in self.files.values()))


def load(  # noqa: PLR0913 - keyword-only options of one job
    connection: BaseDatabaseWrapper,
    folder: Path,
    *,
    tenant: str,
    create_tenant: bool = False,
    skip_bad: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Bring a tenant's rows to what the folder says, in one transaction; rows that it does not name stay.

    Two loads for one tenant wait for each other. A second run changes nothing.

    Args:
        connection: to PostgreSQL.
        folder: with entities.csv and the other files of the format.
        tenant: slug.
        create_tenant: whether to create a tenant that is not there.
        skip_bad: load the good rows even if there are bad ones; a problem of a whole file still stops all.
        progress: called with a short text, now and then.

    Raises:
        Tenant.DoesNotExist: and create_tenant is off.
    """
    report = Report(tenant, problems=check_folder(folder))
    if report.problems:
        return report
    with transaction.atomic(using=connection.alias):
        lift_limits(connection)
        key, report.is_tenant_new = _lock_tenant(connection.alias, slug=tenant, create=create_tenant)
        for table in TABLES:
            if (folder / table.file).is_file():
                report.files[table.file] = _load_table(connection, folder, table, key=key, report=report, tell=progress)
        report.is_loaded = skip_bad or not report.problems
        if not report.is_loaded:
            transaction.set_rollback(True, using=connection.alias)
    if report.is_changed:
        progress("vacuum and analyse")
        settle(connection, Entity, Relationship, Investigation)
    return report


def _lock_tenant(alias: str, *, slug: str, create: bool) -> tuple[int, bool]:
    tenants = Tenant.objects.using(alias)
    is_new = False
    if create:
        _, is_new = tenants.get_or_create(slug=slug, defaults={"name": slug})
    # Not the lock of an UPDATE of the key: writers of rows that refer to the tenant go on.
    return tenants.select_for_update(no_key=True).get(slug=slug).pk, is_new


def _load_table(  # noqa: PLR0913 - keyword-only parts of one step
    connection: BaseDatabaseWrapper,
    folder: Path,
    table: Table,
    *,
    key: int,
    report: Report,
    tell: Callable[[str], None],
) -> Loaded:
    stage = STAGES[table.file]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {stage.name} (line integer, {stage.columns}) ON COMMIT DROP")
        problems: list[Problem] = []
        copy_rows(
            connection,
            stage.name,
            ["line", *table.columns],
            _good_rows(folder, table, problems),
            tick=lambda count: tell(f"{table.file}: {count:,} rows read"),
        )
        tell(f"{table.file}: writing")
        cursor.execute(f"ANALYZE {stage.name}")
        if stage.unfold is not None:
            name, query = stage.unfold
            cursor.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query}")
            cursor.execute(f"ANALYZE {name}")
        problems += _drop_unknown_entities(cursor, stage, file=table.file, key=key)
        report.problems += sorted(problems, key=lambda problem: problem.line or 0)
        return _write(cursor, stage, key)


def _write(cursor: Any, stage: Stage, key: int) -> Loaded:
    """Bring a tenant's rows to what is staged, and drop the stage."""
    cursor.execute(f"SELECT count(*) FROM {stage.name}")  # noqa: S608 - a constant name
    (rows,) = cursor.fetchone()
    cursor.execute(stage.upsert, {"tenant": key})
    written = [is_new for (is_new,) in cursor.fetchall()]
    loaded = Loaded(rows, inserted=sum(written), updated=written.count(False))
    for statement in stage.links:
        cursor.execute(statement, {"tenant": key})
        loaded.links += cursor.rowcount
    for name in (stage.name, *(stage.unfold or ())[:1]):
        cursor.execute(f"DROP TABLE {name}")
    return loaded


def _good_rows(folder: Path, table: Table, problems: list[Problem]) -> Iterator[tuple[Any, ...]]:
    for row in read_rows(folder, table):
        if isinstance(row, Row):
            yield (row.line, *row.values)
        else:
            problems.append(row)


def _drop_unknown_entities(cursor: Any, stage: Stage, *, file: str, key: int) -> list[Problem]:
    if not stage.references:
        return []
    cursor.execute(stage.references, {"tenant": key})
    unknown = cursor.fetchall()
    lines = [line for line, _ in unknown]
    cursor.execute(f"DELETE FROM {stage.name} WHERE line = ANY(%s)", [lines])  # noqa: S608 - a constant name
    return [Problem(file, line, column, UNKNOWN_ENTITY) for line, column in unknown]
