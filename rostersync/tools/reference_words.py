"""What the reference says where the program cannot say it of itself; see ``reference.py``."""

from __future__ import annotations

EXIT_CODES = {
    0: "Done. Also if there was nothing to do or the district is paused (the status says so).",
    1: "An internal error of rostersync, or a history that does not verify: please report it.",
    2: "Wrong usage or configuration; also credentials that belong to another district.",
    10: "Held: at least one change waits for approval. What was safe was applied.",
    11: "Drift: the plan no longer fits. Nothing was changed.",
    12: "The roster was incomplete, or the vendor failed. Nobody left because of it.",
    13: "Busy: another run of this district is under way.",
    14: "The vendor refused the credentials.",
    15: "The input file was refused. Nothing was changed.",
}

STATUSES = {
    "applied": "The whole plan was applied.",
    "nothing_to_do": "The directory already equals the roster, or the plan was already applied.",
    "planned": "A plan was stored. Nobody was changed.",
    "held": "A plan waits for approval; what was safe was applied.",
    "rejected": "A person rejected the plan.",
    "paused": "The district is paused: no source changed anybody.",
    "waiting": "What is left waits for schools that have not rolled over yet.",
    "partial": "One source failed; the people of the others are up to date.",
    "incomplete": "No source could be read completely. Nobody left because of it.",
    "drifted": "The plan no longer fits: somebody in it changed, or it is no longer the held one.",
    "busy": "Another run of this district is under way.",
    "refused": "The configuration, the credentials or the file cannot be used.",
    "failed": "An error of rostersync itself. Nothing was changed.",
}

ENVIRONMENT = {
    "ROSTERSYNC_DATABASE_URL": "Where the data lives, as with `--database`: `sqlite:///FILE` or"
    " `postgresql://USER@HOST/NAME`. Default: `sqlite:///rostersync.db`.",
    "ROSTERSYNC_KEY": "The installation's key, as `file:PATH` or `env:NAME` (or the key itself)."
    " Beside an SQLite database one is made at first use. See [Security](security.md).",
    "ROSTERSYNC_NOTIFY": "The operator's own notification addresses. See"
    " [Operations](operations.md).",
    "ROSTERSYNC_DEBUG": "`1` prints where an error of rostersync itself happened. The output may"
    " hold personal data.",
    "ROSTERSYNC_LOG": "`text` or `json`: every command says its steps on stderr, as with `--log`.",
    "ROSTERSYNC_RECORD": "`1`, for authors of connectors: a test run writes the expected records"
    " that are missing, instead of failing. See [Add a connector](add-a-connector.md).",
    "NO_COLOR": "Set to anything, it turns colours off.",
}

_RULE = {
    "percent": "The percentage of the group that may be taken away within the window.",
    "least": "This many may always be taken away, whatever the percentage; but never more than half"
    " of the people of one role.",
}

