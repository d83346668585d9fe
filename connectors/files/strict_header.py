"""A header that must hold known names only (file-rules.md 2.2): what else stands there is refused.

Used by the file formats of which a wrong column name is a wrong file. A near miss is suggested,
never taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.contract.connector import RowFinding, RowsRefused
from connectors.files.csv_rows import Header, bare_name, near


def refuse_strangers(
    header: Header, columns: Sequence[str], also_called: Mapping[str, str]
) -> None:
    """Raise ``RowsRefused`` naming every column that is none of ``columns``.

    ``also_called`` maps what people call a column, without case and signs, to its name. A first
    line that names nothing known is left to whoever reads it: it may be somebody's row.
    """
    known = {name.casefold() for name in columns}
    strangers = [name for name in header.names if name and name.casefold() not in known]
    if not (strangers and header.ended and _is_a_header(header, columns)):
        return
    findings = []
    taken = set(header.folded)
    for name in strangers:
        meant = next(
            (
                guess
                for guess in (
                    near(name, columns), near(also_called.get(bare_name(name), ""), columns)
                )
                if guess and guess[14:-1].casefold() not in taken
            ),
            "",
        )  # fmt: skip
        findings.append(
            RowFinding(
                header.file, header.line, name[:40], "unknown-column",
                f"The column {name[:40]} is not known.{meant}",
                f"Rename it to {meant[14:-1]}." if meant else "Remove the column.",
            )
        )  # fmt: skip
    first = findings[0].message
    raise RowsRefused(
        f"{header.file}: {first[0].lower()}{first[1:]}",
        hint=f"The columns are {', '.join(columns)}.",
        findings=findings,
    )


def _is_a_header(header: Header, columns: Sequence[str]) -> bool:
    known = {name.casefold() for name in columns}
    return bool(known.intersection(header.folded)) or (
        len(header.names) > 1 and any(near(name, columns) for name in header.names if name)
    )
