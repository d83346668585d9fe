"""a district remembers how many pairs of users look like one person"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('districts', schema=None) as batch_op:
        batch_op.add_column(sa.Column('look_alikes', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column(
            'look_alikes_counted',
            sa.JSON().with_variant(postgresql.JSONB(), 'postgresql'),
            nullable=True,
        ))


def downgrade() -> None:
    with op.batch_alter_table('districts', schema=None) as batch_op:
        batch_op.drop_column('look_alikes_counted')
        batch_op.drop_column('look_alikes')
