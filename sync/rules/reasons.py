"""Reason codes: every code that a change, a hold or a conflict carries, in words.

``why`` explains with them, and ``docs/reasons.md`` is printed from here and from the situations:
``python -m sync.rules.reasons > docs/reasons.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from core.output import print_page
from sync.rules.situations import SCHOOL_TABLE, TABLE, Situation

KEY_WORDS: Mapping[str, str] = {
    "master": "userMasterIdentifier",
    "userid": "id of a configured type",
    "state_id": "state id",
    "sis_id": "SIS id",
    "student_number": "student number",
    "staff_number": "staff number",
    "crd_id": "CRD number",
}

CHANGES: Mapping[str, str] = {
    "by_hand": "An admin did it by hand.",
    "domain_change": "The addresses move to another email domain; a person ordered this plan.",
    "merged": "A person said that two users are one.",
    "put_back": "Somebody wrote to the database past the program; a person ordered the way back.",
    "retention": "Archived for longer than the district keeps people.",
    "moved": "Somebody left and the same person joined under another record: one update.",
    "same_crd_id": "The same CRD number: the same person.",
    "same_email": "The same address and names, and nobody else with either: the same person.",
    "same_master": "The same userMasterIdentifier: the same person.",
    "same_number_elsewhere": "A number that stands in another field there (one vendor's SIS id is"
    " another's student or staff number), and the same names or address: the same person.",
    "same_number_without_zeros": "The same number apart from leading zeros, which spreadsheets"
    " remove, and the same names, and nobody else with that number: the same person.",
    "same_number": "The same number: the same school.",
    "same_sis_id": "The same SIS id in the same role class: the same person.",
    "same_staff_number": "The same staff number: the same person.",
    "same_student_number": "The same student number: the same person.",
    "same_userid": "The same id of a configured type: the same person.",
    "resolved": "A person decided who this record is.",
    "same_person": "The record is this person's: by a key of the source, a strong key, or its"
    " address and names together. Of one source: both names and a number agree, of adults the"
    " address or the username will do.",
    "same_nces_id": "The same NCES id: the same school.",
    "same_state_id": "The same state id: the same person, or the same school.",
    "shares_address": "Somebody new has another given name and another id than the people who have"
    " the address already: a family's address is no evidence.",
    "reused_id": "A person decided who this id is, under which the source named somebody else.",
    "source_retired": "The source was retired: its hold ended.",
    "undone": "A run was undone: back to what it was before.",
}
"""Reasons of changes that no situation names."""

HELD: Mapping[str, str] = {
    "school_role": "Too many people of one role at one school would be taken away at once.",
    "district_role": "Too many people of one role would be taken away at once.",
    "district": "Too many people of the district would be taken away at once.",
    "additions": "Too many people would be added at once.",
    "blanked": "A source would empty a name, an address, a number or another field of many people.",
    "outside_domains": "A source would move the addresses of many people to a domain that the"
    " district does not list in email_domains.",
    "renamed": "A source would give many people another given name and another family name.",
    "moved": "A source would move many people to other schools.",
    "settings": "A new connector version, mapping or filter would change many people.",
    "leaves_scope": "The source was narrowed and no longer covers them.",
    "shrunk_role": "Their role shrank by more than half in the file.",
    "resembling": "Somebody who joins resembles somebody who leaves.",
    "standing": "Their source failed in this run; their changes were held before and still are.",
    "guard": "The first run after a pause holds what no rollover explains.",
    "undone": "This run would do again what a person has undone; it is held once, to be confirmed.",
}
"""Why changes wait for approval."""

CONFLICTS: Mapping[str, str] = {
    "several_candidates": "The record's keys, or its address and names, are those of several"
    " people.",
    "keys_contradict": "A strong key agrees, but another one, the names, or a second entry of the"
    " same source speaks against it.",
    "reused_id": "Under the id of a known person the source names somebody else: the names are"
    " others, and no address, username or number is the same.",
    "email_of_another": "Somebody else of the district has the record's email address.",
    "resembles_lost": "Somebody new at the new vendor of a switch has the names, or the local part"
    " of the address, of somebody whom it does not share.",
    "resembles_leaver": "Somebody new resembles somebody who leaves.",
    "same_name": "Only the name of the school agrees: a person confirms that it is the same.",
}
"""Why a person must decide."""

EVIDENCE: Mapping[str, str] = {
    "same_key": "A strong key agrees.",
    "same_local_part": "The part of the address before the @ is the same.",
    "same_number_without_zeros": "A number is the same apart from leading zeros.",
    "names_agree": "Given and family names agree, apart from accents, case and punctuation.",
    "names_differ": "The names do not agree.",
    "names_unknown": "One side lacks a name that the other has.",
    "names_of_another": "The names belong to somebody else whose numbers are claimed; were they"
    " swapped?",
    "same_school_and_grade": "They are at one school, and in the same grade if they are students.",
    "shared_email": "Several people have this address.",
    "shared_key": "Another new person has the same strong key.",
    "foreign_domain": "The address is not at a domain of the district.",
    "other_id_in_source": "They have another entry in the same source.",
    "earlier_id_in_source": "They had another entry in the same source, which is gone.",
    "other_role_class": "A student here, an adult there.",
    "gains_admin": "This would make them an admin.",
    "archived": "They are archived.",
    **{f"other_{kind}": f"Another {word}." for kind, word in KEY_WORDS.items()},
}
"""What speaks for and against a candidate of a conflict, apart from the ``same_…`` of changes."""

STANDINGS: Mapping[str, str] = {
    "waits_for_rollover": "Their school still shows the old year: they stay until it has rolled"
    " over. Fourteen days after the pause those who are still missing go to the held plan.",
    "open": "Their data changed since the last applied plan: the next run will look at them.",
    "held": "A change of this person waits for approval.",
    "rejected": "A change for them was rejected; it is left out until their data change.",
    "unknown_school": "Their source names a school that it does not list: they are without it"
    " until it is listed.",
    "incomplete": "The last reading of a source was not complete: nobody leaves because of it.",
    "in_conflict": "A person must first decide who this record is.",
    "not_shared": "No source shares this record now.",
    "not_seen": "The last reading was whole and had no such record, unless it is of a role or"
    " school that the source is not asked for.",
    "rows_skipped": "Some rows of the last reading could not be used; theirs may be one of them.",
    "never_read": "The source has not been read yet.",
    "not_configured": "The source is no longer in the district file.",
    "quarantined": "The source failed repeatedly and is not read until a person resumes it.",
    "paused": "The district is paused: no source changes anybody.",
    "outside_scope": "The record is outside what its source is asked for.",
}
"""What ``why`` adds about somebody's state; no change carries these."""


