"""Who is stale (I6): in the directory, and nobody speaks of them any more."""

from __future__ import annotations

from sync.run import find
from sync.views import people
from sync.views.people import UserFilter
from tests.kit.fixtures import NewWorld
from tests.kit.world import SLUG, World


def stale(world: World) -> set[str]:
    with world.database.read() as connection:
        district = find.district_row(connection, SLUG)
        wanted = UserFilter(stale=True, now=world.now)
        return {user["id"] for user in people.users(connection, district, wanted)}


def test_i6_stale_is_active_in_no_roster_and_untouched_by_hand_for_180_days(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(3)
    world.sync(code=0)
    protected, by_hand, archived = world.id_of("st0000") or "", world.add(), world.add()
    world.protect(protected)
    world.archive(archived)
    world.sis.without("st0000")
    world.sync(code=0)
    assert stale(world.later(days=179)) == set()
    assert stale(world.later(days=1)) == {protected, by_hand}
    world.edit(by_hand, given_name="Kim")  # somebody has looked at them
    assert stale(world) == {protected}
    world.sis.student("st0000")  # a roster speaks of them again
    world.sync(code=0)
    assert stale(world) == set()
