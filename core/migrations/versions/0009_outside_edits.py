"""the database itself notes whose rows are written past the ledger"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')

_EVENTS = ('insert', 'update', 'delete')
_ROWS = {'insert': ('NEW',), 'update': ('OLD', 'NEW'), 'delete': ('OLD',)}


def upgrade() -> None:
    op.create_table(
        'applying',
        sa.Column('plan_id', _BIG, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint('plan_id'),
    )
    op.create_table(
        'outside_edits',
        sa.Column('district_id', _BIG, autoincrement=False, nullable=False),
        sa.Column('user_id', sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint('district_id', 'user_id'),
    )
    statements = _sqlite() if op.get_bind().dialect.name == 'sqlite' else _postgresql()
    for statement in statements:
        op.execute(sa.text(statement.replace(':', r'\:')))


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        for table in ('users', 'memberships'):
            for event in _EVENTS:
                op.execute(f'DROP TRIGGER outside_{event}_{table}')
    else:
        for table in ('users', 'memberships'):
            op.execute(f'DROP TRIGGER outside_edit ON {table}')
            op.execute(f'DROP TRIGGER outside_truncate ON {table}')
            op.execute(f'DROP FUNCTION outside_edit_of_{table}()')
        op.execute('DROP FUNCTION outside_truncate()')
    op.drop_table('outside_edits')
    op.drop_table('applying')


def _sqlite() -> list[str]:
    """Our own transactions have a row in the table applying; nobody else sees it."""
    found = []
    for event in _EVENTS:
        users = ' '.join(
            f'INSERT OR IGNORE INTO outside_edits VALUES ({row}.district_id, {row}.id);'
            for row in _ROWS[event]
        )
        memberships = ' '.join(
            'INSERT OR IGNORE INTO outside_edits'
            f' SELECT district_id, id FROM users WHERE id = {row}.user_id;'
            for row in _ROWS[event]
        )
        for table, body in (('users', users), ('memberships', memberships)):
            found.append(
                f'CREATE TRIGGER outside_{event}_{table} AFTER {event.upper()} ON {table}'
                f' WHEN NOT EXISTS (SELECT 1 FROM applying) BEGIN {body} END'
            )
    return found


def _postgresql() -> list[str]:
    """Our own transactions set rostersync.applying, so that no function is called for it.

    The functions run as the owner of the tables, because somebody who may edit users need not be
    allowed to write where this is noted.
    """
    ours = "COALESCE(current_setting('rostersync.applying', TRUE), '') = ''"
    note = (
        "EXECUTE format('INSERT INTO %1$I.outside_edits {what} ON CONFLICT DO NOTHING',"
        ' TG_TABLE_SCHEMA) USING {row}'
    )
    whose = {
        'users': ('VALUES ($1, $2)', '{row}.district_id, {row}.id'),
        'memberships': (
            'SELECT district_id, id FROM %1$I.users WHERE id = $1', '{row}.user_id'
        ),
    }
    found = []
    for table, (what, row) in whose.items():
        line = note.format(what=what, row=row)
        found.append(
            f'CREATE FUNCTION outside_edit_of_{table}() RETURNS trigger LANGUAGE plpgsql'
            ' SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$ BEGIN'
            f" IF TG_OP <> 'INSERT' THEN {line.format(row='OLD')}; END IF;"
            f" IF TG_OP <> 'DELETE' THEN {line.format(row='NEW')}; END IF;"
            ' RETURN NULL; END $body$'
        )
        found.append(
            f'CREATE TRIGGER outside_edit AFTER INSERT OR UPDATE OR DELETE ON {table}'
            f' FOR EACH ROW WHEN ({ours}) EXECUTE FUNCTION outside_edit_of_{table}()'
        )
    found.append(
        'CREATE FUNCTION outside_truncate() RETURNS trigger LANGUAGE plpgsql'
        ' SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$ BEGIN'
        " EXECUTE format('INSERT INTO %1$I.outside_edits SELECT id, '''' FROM %1$I.districts"
        " ON CONFLICT DO NOTHING', TG_TABLE_SCHEMA); RETURN NULL; END $body$"
    )
    for table in whose:
        found.append(
            f'CREATE TRIGGER outside_truncate AFTER TRUNCATE ON {table}'
            ' FOR EACH STATEMENT EXECUTE FUNCTION outside_truncate()'
        )
    return found