def means(code: str) -> str:
    """Return what a code means, in one sentence; the code itself if it is unknown."""
    for table in (CHANGES, HELD, CONFLICTS, EVIDENCE, STANDINGS):
        if code in table:
            return table[code]
    rows = [row for row in (*TABLE, *SCHOOL_TABLE) if code in (row.name, row.reason)]
    return rows[0].means if rows else code.replace("_", " ")


def as_markdown() -> str:
    """Return the page of all reason codes."""
    lines = [
        "# Reason codes",
        "",
        "Printed from the program by `python -m sync.rules.reasons`; do not edit by hand.",
        "",
        "## People: what is found, and what follows",
        "",
        "The first row that fits decides.",
        "",
        *_situations(TABLE),
        "",
        "## Schools",
        "",
        *_situations(SCHOOL_TABLE),
    ]
    for title, table in (
        ("Other reasons of changes", CHANGES),
        ("Why changes are held", HELD),
        ("Why a person must decide", CONFLICTS),
        ("What speaks for and against a candidate", EVIDENCE),
        ("What `why` adds", STANDINGS),
    ):
        lines += ["", f"## {title}", "", "| code | means |", "|---|---|"]
        lines += [f"| `{code}` | {said} |" for code, said in sorted(table.items())]
    return "\n".join(lines) + "\n"


def _situations(table: Iterable[Situation]) -> list[str]:
    rows = ["| situation | action | reason | means |", "|---|---|---|---|"]
    return rows + [
        f"| `{row.name}` | {row.action.replace('_', ' ')} | `{row.reason}` | {row.means} |"
        for row in table
    ]


if __name__ == "__main__":
    sys.exit(print_page(as_markdown()))