DISTRICT_KEYS: dict[str, dict[str, str]] = {
    "[[district]]": {
        "slug": "The short name that commands use: small letters, digits, hyphens. It"
        " identifies the district; a new slug is a new district.",
        "name": "The name for people.",
        "kind": "`firm` is a FINRA FLEX firm.",
        "timezone": "An IANA name like `America/Chicago`. All days and times in the file are in"
        " this time zone.",
        "directory": "The folder where relative paths of its sources start; default: the"
        " folder of the file.",
        "email_domains": "Domains that people from `user_csv` files and by hand must have; empty"
        " allows any. Vendors are not bound by it, but many of their addresses at once that move"
        " to another domain are held.",
        "sync_times": "When to sync, like `05:00`, several a day.",
        "grace": "How long people stay active who are in no roster any more; see below.",
        "guard": "What the first sync after a pause does with people that no new school year"
        " explains: hold them (`explain`), hold every change (`approve`), or judge by the limits"
        " alone (`off`).",
        "year_end": "The last day of a school year, as month and day. Only after a pause that spans"
        " it are schools expected to show a new year.",
        "run_minutes": "A run that takes longer is ended in order; the next one goes on.",
        "freshness_hours": "Hours without good data after which you get a message.",
        "retention_days": "Archived people older than this may be purged; 0 keeps them.",
        "notify": "Addresses for messages, each as a secret reference.",
        "lock_on_edit": "Fields that an edit by hand locks, so that no roster sets them back.",
        "pause": "Days on which no roster changes anybody; see below.",
        "limits": "How many people may be taken away at once; see below.",
        "source": "Where the roster comes from; see below.",
    },
    "[[district.pause]]": {
        "start": "The first day: `06-15` every year, `2026-06-15` once.",
        "end": "The last day, in the same form. A yearly pause may reach past the new year.",
        "mode": "`additions_only` lets people join and come back, and nothing else.",
    },
    "[district.grace]": {
        "days": "Days that must pass.",
        "fetches": "Complete readings without them that must also pass.",
    },
    "[district.limits]": {
        "window_days": "How many days back people who were taken away still count.",
        "school_role": "For each role at each school.",
        "district_role": "For each role in the whole district.",
        "district": "For everybody.",
        "additions": "For people who join or come back by one source, of the district's active"
        " people.",
        "blanked": "For people whose name, address, number or other field a source empties, and"
        " for those whose address it moves to a domain outside `email_domains`; measured by the"
        " source's active people.",
        "renamed": "For people whose given name and family name a source both replaces.",
        "moved": "For people that a source moves to entirely different schools.",
        "override": "Other numbers for some schools, roles or periods; see below.",
    },
    "a limit": _RULE,
    "[[district.limits.override]]": _RULE
    | {
        "school": "Only for this school, by name or id; default: for all.",
        "role": "Only for this role; default: for all.",
        "from": "The first day on which it applies, written like a pause's; default: always.",
        "to": "The last day.",
    },
    "[[district.source]]": {
        "name": "The name of the source, unique in its district.",
        "connector": "Which connector reads it; see [Connectors](#connectors).",
        "precedence": "If two sources have the same person, the lower number wins. Each source of a"
        " district needs its own number.",
        "config": "What the connector asks for; see [Connectors](#connectors).",
        "keep_when_missing": "Fields that keep their value when the source stops sending them; all"
        " others are then cleared.",
        "own_numbers": "Numbers of a scheme that only this source uses (`sis_id`,"
        " `student_number`, `staff_number`, `state_id`, `crd_id`): they are compared only among its"
        " own people.",
        "mapping": 'Our field = a rule, like `username = "{credentials.district_username}"`.'
        " `rostersync source try` shows what it makes of one record.",
    },
}

_CHANGE = {
    "seq": "Its place in the plan.",
    "kind": "`user` or `school`.",
    "action": "`create`, `update`, `archive`, `restore`, `suspend`, `unsuspend`, `link`, `unlink`,"
    " `adopt`, `merge`, `purge` or `leaves_scope`.",
    "user_id": "The person; null for a school.",
    "school_id": "The school; null for a person.",
    "name": "What they are called.",
    "source": "The source it comes from, if any.",
    "external_id": "Their id at that source.",
    "role": "The person's role.",
    "school": "The person's school, or the school.",
    "fields": 'What changes: `{"email": [old, new]}`.',
    "reason": "A [reason code](reasons.md).",
}

