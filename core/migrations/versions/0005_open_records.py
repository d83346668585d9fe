"""which records are open is a table of its own: settling somebody does not write their evidence again"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')


def upgrade() -> None:
    op.create_table(
        'open_records',
        sa.Column('record_id', _BIG, autoincrement=False, nullable=False),
        sa.Column('source_id', _BIG, nullable=False),
        sa.Column('kind', sa.String(length=8), nullable=False),
        sa.Column('cause', sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint('record_id'),
    )
    op.execute(
        'INSERT INTO open_records (record_id, source_id, kind, cause)'
        ' SELECT id, source_id, kind, cause FROM records WHERE open ORDER BY id'
    )
    op.create_index('ix_open_records', 'open_records', ['source_id', 'kind'])
    op.drop_index('ix_records_open', 'records')
    for column in ('open', 'cause'):
        op.drop_column('records', column)


def downgrade() -> None:
    op.add_column(
        'records', sa.Column('open', sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column('records', sa.Column('cause', sa.String(length=32), nullable=True))
    op.execute(
        'UPDATE records SET open = TRUE, cause ='
        ' (SELECT o.cause FROM open_records o WHERE o.record_id = records.id)'
        ' WHERE id IN (SELECT record_id FROM open_records)'
    )
    with op.batch_alter_table('records', schema=None) as batch_op:
        batch_op.alter_column('open', server_default=None)
        batch_op.create_index(
            'ix_records_open', ['source_id', 'kind'], unique=False,
            sqlite_where=sa.text('open'), postgresql_where=sa.text('open'),
        )
    op.drop_table('open_records')
