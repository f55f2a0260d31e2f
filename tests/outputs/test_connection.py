"""The raw connection of a writer, apart from what is written."""

from gnjobs.outputs.connection import OutputConnection
from gnjobs.records.keys import Keys
from tests.support.servers import Server


def test_a_writer_may_connect_anew_as_often_as_it_takes(server: Server) -> None:
    connection = OutputConnection(server.url, Keys().output("a"), expire=100)
    for _ in range(150):
        assert connection.open().last_id is None
    connection.close()
