"""Claims: the links that one source's new people would get in a run, seen together.

Each looks right on its own; together they may say that two people are one, or that two people have
each other's numbers. Pure; ``sync/people/matching.py`` asks and takes such links back. The result
does not depend on the order of the claims.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sync.people.identity import Match, Traits, names_agree
from sync.people.person import RecordView

Doubtful = dict[str, tuple[str, int, tuple[str, ...]]]
"""Person → (the user they would be, one of their records, the evidence)."""

_SURE = frozenset({"same_master", "same_userid", "same_person", "resolved"})
_WEAK = frozenset({"same_email", "same_number_elsewhere"})


@dataclass(frozen=True, slots=True)
class _Claim:
    """A strong key of one person that belongs to somebody with another name."""

    person: str
    target: str
    record_id: int
    new: Traits
    known: Traits
    links: bool
    evidence: tuple[str, ...]


class ClaimedLinks:
    """Collects the claims of one source whose names do not agree."""

    def __init__(self) -> None:
        self._doubtful: list[_Claim] = []

    def note(
        self,
        person: str,
        records: Sequence[RecordView],
        target: str,
        new: Traits,
        known: Traits,
        verdict: Match,
    ) -> None:
        """Record a claim, if it is one by which people could be swapped."""
        if names_agree(new, known) is False and not new.emails & known.emails:
            evidence = next(slugs for user, slugs in verdict.evidence if user == target)
            self._doubtful.append(
                _Claim(
                    person, target, records[0].id, new, known, verdict.target == target, evidence
                )
            )

    def swapped(self) -> Doubtful:
        """Return the links whose names are exactly those of another link's target."""
        by_name: dict[tuple[str, str], set[str]] = {}
        for claim in self._doubtful:
            for given in claim.known.given:
                for family in claim.known.family:
                    by_name.setdefault((given, family), set()).add(claim.target)
        return {
            claim.person: (claim.target, claim.record_id, (*claim.evidence, "names_of_another"))
            for claim in self._doubtful
            if claim.links
            and any(
                by_name.get((given, family), set()) - {claim.target}
                for given in claim.new.given
                for family in claim.new.family
            )
        }

    def crowded(self, links: Iterable[tuple[str, int, str, str]]) -> Doubtful:
        """Return the people whose links would join several people of one source to one user.

        ``links`` are (user, record, reason, person). A single person linked by a strong key stays;
        the source's own key of a person, and a decision, are never in doubt.
        """
        by_user: dict[str, list[tuple[int, str, str]]] = {}
        for user, record, reason, person in links:
            by_user.setdefault(user, []).append((record, reason, person))
        doubtful: Doubtful = {}
        for user, rows in by_user.items():
            people = {person for _, _, person in rows}
            if len(people) < 2:
                continue
            sure = {person for _, reason, person in rows if reason in _SURE}
            strong = {person for _, reason, person in rows if reason not in _WEAK} - sure
            stays = sure or (strong if len(strong) == 1 else set())
            for record, reason, person in rows:
                if person not in stays:
                    doubtful.setdefault(person, (user, record, (reason, "other_id_in_source")))
        return doubtful
