"""A header that may have known names only (file-rules.md 2.2): all others are refused.

Used by the file formats in which a wrong column name means a wrong file. A near miss is suggested,
never accepted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from connectors.contract.connector import RowFinding, RowsRefused
from connectors.files.csv_rows import Header, bare_name, near


def refuse_strangers(
    header: Header, columns: Sequence[str], also_called: Mapping[str, str]
) -> None:
    """Raise ``RowsRefused`` naming every column that is not one of ``columns``.

    ``also_called`` maps what people call a column, without case and signs, to its name. A first
    line without any known name is not quoted: it may be a person's row.
    """
    known = {name.casefold() for name in columns}
    strangers = [name for name in header.names if name and name.casefold() not in known]
    if not (strangers and header.ended and _is_a_header(header, columns, also_called)):
        return
    findings = []
    taken = set(header.folded)
    for name in strangers:
        meant = next(
            (
                guess
                for guess in (
                    near(name, columns), near(also_called.get(plain_word(name), ""), columns)
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


def _is_a_header(header: Header, columns: Sequence[str], also_called: Mapping[str, str]) -> bool:
    known = {name.casefold() for name in columns}
    if known.intersection(header.folded):
        return True
    if sum(plain_word(name) in also_called for name in header.names) > 1:
        return True
    return len(header.names) > 1 and any(near(name, columns) for name in header.names if name)


_WORDS = {
    "given": "firstname first givenname given forename fname vorname rufname prenom nombre nombres"
    " nome primeironome voornaam fornavn fornamn etunimi imie jmeno utonev prenume ime ad isim",
    "family": "lastname last familyname family surname lname nachname familienname zuname nom"
    " nomdefamille apellido apellidos cognome sobrenome ultimonome achternaam etternavn efternavn"
    " efternamn sukunimi nazwisko prijmeni priezvisko vezeteknev numedefamilie prezime soyad",
    "email": "email mail emailaddress mailaddress emailadresse mailadresse adresseemail courriel"
    " adressemail correo correoelectronico email1 posta postaelettronica indirizzoemail"
    " enderecodeemail eposta epost epostadress sahkoposti adresemail mejl",
    "role": "role usertype type persontype rolle funktion fonction rol funcion tipo ruolo funcao"
    " roll rooli rola typ",
    "year": "gradyear graduationyear classof yearofgraduation abschlussjahr abschluss"
    " anneedediplome anodegraduacion annodidiploma anodeformatura examensjahr eindjaar",
    "status": "status state accountstatus statut estado stato situacao",
    "number": "idnumber id studentid studentnumber personid staffid employeeid schuelernummer"
    " schulernummer personalnummer matrikelnummer kennnummer numero numeroetudiant matricule"
    " numerodeestudiante matricola leerlingnummer elevnummer numer crd crdnumber individualcrd",
}
"""The names of the columns of a list of people, in exports in several languages."""
_OURS = (
    "firstname lastname email role gradyear status idnumber crdid sourcedid enableduser"
    " orgsourcedids username givenname familyname schoolid studentid teacherid staffid"
)
_FAMILIAR = frozenset(" ".join((*_WORDS.values(), _OURS)).split())


def plain_word(name: str) -> str:
    """Return a column name without case, accents, blanks and signs."""
    whole = unicodedata.normalize("NFKD", name)
    return bare_name("".join(sign for sign in whole if not unicodedata.combining(sign)))


def words_for(columns: Mapping[str, str]) -> dict[str, str]:
    """Return names that people use → the column; ``columns`` is meaning → column.

    The meanings are given, family, email, role, year, status and number.
    """
    return {word: column for what, column in columns.items() for word in _WORDS[what].split()}


def is_familiar(cell: str) -> bool:
    """Return whether a cell names a column of a list of people, in any known language."""
    return plain_word(cell) in _FAMILIAR