JSON_SHAPES: dict[str, tuple[str, dict[str, str]]] = {
    "outcome": (
        "What `plan`, `sync`, `apply`, `approve`, `reject` and `undo` print; `sync --all` prints a"
        " list of them. In `plan` each of `plans` is `{\"plan\", \"changes\"}` (`--summary` leaves"
        " the changes out), elsewhere a plan alone. `show --format json` has `plans` and"
        " `certificates` only.",
        {
            "district": "Its slug.",
            "status": "A [status](#statuses).",
            "run_id": "The run, like `R12`.",
            "plans": "The plans that it made or applied.",
            "certificates": "Source → what its reading proves.",
            "error": 'Null, or `{"code", "message", "hint"}`.',
            "left_open": "What a run leaves for a person to look at; a key only for what there is:"
            " `unusable_rows` and `left_out_values` (source → rows), `withheld` (source →"
            ' `{"people", "rows"}`: missing people who stay because of these rows), `conflicts`,'
            " `waiting_people` (for a rollover), `leaving_people` (in grace),"
            " `look_alikes` (pairs of users who look like one person).",
        },
    ),
    "plan": (
        "The head of a plan.",
        {
            "id": "Like `P12`.",
            "district": "Its slug.",
            "kind": "`sync`, `upload`, `hand`, `undo`, `switch`, `domain`, `retire`, `merge`,"
            " `purge` or `repair`.",
            "status": "`planned`, `held`, `approved`, `applied`, `rejected`, `superseded`,"
            " `expired` or `drifted`.",
            "digest": "The seal over its changes and their preconditions.",
            "created_at": "When it was made.",
            "expires_at": "Until when it can be applied.",
            "base_serial": "The serial of the directory when it was made; for information.",
            "season": "`normal`, `additions_only` or `paused`.",
            "guarded": "Whether it comes from the first run after a pause.",
            "counts": "People, not steps, by action; and `conflict`, `protected`, `locked`,"
            " `unchanged`, `skipped`.",
            "schools": "Schools by action.",
            "held": 'Why it is held: `{"limit", "scope", "allowed", "found", …}` for each limit.',
            "domains": 'Moves between email domains: `{"from", "to", "people"}`.',
            "size": "How many changes it has, including those of schools.",
            "standing": "Whether it is the district's standing held plan.",
            "superseded_by": "The plan that took its place.",
            "approved": "Whether somebody released it.",
            "decided_by": "Who approved or rejected it.",
            "decided_at": "When.",
            "decision_reason": "Why.",
            "applied_at": "When it was applied.",
        },
    ),
    "change": ("One step of a plan, in `plan` and `show`.", _CHANGE),
    "certificate": (
        "What one reading of a source proves. Only a complete one can show that somebody left.",
        {
            "complete": "Whether the roster was read completely.",
            "reason": "Why not.",
            "pages": "Pages read.",
            "records": "The people and schools that it contains.",
            "declared_total": "The total that the vendor declared, if it does.",
            "incremental": "Whether only the latest changes were asked for.",
            "unchanged": "The vendor says that nothing is new; nothing was read.",
            "rows": "Rows of each kind.",
            "parsed": "Rows that were new and had to be read closely.",
            "absent": "People and schools who were there before and are not now.",
            "suspected": "People whom the vendor called deleted in a reading that proves no"
            " absence: they stay until a full reading no longer has them.",
            "withheld": "How many of those do not count as gone, because rows were unreadable.",
            "withheld_by": 'The first of these rows: each `{"stream", "file", "line"}`.',
            "skipped": "Rows that could not be used.",
            "left_out": "Single values that were left out of a row because they could not be used.",
            "unknown": "Words that were not understood, with how often they came.",
            "extra": "Fields of a JSON vendor that nothing reads, with how many new or changed"
            " records had them; never their values.",
            "vendor_state": "The vendor's own word on its season, like `paused`.",
            "vendor_time": "The date of the vendor's data.",
            "notes": "Sentences for the admin.",
        },
    ),
    "user": (
        "`users --json` prints a list of these.",
        {
            "id": "Ours. It never changes.",
            "status": "`active`, `suspended` or `archived`.",
            "origin": "How they first came in: `sync`, `file` or `manual`.",
            "given_name": "As their roster has it, like the next ones.",
            "middle_name": "",
            "family_name": "",
            "preferred_given_name": "",
            "preferred_middle_name": "",
            "preferred_family_name": "",
            "email": "As it was given; may be null.",
            "username": "",
            "roles": "`student`, `teacher`, `staff`, `admin`, `contact`.",
            "grade": "A CEDS code: `KG`, `09` …",
            "graduation_year": "",
            "sis_id": "",
            "student_number": "",
            "state_id": "",
            "staff_number": "",
            "crd_id": "",
            "schools": 'Each `{"id", "name", "primary", "roles"}`.',
            "protected": "No sync archives them.",
            "locked_fields": "Fields that rosters leave alone.",
            "kept_archived": "Archived by hand to stay so.",
            "kept_until": "Until this day.",
            "sources": "The sources that hold them.",
            "external_ids": 'Their records there: each `{"source", "external_id"}`.',
        },
    ),
    "feed": (
        "`changes --json`: what an app follows. Give the `cursor` as `--since` next time. A cursor"
        " that this ledger never gave (after a backup was restored, or of another database) is"
        " refused with the code `unknown_cursor` (2): read all users once, then go on from"
        " `error.go_on_from`. A bare serial is taken as long as there is a change with it; whether"
        " it is of the same history cannot be told.",
        {
            "district": "Its slug.",
            "serial": "The last serial in here; serials only grow.",
            "cursor": "The serial, and of which history it is: where the next call goes on.",
            "changes": "Each a change with `serial`, `cursor`, `at`, `actor`, `run_id` and"
            " `plan_id`.",
        },
    ),
    "skipped": (
        "`skipped --json` prints a list of these, one for each source.",
        {
            "source": "Its name.",
            "read_at": "When it was last read; null: no row was read yet.",
            "complete": "Whether it was read completely then.",
            "skipped": "How many rows could not be used, also where `--limit` lists fewer.",
            "left_out": "How many rows are used, but without a value that could not be.",
            "withheld": "How many missing people stay because such a row may be theirs.",
            "withheld_by": 'The first of these rows: each `{"stream", "file", "line"}`.',
            "rows": 'Each once: `{"stream", "file", "line", "external_id", "left_out", "faults"}`;'
            " `file` and `line` are null for a vendor's record, which has its id instead. Each of"
            ' `faults` is `{"column", "rule", "message", "hint"}`, and the first stands in the row'
            " itself, too.",
        },
    ),
}  # fmt: skip
"""Name → where it is printed, and its fields."""
