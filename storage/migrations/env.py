"""Alembic's entry point: one connection, one process at a time.

Each pending migration has a transaction of its own, so that it does not keep the locks of the one
before. Held together, such locks would be taken across a unit's order of tables, and could deadlock
with it.

Run by `storage.migrations.migrate` in a thread of its own. Nothing else may import it.
"""

import asyncio

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from storage.gateway import connect

# Any constant will do, as long as every release uses the same one.
LOCK_KEY = 7_264_830_911
LOCK_WAIT = "120s"


def _migrate(connection: Connection) -> None:
    # Take the lock before Alembic reads the version: a second process then waits here, and finds
    # nothing left to do. The lock belongs to the session, because it must outlive transactions.
    # Closing the connection releases it.
    connection.execute(text(f"SET lock_timeout = '{LOCK_WAIT}'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
    connection.execute(text("SET lock_timeout = '10s'"))
    connection.commit()  # Alembic does not commit a transaction that it finds open
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


async def _run(dsn: str) -> None:
    # The DSN goes to asyncpg as the service gives it, so several hosts and libpq's options mean the
    # same in both.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: connect(dsn), poolclass=NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


# Create the loop explicitly: asyncio.run would ask the loop policy, which trio-asyncio has
# replaced.
with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
    runner.run(_run(context.config.attributes["dsn"]))
