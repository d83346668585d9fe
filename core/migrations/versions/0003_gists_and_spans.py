"""records and parts know what a connector reads of them, the snapshot its stretches, large plans their groups"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ('records', 'parts'):
        op.add_column(table, sa.Column('gist_print', sa.LargeBinary(), nullable=True))
    op.create_table(
        'plan_groups',
        sa.Column('plan_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
        sa.Column('kind', sa.String(length=8), nullable=False),
        sa.Column('action', sa.String(length=16), nullable=False),
        sa.Column('school_id', sa.String(length=32), nullable=False),
        sa.Column('role', sa.String(length=16), nullable=False),
        sa.Column('changes', sa.Integer(), nullable=False),
        sa.Column('first', sa.JSON().with_variant(postgresql.JSONB(), 'postgresql'), nullable=False),
        sa.PrimaryKeyConstraint('plan_id', 'kind', 'action', 'school_id', 'role'),
    )
    op.add_column('snapshot_chunks', sa.Column('spans', sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_table('plan_groups')
    for table in ('records', 'parts'):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column('gist_print')
    with op.batch_alter_table('snapshot_chunks', schema=None) as batch_op:
        batch_op.drop_column('spans')
