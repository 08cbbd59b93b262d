"""An index for nearest neighbours, where the server has pgvector; elsewhere the migration does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import Error, transaction
from django.db.migrations.operations.base import Operation

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState


class CreateVectorIndex(Operation):
    """Build an HNSW index by cosine distance over an array column, for the rows of one number of dimensions.

    It is no part of the models' state: whether it exists depends on the server. The column stays a plain array, so
    that a server without pgvector keeps the same rows. Its query:
    ``WHERE cardinality(vector) = 384 ORDER BY vector::vector(384) <=> ? LIMIT n``.
    """

    reversible = True
    atomic = True

    def __init__(self, *, table: str, column: str, dimensions: int, name: str) -> None:
        self.table = table
        self.column = column
        self.dimensions = dimensions
        self.name = name

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The models do not know of it."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        """Build the index if the extension is there or can be created."""
        if schema_editor.connection.vendor != "postgresql" or not self._has_extension(schema_editor):
            return
        quote = schema_editor.quote_name
        schema_editor.execute(
            f"CREATE INDEX {quote(self.name)} ON {quote(self.table)} "
            f"USING hnsw (({quote(self.column)}::vector({self.dimensions})) vector_cosine_ops) "
            f"WHERE cardinality({quote(self.column)}) = {self.dimensions}"
        )

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: Any, to_state: Any
    ) -> None:
        """Drop the index if it is there; the extension stays, others may use it."""
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX IF EXISTS {schema_editor.quote_name(self.name)}")

    def describe(self) -> str:
        """Return what `migrate` and `sqlmigrate` show."""
        return f"Create vector index {self.name} where pgvector is available"

    def _has_extension(self, schema_editor: BaseDatabaseSchemaEditor) -> bool:
        connection = schema_editor.connection
        if schema_editor.collect_sql:
            return True
        with connection.cursor() as cursor:
            cursor.execute("SELECT installed_version FROM pg_available_extensions WHERE name = 'vector'")
            row = cursor.fetchone()
        if row is None or row[0] is not None:
            return row is not None
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except Error:
            # No right to create it: the tables work without.
            return False
        return True
