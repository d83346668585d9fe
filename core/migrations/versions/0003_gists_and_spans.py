"""records and parts know what a connector reads of them, the snapshot its stretches"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ('records', 'parts'):
        op.add_column(table, sa.Column('gist_print', sa.LargeBinary(), nullable=True))
    op.add_column('snapshot_chunks', sa.Column('spans', sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    for table in ('records', 'parts'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('gist_print')
    with op.batch_alter_table('snapshot_chunks', schema=None) as batch_op:
        batch_op.drop_column('spans')
