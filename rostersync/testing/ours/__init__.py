"""The scenarios of our own connectors, for the same suite that every plugin runs.

The file rosters lie beside this file, one folder per connector and situation. They are handed in
under the entry point group ``rostersync.scenarios``, as a plugin does it, so that
``rostersync connector test NAME`` works on an installed wheel.
"""

from __future__ import annotations

from pathlib import Path

from rostersync.testing.scenario import FolderScenario

_HERE = Path(__file__).parent


def oneroster_csv() -> FolderScenario:
    """Return a OneRoster 1.2 set: users joined from users.csv and roles.csv."""
    return FolderScenario(_HERE / "oneroster_csv_12", people=5, schools=2)


def oneroster_csv_11() -> FolderScenario:
    """Return the same people as a OneRoster 1.1 set: one row each."""
    return FolderScenario(_HERE / "oneroster_csv_11", people=5, schools=2)


def clever_csv() -> FolderScenario:
    """Return a Clever "Basic Roster", with a teacher at two schools."""
    return FolderScenario(_HERE / "clever_csv", people=5, schools=2)


def user_csv() -> FolderScenario:
    """Return a user file, whose format leaves three rules nothing to hold on to."""
    return FolderScenario(
        _HERE / "user_csv",
        people=4,
        schools=0,
        file="users.csv",
        exempt={
            "a_student_without_email_is_read": "the format asks for an email in every row",
            "unknown_words_are_tolerated_and_counted": "a row with an unknown role or status is "
            "skipped by the format's own rule, and the format has no other vocabulary",
            "private_data_is_dropped": "a file with any column beyond the seven is refused whole, "
            "so that private data never gets in",
        },
    )


def finra_flex() -> FolderScenario:
    """Return a firm's upload, which is taken whole or not at all."""
    return FolderScenario(
        _HERE / "finra_flex",
        people=3,
        schools=0,
        file="UploadUsersTemplate.csv",
        exempt={
            "a_student_without_email_is_read": "the format asks for an email in every row",
            "a_bad_row_is_skipped_alone": _WHOLE,
            "a_skip_says_what_to_repair": _WHOLE,
            "a_skip_names_nobody": _WHOLE,
            "unknown_words_are_tolerated_and_counted": "the format has no vocabulary",
            "private_data_is_dropped": "a file with any column beyond the four is refused whole, "
            "so that private data never gets in",
        },
    )


_WHOLE = "one bad row refuses the whole file, and the refusal lists it"
