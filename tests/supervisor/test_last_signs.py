"""How long ago something was heard of, whatever the wall clock does meanwhile."""

import pytest
from redis.exceptions import InvalidResponse

from gnjobs.health.parts import Family
from gnjobs.records.keys import Keys
from gnjobs.supervisor.children import ChildWatch
from gnjobs.supervisor.measure import Clocks, LastSign, Measured
from gnjobs.supervisor.signs import JobSigns

WALL, MONOTONIC, SERVER = 5000.0, 100.0, 9000.0


def at(seconds: float, jump: float = 0.0, slept: float = 0.0) -> Clocks:
    return Clocks(WALL + seconds + jump, MONOTONIC + seconds - slept, SERVER + seconds)


def test_a_line_is_told_exactly_by_the_servers_clock() -> None:
    sign = LastSign()
    assert sign.at(WALL - 1, at(0)) == SERVER - 1
    assert sign.at(WALL + 3, at(5)) == SERVER + 3
    assert sign.at(WALL + 3, at(10)) == SERVER + 3


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_jumps_between_a_line_and_the_look_at_it(jump: float) -> None:
    sign = LastSign()
    sign.at(WALL, at(0))
    assert sign.at(WALL + 3, at(5, jump)) == SERVER + 5
    assert sign.at(WALL + 3, at(65, jump)) == SERVER + 5


def test_the_time_that_a_machine_slept_is_no_silence() -> None:
    sign = LastSign()
    sign.at(WALL, at(0))
    slept = 8 * 3600.0
    assert sign.at(WALL, at(slept + 10, slept=slept)) == SERVER + slept


def test_a_little_jitter_of_the_servers_clock_is_not_told() -> None:
    sign = LastSign()
    assert sign.at(WALL, at(0)) == SERVER
    assert sign.at(WALL, at(5)._replace(server=SERVER + 6)) == SERVER


@pytest.mark.parametrize("ahead", [86400.0, -3600.0])
def test_a_servers_clock_that_was_wrong_for_a_while_hides_no_silence(ahead: float) -> None:
    watch = ChildWatch(Keys(), "j")
    signs = JobSigns(Keys(), "j", watch, lambda *_: Measured({}, Family(())))  # type: ignore[arg-type]

    def told(seconds: float, line: float, *, shift: float = 0.0) -> float:
        clocks = at(seconds)._replace(server=SERVER + seconds + shift)
        return float(signs.look(clocks, WALL + line).fields["last-output"]) - SERVER - shift

    assert told(0, -1) == -1
    assert told(5, 4, shift=ahead) == 4
    assert told(10, 8) == 8
    assert told(15, 14, shift=ahead) == 14
    assert told(300, 14) == 14


def test_an_answer_that_is_no_list_costs_one_beat_alone() -> None:
    """Whatever listens for a moment on the port of a server that is away may answer it."""
    watch = ChildWatch(Keys(), "j")
    signs = JobSigns(Keys(), "j", watch, lambda *_: Measured({}, Family(())))  # type: ignore[arg-type]
    signs.take([[None] * 5])
    for nonsense in (b"abc", [b"1"]):
        with pytest.raises(InvalidResponse):
            signs.take([nonsense])
    assert signs.look(at(0)).fields["heartbeat"] == SERVER
    signs.take([[b"0", b"1", None, None, None]])
    assert signs.look(at(5)).fields["last-output"] == SERVER + 5
