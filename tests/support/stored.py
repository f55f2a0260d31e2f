"""What may stand in records, ours and other programs', for tests that read whatever there is."""

from hypothesis import strategies as st

from gnjobs.records.fields import JOB_FIELDS
from gnjobs.records.foreign import list_names
from gnjobs.records.keys import MIRROR_FIELD, OWN_STATUS
from gnjobs.records.layouts import LAYOUTS
from tests.support.hostile import NUMBERS, TEXTS

VALUES = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.sampled_from([text.encode("utf-8", "surrogateescape") for text in NUMBERS]),
    st.sampled_from([b"12", b"1700000000.25", b"100", b"-9"]),
    st.sampled_from([text.encode("utf-8", "surrogatepass") for text in TEXTS.values() if len(text) < 400]),
)


DESCRIBED = ("gn2", "GN3::JOBS", "cmd")
IDS = ("2026-01-0212-0304-0304-x", "2026-13-0212-0304-x", "j1")
WORDS = st.sampled_from(
    [b"completed", b'"completed"', b"success", b"error", b"Failed", b"aborted", b"queued"]
)
THEIRS = st.builds(
    lambda fields, status: fields | {"status": status},
    st.dictionaries(
        st.sampled_from(
            sorted(
                {
                    OWN_STATUS,
                    MIRROR_FIELD,
                    *JOB_FIELDS,
                    *(n for p in DESCRIBED for n in list_names(LAYOUTS[p])),
                }
            )
        ),
        st.one_of(
            VALUES.filter(bool),
            WORDS,
            st.sampled_from(
                [b'["a", "b c"]', b'{"__value": "2026-01-02T03:04:05"}', b"null", b'"x y"', b"7"]
            ),
        ),
        max_size=12,
    ),
    WORDS,
)
