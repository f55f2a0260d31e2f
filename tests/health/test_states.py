"""The table of states."""

import pytest

from gnjobs.health.states import STATES, child_state, display_state
from gnjobs.health.verdict import Health
from gnjobs.records.fields import Child, Job
from gnjobs.records.statuses import STATUSES

TABLE = """
pending   ok    -  · . waiting  dim           1
running   ok    -  ● * running  accent        1
running   quiet -  ○ o quiet    plain         1
running   stuck -  ! ! STUCK    warning-bold  0
pending   stuck -  ! ! STUCK    warning-bold  0
running   dead  -  ! ! DEAD     error-bold    0
stopping  ok    -  □ ~ stopping warning       1
stopping  quiet -  □ ~ stopping warning       1
success   ok    -  ✓ + done     success       2
success   ok    3  ▲ ^ faults   warning       2
running   ok    3  ● * running  accent        1
error     ok    3  ✗ x failed   error         2
killed    ok    -  ■ # killed   plain         2
lost      ok    -  ? ? lost     error         2
nonsense  ok    -  ? ? unknown  dim           2
"""


@pytest.mark.parametrize("row", TABLE.strip().split("\n"))
def test_every_row_of_the_table(row: str) -> None:
    status, verdict, faults, symbol, ascii_symbol, word, token, rank = row.split()
    found = None if faults == "-" else int(faults)
    state = display_state(Job(id="j", status=status, faults=found), Health(verdict))
    assert (state.symbol, state.ascii_symbol, state.word, state.token, state.rank) == (
        symbol, ascii_symbol, word, token, int(rank),
    )  # fmt: skip
    assert child_state(Child(id="c", status=status, faults=found), verdict) == state


def test_a_status_that_is_missing_is_unknown() -> None:
    assert display_state(Job(id="j"), Health()).word == "unknown"


def test_words_and_ascii_forms_tell_states_apart() -> None:
    assert len({state.word for state in STATES}) == len(STATES)
    assert all(len(state.symbol) == len(state.ascii_symbol) == 1 for state in STATES)
    assert all(state.ascii_symbol.isascii() for state in STATES)
    assert len({display_state(Job(id="j", status=status), Health()) for status in STATUSES}) == len(STATUSES)
