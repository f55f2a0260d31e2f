"""The end of a job's output in the fields `stdout` and `stderr` of its record, for readers of gn-uploader's records."""

from gnjobs.outputs.lines import Line, encode_text
from gnjobs.outputs.reader import OutputReader
from gnjobs.records.fields import MIRROR_FIELD
from gnjobs.records.scripts import set_fields
from gnjobs.supervisor.record import RecordLink

_LINES = 10_000
_LARGEST = 1_000_000
_FIELDS = {"out": "stdout", "err": "stderr"}


def mirror_output(link: RecordLink) -> None:
    """Write the last lines, 1 MB of each at most, if the record asks for it; raises redis-py's errors."""
    if MIRROR_FIELD.encode() not in link.found:
        return
    lines = OutputReader(link.client, link.keys.output(link.job_id)).tail(_LINES)
    fields = {}
    for kind, field in _FIELDS.items():
        text = "\n".join(line.text for line in lines if isinstance(line, Line) and line.kind == kind)
        fields[field] = encode_text(text + "\n" if text else "")[-_LARGEST:]
    set_fields(link.client, link.key, fields)
