"""What Alembic runs before the migrations: on the connection, and in the transaction, of whoever opened the ledger."""

from alembic import context

from timbre.registry.migrations import VERSIONS

context.configure(connection=context.config.attributes["connection"], version_table=VERSIONS, transactional_ddl=True)
context.run_migrations()
