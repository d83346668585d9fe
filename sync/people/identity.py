"""Identity: who a new record may be, and the ids under which new people and schools come in.

Pure. Strong keys come first; an address is weak and needs agreeing names (rule 6); whatever is
weak, contradictory or ambiguous is a conflict that a person decides (I5).
``sync/people/matching.py`` reads, in sets, what ``judge`` decides by.

One file, because the order of the evidence is one decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

from core.models import fold_name, without_zeros
from sync.people.person import UserData

USER_PREFIX = "u"
SCHOOL_PREFIX = "s"

STRONG = (
    "master", "userid", "state_id", "sis_id", "student_number", "staff_number", "crd_id",
)  # fmt: skip
"""The kinds of strong keys, the strongest first."""
NUMBERS = ("state_id", "sis_id", "student_number", "staff_number", "crd_id")
"""The strong keys that a user's profile holds; each is unique within a role class."""
LOCAL = ("sis_id", "student_number", "staff_number")
"""Numbers that a district assigns: one vendor's SIS id may be another's student number."""


def new_id(key: bytes, prefix: str, *about: object) -> str:
    """Return an id for something new: the same installation and words give the same id.

    So a plan can name the people that it creates, two readings of one roster make the same plan,
    and no id reveals what it was made from.
    """
    keyed = _keyed(key).copy()
    keyed.update("\0".join(map(str, about)).encode())
    number, pair = int.from_bytes(keyed.digest(), "big"), _PAIRS
    return prefix + "".join([pair[(number >> shift) & 1023] for shift in _SHIFTS])


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> blake2b:
    return blake2b(digest_size=10, key=key[:32], person=b"rostersync-id")


_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [one + other for one in _BASE32 for other in _BASE32]
_SHIFTS = range(70, -10, -10)


def role_class(roles: Iterable[str]) -> str:
    """Return the group in which a number is unique: students, contacts, or adults."""
    words = set(roles)
    if "student" in words:
        return "student"
    return "contact" if words == {"contact"} else "staff"


def strong_keys(
    data: Mapping[str, object],
    roles: Iterable[str],
    source_id: int | None = None,
    own: Collection[str] | None = None,
) -> list[str]:
    """Return the keys that identify somebody across sources (same key: the same person).

    A number that is a source's own (all of them, without ``own``) identifies only within it.
    """
    cls = role_class(roles)
    keys = [
        f"{name}:{cls}:{value}"
        if source_id is None or (own is not None and name not in own)
        else f"{name}@{source_id}:{cls}:{value}"
        for name in ("sis_id", "student_number", "staff_number", "state_id", "crd_id")
        if (value := data.get(name))
    ]
    person = data.get("person_key")
    return (
        [*keys, str(person)] if isinstance(person, str) and person.startswith("master:") else keys
    )


