"""suspicious changes are counted from one run to the next, and the people who wait for a rollover are known by id"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'suspicions',
        sa.Column('plan_id', _BIG, autoincrement=False, nullable=False),
        sa.Column('target_id', sa.String(length=32), nullable=False),
        sa.Column('source_id', _BIG, autoincrement=False, nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('about', sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint('plan_id', 'target_id', 'source_id', 'kind', 'about'),
    )
    op.create_index('ix_suspicions_source', 'suspicions', ['source_id', 'kind'])
    op.create_table(
        'waiting_people',
        sa.Column('district_id', _BIG, autoincrement=False, nullable=False),
        sa.Column('user_id', sa.String(length=32), nullable=False),
        sa.Column('kept', sa.Boolean(), nullable=False),
        sa.Column('run_id', _BIG, nullable=False),
        sa.Column('what', sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint('district_id', 'user_id', 'kept'),
    )


def downgrade() -> None:
    op.drop_table('waiting_people')
    op.drop_table('suspicions')
