"""the database notes whose schools and links are written past the ledger, too"""

from __future__ import annotations

from alembic import op
import sqlalchemy as sa

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

_EVENTS = ('insert', 'update', 'delete')
_ROWS = {'insert': ('NEW',), 'update': ('OLD', 'NEW'), 'delete': ('OLD',)}


def upgrade() -> None:
    op.execute('ALTER TABLE outside_edits RENAME COLUMN user_id TO target_id')
    statements = _sqlite() if op.get_bind().dialect.name == 'sqlite' else _postgresql()
    for statement in statements:
        op.execute(sa.text(statement.replace(':', r'\:')))


def downgrade() -> None:
    for table in ('schools', 'links'):
        if op.get_bind().dialect.name == 'sqlite':
            for event in _EVENTS:
                op.execute(f'DROP TRIGGER outside_{event}_{table}')
        else:
            op.execute(f'DROP TRIGGER outside_edit ON {table}')
            op.execute(f'DROP TRIGGER outside_truncate ON {table}')
            op.execute(f'DROP FUNCTION outside_edit_of_{table}()')
    op.execute('ALTER TABLE outside_edits RENAME COLUMN target_id TO user_id')


def _sqlite() -> list[str]:
    """As in 0009: a link tells of the person or school that it leads to."""
    found = []
    for event in _EVENTS:
        schools = ' '.join(
            f'INSERT OR IGNORE INTO outside_edits VALUES ({row}.district_id, {row}.id);'
            for row in _ROWS[event]
        )
        links = ' '.join(
            f'INSERT OR IGNORE INTO outside_edits SELECT district_id, id FROM {table}'
            f' WHERE id = {row}.target_id;'
            for row in _ROWS[event]
            for table in ('users', 'schools')
        )
        for table, body in (('schools', schools), ('links', links)):
            found.append(
                f'CREATE TRIGGER outside_{event}_{table} AFTER {event.upper()} ON {table}'
                f' WHEN NOT EXISTS (SELECT 1 FROM applying) BEGIN {body} END'
            )
    return found


def _postgresql() -> list[str]:
    """As in 0009, whose outside_truncate these tables call as well."""
    ours = "COALESCE(current_setting('rostersync.applying', TRUE), '') = ''"
    note = (
        "EXECUTE format('INSERT INTO %1$I.outside_edits {what} ON CONFLICT DO NOTHING',"
        ' TG_TABLE_SCHEMA) USING {row}'
    )
    whose = {
        'schools': ('VALUES ($1, $2)', '{row}.district_id, {row}.id'),
        'links': (
            'SELECT district_id, id FROM %1$I.users WHERE id = $1'
            ' UNION SELECT district_id, id FROM %1$I.schools WHERE id = $1',
            '{row}.target_id',
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
            f'CREATE TRIGGER outside_truncate AFTER TRUNCATE ON {table}'
            ' FOR EACH STATEMENT EXECUTE FUNCTION outside_truncate()'
        )
    return found
