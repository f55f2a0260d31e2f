"""Fixtures shared by the end-to-end tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.access import Guarded
from tests.support.faults import LASTING
from tests.support.servers import BINARIES, Server, running_server


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Server]:
    """A server with a journal, to be broken."""
    with running_server(tmp_path / "server", BINARIES["valkey"], *LASTING) as server:
        yield server


@pytest.fixture
def guarded(own_server: Server) -> Guarded:
    """A server on which everybody is somebody."""
    return Guarded(own_server)
