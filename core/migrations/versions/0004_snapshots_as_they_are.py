"""on PostgreSQL, snapshots are stored as they are: making them smaller costs more than it saves"""

from __future__ import annotations

from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

_BYTES = ('prints', 'keys', 'spans')


def upgrade() -> None:
    _store_as('EXTERNAL')


def downgrade() -> None:
    _store_as('EXTENDED')


def _store_as(storage: str) -> None:
    if op.get_bind().dialect.name == 'postgresql':
        for column in _BYTES:
            op.execute(f'ALTER TABLE snapshot_chunks ALTER COLUMN {column} SET STORAGE {storage}')
