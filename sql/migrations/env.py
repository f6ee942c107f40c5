"""Alembic environment of the ledger: runs inside the connection ``sql.migrate`` hands over."""

from __future__ import annotations

from alembic import context

from sql.tables import SCHEMA, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=lambda name, kind, parents: kind != "schema" or name == SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
