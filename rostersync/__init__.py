"""The only package that others import: the public API, for plugins and embedding apps.

Names are imported when they are first asked for, so ``import rostersync`` costs nothing. A public
name stands in two places here: in the imports, for type checkers, and in ``_HOMES``.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connectors.contract import json_records as json_records
    from connectors.contract import masking as masking
    from connectors.contract import meant as meant
    from connectors.contract import words as words
    from connectors.contract.ahead import ahead as ahead
    from connectors.contract.connector import Capabilities as Capabilities
    from connectors.contract.connector import Certificate as Certificate
    from connectors.contract.connector import Check as Check
    from connectors.contract.connector import Connector as Connector
    from connectors.contract.connector import ConnectorConfig as ConnectorConfig
    from connectors.contract.connector import FetchRequest as FetchRequest
    from connectors.contract.connector import Page as Page
    from connectors.contract.connector import Part as Part
    from connectors.contract.connector import Received as Received
    from connectors.contract.connector import Record as Record
    from connectors.contract.connector import RowFinding as RowFinding
    from connectors.contract.connector import RowsRefused as RowsRefused
    from connectors.contract.connector import Settlement as Settlement
    from connectors.contract.connector import Trace as Trace
    from connectors.contract.connector import VendorDistrict as VendorDistrict
    from connectors.contract.file_exchange import ExampleFile as ExampleFile
    from connectors.contract.file_exchange import ExportedRow as ExportedRow
    from connectors.contract.file_exchange import ExportFile as ExportFile
    from connectors.contract.file_exchange import ExportRequest as ExportRequest
    from connectors.contract.file_exchange import GivenFiles as GivenFiles
    from connectors.contract.file_exchange import HeldPerson as HeldPerson
    from connectors.contract.file_exchange import LeftOut as LeftOut
    from connectors.contract.json_records import key_of as key_of
    from connectors.contract.json_records import split_array as split_array
    from connectors.contract.pacing import Clock as Clock
    from connectors.contract.pacing import Pacer as Pacer
    from connectors.contract.urls import VendorUrl as VendorUrl
    from connectors.contract.urls import parse_links as parse_links
    from connectors.contract.urls import query_of as query_of
    from connectors.contract.urls import safe_url as safe_url
    from connectors.contract.urls import same_origin as same_origin
    from connectors.contract.urls import segment as segment
    from connectors.contract.urls import with_query as with_query
    from connectors.files import csv_rows as csv_rows
    from connectors.files import csv_table as csv_table
    from connectors.files import csv_write as csv_write
    from connectors.files import file_set as file_set
    from connectors.files import recognition as recognition
    from connectors.files import strict_header as strict_header
    from connectors.files.csv_file import CsvFile as CsvFile
    from connectors.files.csv_rows import Header as Header
    from connectors.files.csv_table import Shape as Shape
    from connectors.files.csv_table import Table as Table
    from connectors.files.csv_write import cells_of as cells_of
    from connectors.files.file_connector import FileConfig as FileConfig
    from connectors.files.file_connector import FileConnector as FileConnector
    from connectors.files.file_set import FileSet as FileSet
    from connectors.files.file_set import open_files as open_files
    from connectors.files.file_set import the_one_file as the_one_file
    from connectors.files.recognition import columns_of_the_one_file as columns_of_the_one_file
    from connectors.http.client import Action as Action
    from connectors.http.client import Anonymous as Anonymous
    from connectors.http.client import Answer as Answer
    from connectors.http.client import Authorizer as Authorizer
    from connectors.http.client import Forbidden as Forbidden
    from connectors.http.client import PageTooLarge as PageTooLarge
    from connectors.http.client import StatusError as StatusError
    from connectors.http.client import VendorHttp as VendorHttp
    from connectors.http.http_connector import HttpConfig as HttpConfig
    from connectors.http.http_connector import HttpConnector as HttpConnector
    from connectors.http.http_connector import early_end as early_end
    from connectors.http.http_connector import failed_check as failed_check
    from connectors.http.oauth import ApiKey as ApiKey
    from connectors.http.oauth import Basic as Basic
    from connectors.http.oauth import Bearer as Bearer
    from connectors.http.oauth import ClientCredentials as ClientCredentials
    from connectors.http.oauth import OAuth1 as OAuth1
    from connectors.http.oauth import SignatureMethod as SignatureMethod
    from connectors.http.oauth import token_of_vendor as token_of_vendor
    from connectors.oneroster_standard.reader import ONEROSTER_SCOPES as ONEROSTER_SCOPES
    from connectors.oneroster_standard.reader import OneRosterFields as OneRosterFields
    from connectors.oneroster_standard.reader import OneRosterReader as OneRosterReader
    from connectors.oneroster_standard.records import is_whole as is_whole
    from core.errors import Busy as Busy
    from core.errors import ConfigError as ConfigError
    from core.errors import CredentialsRefused as CredentialsRefused
    from core.errors import CursorLost as CursorLost
    from core.errors import Disconnected as Disconnected
    from core.errors import Drift as Drift
    from core.errors import FileRefused as FileRefused
    from core.errors import Held as Held
    from core.errors import IncompleteFetch as IncompleteFetch
    from core.errors import NothingNew as NothingNew
    from core.errors import RestartFetch as RestartFetch
    from core.errors import RetryableError as RetryableError
    from core.errors import RosterSyncError as RosterSyncError
    from core.errors import SkipRecord as SkipRecord
    from core.errors import UnknownCursor as UnknownCursor
    from core.errors import UsageError as UsageError
    from core.errors import VendorFailure as VendorFailure
    from core.errors import WrongDistrict as WrongDistrict
    from core.models import GRADES as GRADES
    from core.models import Kind as Kind
    from core.models import Membership as Membership
    from core.models import NormalizedSchool as NormalizedSchool
    from core.models import NormalizedUser as NormalizedUser
    from core.models import Origin as Origin
    from core.models import Role as Role
    from core.models import UserStatus as UserStatus
    from core.models import ceds_grade as ceds_grade
    from core.models import fold_email as fold_email
    from core.storage.database import Database as Database
    from core.storage.database import open_database as open_database
    from rostersync.api import apply as apply
    from rostersync.api import approve as approve
    from rostersync.api import changes as changes
    from rostersync.api import cursor as cursor
    from rostersync.api import load_district as load_district
    from rostersync.api import plan as plan
    from rostersync.api import reject as reject
    from rostersync.api import sync as sync
    from rostersync.api import upload as upload
    from rostersync.api import users as users
    from sync.run.outcome import Outcome as Outcome
    from sync.views.people import UserFilter as UserFilter

_HOMES = {
    "connectors.contract": "json_records masking meant words",
    "connectors.contract.ahead": "ahead",
    "connectors.contract.connector": (
        "Capabilities Certificate Check Connector ConnectorConfig FetchRequest Page Part "
        "Record Received RowFinding RowsRefused Settlement Trace VendorDistrict"
    ),
    "connectors.contract.file_exchange": (
        "ExampleFile ExportFile ExportRequest ExportedRow GivenFiles HeldPerson LeftOut"
    ),
    "connectors.contract.json_records": "key_of split_array",
    "connectors.contract.pacing": "Clock Pacer",
    "connectors.contract.urls": (
        "VendorUrl parse_links query_of safe_url same_origin segment with_query"
    ),
    "connectors.files": "csv_rows csv_table csv_write file_set recognition strict_header",
    "connectors.files.csv_file": "CsvFile",
    "connectors.files.csv_rows": "Header",
    "connectors.files.csv_table": "Shape Table",
    "connectors.files.csv_write": "cells_of",
    "connectors.files.file_connector": "FileConfig FileConnector",
    "connectors.files.file_set": "FileSet open_files the_one_file",
    "connectors.files.recognition": "columns_of_the_one_file",
    "connectors.http.client": (
        "Action Answer Anonymous Authorizer Forbidden PageTooLarge StatusError VendorHttp"
    ),
    "connectors.http.http_connector": "HttpConfig HttpConnector early_end failed_check",
    "connectors.http.oauth": (
        "ApiKey Basic Bearer ClientCredentials OAuth1 SignatureMethod token_of_vendor"
    ),
    "connectors.oneroster_standard.reader": "ONEROSTER_SCOPES OneRosterFields OneRosterReader",
    "connectors.oneroster_standard.records": "is_whole",
    "core.storage.database": "Database open_database",
    "core.errors": (
        "Busy ConfigError CredentialsRefused CursorLost Disconnected Drift FileRefused Held "
        "IncompleteFetch NothingNew RestartFetch RetryableError RosterSyncError SkipRecord "
        "UnknownCursor UsageError VendorFailure WrongDistrict"
    ),
    "core.models": (
        "GRADES Kind Membership NormalizedSchool NormalizedUser Origin Role UserStatus "
        "ceds_grade fold_email"
    ),
    "rostersync.api": "apply approve changes cursor load_district plan reject sync upload users",
    "sync.run.outcome": "Outcome",
    "sync.views.people": "UserFilter",
}
"""Module or package → the public names that live there, modules with all their names among them."""
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'rostersync' has no attribute {name!r}")
    home = importlib.import_module(_HOME[name])
    if not hasattr(home, name):  # a whole module is public
        importlib.import_module(f"{_HOME[name]}.{name}")
    value = getattr(home, name)
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
    for name in sorted({module.partition(".")[0] for module in _HOMES} - {__name__}):
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
