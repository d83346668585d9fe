"""The one name that strangers import: the public API, for plugins and for apps that embed it.

Names are imported when they are first asked for, so ``import rostersync`` costs nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connectors.contract.ahead import ahead
    from connectors.contract.connector import (
        Capabilities,
        Certificate,
        Check,
        Connector,
        ConnectorConfig,
        FetchRequest,
        Page,
        Part,
        Record,
        VendorDistrict,
    )
    from connectors.files.csv_file import CsvFile
    from connectors.files.csv_rows import Header, Shape, Table
    from connectors.files.file_connector import FileConfig, FileConnector
    from connectors.files.file_set import open_files
    from connectors.http.client import Answer, VendorHttp
    from connectors.http.http_connector import HttpConfig, HttpConnector
    from connectors.http.oauth import Basic, Bearer, ClientCredentials, OAuth1
    from core.database import Database, open_database
    from core.errors import (
        Busy,
        ConfigError,
        CredentialsRefused,
        Disconnected,
        Drift,
        FileRefused,
        Held,
        IncompleteFetch,
        RestartFetch,
        RetryableError,
        RosterSyncError,
        SkipRecord,
        UsageError,
        VendorFailure,
        WrongDistrict,
    )
    from core.models import (
        GRADES,
        Kind,
        Membership,
        NormalizedSchool,
        NormalizedUser,
        Origin,
        Role,
        UserStatus,
        ceds_grade,
    )
    from rostersync.api import (
        apply,
        approve,
        changes,
        load_district,
        plan,
        reject,
        sync,
        upload,
        users,
    )
    from sync.run.outcome import Outcome
    from sync.views.people import UserFilter

_PUBLIC = {
    "connectors.contract.ahead": ("ahead",),
    "connectors.contract.connector": (
        "Capabilities", "Certificate", "Check", "Connector", "ConnectorConfig", "FetchRequest",
        "Page", "Part", "Record", "VendorDistrict",
    ),
    "connectors.files.csv_file": ("CsvFile",),
    "connectors.files.csv_rows": ("Header", "Shape", "Table"),
    "connectors.files.file_set": ("open_files",),
    "connectors.files.file_connector": ("FileConfig", "FileConnector"),
    "connectors.http.client": ("Answer", "VendorHttp"),
    "connectors.http.oauth": ("Basic", "Bearer", "ClientCredentials", "OAuth1"),
    "connectors.http.http_connector": ("HttpConfig", "HttpConnector"),
    "core.database": ("Database", "open_database"),
    "core.errors": (
        "Busy", "ConfigError", "CredentialsRefused", "Disconnected", "Drift", "FileRefused", "Held",
        "IncompleteFetch", "RestartFetch", "RetryableError", "RosterSyncError", "SkipRecord",
        "UsageError", "VendorFailure", "WrongDistrict",
    ),
    "core.models": (
        "GRADES", "Kind", "Membership", "NormalizedSchool", "NormalizedUser", "Origin", "Role",
        "UserStatus", "ceds_grade",
    ),
    "rostersync.api": (
        "apply", "approve", "changes", "load_district", "plan", "reject", "sync", "upload",
        "users",
    ),
    "sync.run.outcome": ("Outcome",),
    "sync.views.people": ("UserFilter",),
}  # fmt: skip
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "GRADES", "Answer", "Basic", "Bearer", "Busy", "Capabilities", "Certificate", "Check",
    "ClientCredentials", "ConfigError", "Connector", "ConnectorConfig", "CredentialsRefused",
    "CsvFile", "Database", "Disconnected", "Drift", "FetchRequest", "FileConfig", "FileConnector",
    "FileRefused", "Header", "Held", "HttpConfig", "HttpConnector", "IncompleteFetch", "Kind",
    "Membership", "NormalizedSchool", "NormalizedUser", "OAuth1", "Origin", "Outcome", "Page",
    "Part", "Record", "RestartFetch", "RetryableError", "Role", "RosterSyncError", "Shape",
    "SkipRecord", "Table", "UsageError", "UserFilter", "UserStatus", "VendorDistrict",
    "VendorFailure", "VendorHttp", "WrongDistrict", "ahead", "apply", "approve", "ceds_grade",
    "changes", "load_district", "open_database", "open_files", "plan", "reject", "sync", "upload",
    "users",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'rostersync' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _explain_shadows() -> None:
    """Refuse to start beside a stranger's package of one of our names, and say which it is.

    In a checkout the packages that this one stands on lie beside it, under names that others use
    too. In the wheel they lie inside it (see release/shaded_wheel.py), so nothing can hide them.
    """
    home = Path(__file__).resolve().parent.parent
    for name in sorted({module.partition(".")[0] for module in _PUBLIC} - {__name__}):
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places and spec is not None and spec.origin:
            places = [spec.origin]
        if not any(Path(place).resolve().parent == home for place in places):
            found = f"found instead: {places[0]}" if places else "nothing of that name was found"
            raise ImportError(
                f"rostersync needs its own package {name!r}, which stands in {home};"
                f" {found}. Something of your own called {name!r} hides it: rename that, or start"
                " python from another folder."
            )


_explain_shadows()