def weak_keys(data: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return the local part of the address and the names, folded: weak each, strong together."""
    email, given, family = data.get("email"), data.get("given_name"), data.get("family_name")
    local = str(email).casefold().rpartition("@")[0] if email else None
    names = f"{fold_name(str(given or ''))}|{fold_name(str(family or ''))}"
    return local or None, names if names != "|" else None


def keys_of(
    data: UserData, source_id: int, own: Collection[str] = ()
) -> tuple[list[str], str | None, str | None]:
    """Return strong keys, local part and names of a record's data; ``own``: its source's own."""
    values = {
        "sis_id": data.sis_id,
        "student_number": data.student_number,
        "staff_number": data.staff_number,
        "state_id": data.state_id,
        "crd_id": data.crd_id,
        "person_key": data.person_key,
        "email": data.email,
        "given_name": data.given_name,
        "family_name": data.family_name,
    }
    local, names = weak_keys(values)
    roles = (m.role for m in data.memberships)
    return strong_keys(values, roles, source_id, own), local, names


# -- who is who (I5): pure


@dataclass(frozen=True, slots=True)
class Traits:
    """What distinguishes people from each other, for a new record or a user."""

    keys: Mapping[str, frozenset[str]]
    """Kind of strong key, with its role class → values: ``sis_id:student``, ``master`` … A number
    that is a source's own (``own_numbers``) has its source in it: ``sis_id@7:student``."""
    emails: frozenset[str]
    """Folded addresses, with those at the district's earlier domains."""
    given: frozenset[str]
    family: frozenset[str]
    roles: frozenset[str]
    usernames: frozenset[str] = frozenset()
    """Folded logins: they tell one adult's entries of one source together, and nothing else."""

    @property
    def role_class(self) -> str:
        """The group in which their numbers are unique."""
        return role_class(self.roles)

    @property
    def is_adult(self) -> bool:
        """Say whether they are no student: a contact may be a teacher, too."""
        return bool(self.roles) and "student" not in self.roles


@dataclass(frozen=True, slots=True)
class Candidate:
    """A user, or a newcomer from another source, who may be the person of a new record."""

    id: str
    known: Traits
    archived: bool = False
    present_here: bool = False
    """They have another entry in the record's own source, and it is still there."""
    absent_here: bool = False
    """They had an entry in the record's own source, and it is gone."""
    strong_rivals: bool = False
    """Another new person of the record's source has one of the same strong keys."""
    email_rivals: bool = False
    """Another user, or another entry of the record's source, has the same address."""
    sources: frozenset[int] = frozenset()
    """The sources that share them, or have shared them."""


@dataclass(frozen=True, slots=True)
class Match:
    """Who a new record is: ``new``, ``link`` (to ``target``) or ``conflict``; why; the evidence."""

    what: str
    target: str | None = None
    reason: str = ""
    evidence: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(candidate, slugs) each, in the order of the candidates' ids."""
    shares_address_with: tuple[str, ...] = ()
    """Of somebody new: whose address theirs is, too (I9)."""


NEW = Match("new")


def judge(
    new: Traits, candidates: Sequence[Candidate], domains: frozenset[str] = frozenset()
) -> Match:
    """Decide who a new record is, by its strong keys, then by address and names together.

    A single candidate with a strong key, and nothing against it, is the person. So is a single
    candidate with the number in another field (one vendor's SIS id is another's student number), if
    the names agree too. So is a single candidate with the same address and agreeing names, unique
    on both sides, of the same role class, at an allowed domain (empty ``domains`` allow all), who
    gains no admin role. Weak, contradictory or several: a conflict. A name alone never decides.

    Another entry of the record's own source is the same person by a strong number and both names,
    an adult also by address or username and both names (I10). An address of several people of one
    source is no evidence (I9). A number that agrees but for leading zeros counts like one in
    another field, if it is one person's only (I11).
    """
    strong = {c.id for c in candidates if _agreeing(new, c.known)}
    by_number = {c.id for c in candidates if c.id not in strong and _confirmed(new, c.known)}
    but_for_zeros = {c.id for c in candidates if _without_zeros(new, c.known)} - strong
    by_zeros = {c.id for c in candidates if c.id in but_for_zeros} - by_number
    by_zeros = {c.id for c in candidates if c.id in by_zeros and names_agree(new, c.known) is True}
    one_adult = {c.id for c in candidates if c.id not in strong and _same_adult(new, c)}
    by_email = {c.id for c in candidates if new.emails & c.known.emails} | one_adult
    by_key = strong | by_number | by_zeros | one_adult
    family = {c.id for c in candidates if c.id in by_email - by_key and _family(new, c, candidates)}
    by_email -= family
    candidates = _with_family_rivals(new, candidates, family)
    likely = [
        c
        for c in candidates
        if c.id in strong
        or (
            c.id in by_email | by_number | by_zeros
            and (not strong or names_agree(new, c.known) is True)
        )
    ]
    if not likely:
        return Match("new", shares_address_with=tuple(sorted(family))) if family else NEW
    evidence = tuple(
        (c.id, evidence_of(new, c, domains)) for c in sorted(likely, key=lambda c: c.id)
    )
    if len(likely) > 1:
        numbers = strong or by_number or by_zeros
        reason = "several_candidates" if numbers else "email_of_another"
        return Match("conflict", None, reason, evidence)
    (one,) = likely
    if strong:
        if _contradicts(new, one):
            return Match("conflict", None, "keys_contradict", evidence)
        reason = "moved" if one.absent_here else f"same_{_strongest(new, one.known)}"
        return Match("link", one.id, reason, evidence)
    doubts = {"other_id_in_source", "earlier_id_in_source", "other_role_class", "gains_admin"}
    sure, doubtful = "same_number_elsewhere", "keys_contradict"
    if one.id in by_number:
        doubts |= {"shared_key"}
    elif one.id in by_zeros:
        sure = "same_number_without_zeros"
        doubts -= {"earlier_id_in_source"}  # where the number is the id, the id lost its zeros too
        doubts |= {"shared_key"} | ({sure} if len(but_for_zeros) > 1 else set())
    elif one.id in one_adult and "gains_admin" not in evidence[0][1]:
        return Match("link", one.id, "same_person", evidence)
    else:
        doubts |= {"names_differ", "names_unknown", "shared_email", "foreign_domain"}
        sure, doubtful = "same_email", "email_of_another"
    slugs = set(evidence[0][1])
    if slugs & doubts or any(slug.startswith("other_") for slug in slugs):
        return Match("conflict", None, doubtful, evidence)
    return Match("link", one.id, sure, evidence)


def evidence_of(new: Traits, candidate: Candidate, domains: frozenset[str]) -> tuple[str, ...]:
    """Return what speaks for and against a candidate, as codes."""
    known = candidate.known
    agreeing, differing = _agreeing(new, known), _differing(new, known)
    slugs = [f"same_{kind}" for kind in agreeing] + [f"other_{kind}" for kind in differing]
    if crossing(new, known):
        slugs.append("same_number_elsewhere")
    if _without_zeros(new, known):
        slugs.append("same_number_without_zeros")
    if new.emails & known.emails:
        slugs.append("same_email")
        if candidate.email_rivals:
            slugs.append("shared_email")
        if domains and not any(e.rpartition("@")[2] in domains for e in new.emails):
            slugs.append("foreign_domain")
    slugs.append({True: "names_agree", False: "names_differ", None: "names_unknown"}[
        names_agree(new, known)
    ])  # fmt: skip
    for said, slug in (
        (candidate.present_here, "other_id_in_source"),
        (candidate.absent_here and not candidate.present_here, "earlier_id_in_source"),
        (
            candidate.strong_rivals and bool(agreeing or "same_number_elsewhere" in slugs),
            "shared_key",
        ),
        (bool(known.roles) and new.role_class != known.role_class, "other_role_class"),
        ("admin" in new.roles and "admin" not in known.roles, "gains_admin"),
        (candidate.archived, "archived"),
    ):
        if said:
            slugs.append(slug)
    return tuple(slugs)


def _agreeing(new: Traits, known: Traits) -> list[str]:
    """Return the kinds of strong keys in which both agree, the strongest first."""
    return _kinds(kind for kind, values in new.keys.items() if values & known.keys.get(kind, _NONE))


def _differing(new: Traits, known: Traits) -> list[str]:
    """Return the kinds of strong keys in which they differ.

    But for a number in another field, and for one that lacks its leading zeros.
    """
    same = {kind for pair in crossing(new, known) for kind in pair}
    same |= set(_without_zeros(new, known))
    return _kinds(
        kind
        for kind, values in new.keys.items()
        if kind in known.keys and not values & known.keys[kind] and kind not in same
    )


def _without_zeros(new: Traits, known: Traits) -> list[str]:
    """Return the kinds of numbers that are the same but for leading zeros (I11)."""
    return [
        kind
        for kind, values in new.keys.items()
        if kind in known.keys
        and not values & known.keys[kind]
        and {without_zeros(v) for v in values} & {without_zeros(v) for v in known.keys[kind]}
    ]


def _same_adult(new: Traits, one: Candidate) -> bool:
    """Say whether another entry of the source is the same adult's, by address or login (I10)."""
    known = one.known
    return bool(
        one.present_here
        and new.is_adult
        and known.is_adult
        and (new.emails & known.emails or new.usernames & known.usernames)
        and names_agree(new, known) is True
        and not _differing(new, known)
    )


def _family(new: Traits, one: Candidate, candidates: Sequence[Candidate]) -> bool:
    """Say whether an address is a family's: of somebody with another given name (I9).

    Their id of the record's own source is another one, or others of their source have it too.
    """
    if not (new.given and one.known.given) or new.given & one.known.given:
        return False
    return (
        one.present_here
        or one.absent_here
        or any(
            other.id != one.id
            and other.sources & one.sources
            and other.known.emails & one.known.emails & new.emails
            for other in candidates
        )
    )


def _with_family_rivals(
    new: Traits, candidates: Sequence[Candidate], family: Collection[str]
) -> Sequence[Candidate]:
    """Return the candidates, knowing that one of their addresses is also a family's (I9)."""
    if not family:
        return candidates
    shared = new.emails & {e for c in candidates if c.id in family for e in c.known.emails}
    return [
        replace(c, email_rivals=True) if c.id not in family and shared & c.known.emails else c
        for c in candidates
    ]


def crossing(new: Traits, known: Traits) -> list[tuple[str, str]]:
    """Return where a number is in another field of the other side: (field here, field there).

    Only numbers that a district assigns, within one role class, and only fields that do not agree
    with the field of the same name.
    """
    found = []
    cls = new.role_class
    for kind, values in new.keys.items():
        name, _, of = kind.partition(":")
        if name not in LOCAL or of != cls or values & known.keys.get(kind, _NONE):
            continue
        for other in LOCAL:
            there = f"{other}:{cls}"
            if other == name or not values & known.keys.get(there, _NONE):
                continue
            if not new.keys.get(there, _NONE) & known.keys[there]:
                found.append((kind, there))
    return found


def _confirmed(new: Traits, known: Traits) -> bool:
    """Return whether names or address confirm a number in another field."""
    if not crossing(new, known):
        return False
    names = names_agree(new, known)
    if names is True or not new.emails & known.emails:
        return names is True
    return names is None or bool(new.given & known.given) or bool(new.family & known.family)


def _kinds(kinds: Iterable[str]) -> list[str]:
    """Return kinds of keys without role class and source, the strongest first."""
    names = {kind.partition(":")[0].partition("@")[0] for kind in kinds}
    return sorted(names, key=STRONG.index)


def _strongest(new: Traits, known: Traits) -> str:
    return _agreeing(new, known)[0]


def names_agree(new: Traits, known: Traits) -> bool | None:
    """Return whether given and family names agree; None if one side lacks what the other has.

    A person with one name agrees only with somebody who has just the same one (I12).
    """
    if not (new.given and new.family and known.given and known.family):
        if bool(new.given) != bool(known.given) or bool(new.family) != bool(known.family):
            return None
        if new.given or new.family:
            return bool(new.given & known.given or new.family & known.family)
        return None
    return bool(new.given & known.given) and bool(new.family & known.family)


def _contradicts(new: Traits, one: Candidate) -> bool:
    """Return whether something speaks against a candidate with a strong key."""
    known = one.known
    names, others = new.given | new.family, known.given | known.family
    strangers = (  # but for an id of the source that was theirs: L7 goes by the id alone
        not one.absent_here
        and bool(names and others)
        and not names & others
        and not new.emails & known.emails
    )
    sure = {"master", "userid"} & set(_agreeing(new, known)) or names_agree(new, known) is True
    return bool(
        _differing(new, known) or strangers or one.strong_rivals or (one.present_here and not sure)
    )


_NONE: frozenset[str] = frozenset()
