"""A saved screenshot is valid XML, whatever the job's texts are."""

from xml.etree import ElementTree as ET

from gnjobs.records.values import encode_text
from tests.support.dashboard import dashboard, shows
from tests.support.hostile import TEXTS
from tests.support.servers import Server
from tests.support.stored_records import write_running


async def test_a_screenshot_of_harmful_texts_is_valid_xml(server: Server) -> None:
    for number, text in enumerate(TEXTS.values()):
        write_running(server, f"job-{number:03}", label=encode_text(text), message=encode_text(text))
    async with dashboard(server, size=(160, len(TEXTS) + 10)) as pilot:
        await shows(pilot, f"1 all {len(TEXTS)}")
        picture = ET.fromstring(pilot.app.export_screenshot())
        assert "␛" in "".join(picture.itertext())
