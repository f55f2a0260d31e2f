"""Jobs that have ended are the same whether they are read by columns, in part, or one by one."""

from hypothesis import given
from hypothesis import strategies as st

from gnjobs.records.columns import JobReader
from gnjobs.records.fields import JOB_FIELDS
from gnjobs.records.foreign import list_names, read_listed
from gnjobs.records.keys import MIRROR_FIELD, Keys
from gnjobs.records.layouts import LAYOUTS
from gnjobs.store import JobStore
from tests.support.population import populate
from tests.support.servers import Server
from tests.support.stored import DESCRIBED, IDS, THEIRS

WANTED = ("label", "user-id", "command", "percent", "faults", "error", "started", "exit-code")


@given(
    st.sampled_from(("gn-uploader", *DESCRIBED)),
    st.lists(st.tuples(st.sampled_from(IDS), THEIRS), min_size=1, max_size=4),
)
def test_what_is_read_of_a_job_is_what_its_whole_record_says(
    prefix: str, records: list[tuple[str, dict[str, bytes]]]
) -> None:
    layout, names = LAYOUTS[prefix], list_names(LAYOUTS[prefix])
    reader = JobReader(layout, WANTED)
    listed = {job_id: [fields.get(name) for name in reader.names] for job_id, fields in records}
    stored = dict(records)
    ended = [job_id for job_id in stored if reader.has_ended(listed[job_id])]
    assert not any(MIRROR_FIELD in stored[job_id] for job_id in ended)
    attributes = ["status", *(JOB_FIELDS[name].attribute for name in WANTED), "is_foreign", "is_uncounted"]
    for job in reader.read_jobs(ended, [listed[job_id] for job_id in ended]):
        if job is not None:
            whole = read_listed(layout, job.id, names, [stored[job.id].get(name) for name in names])
            assert [getattr(job, name) for name in attributes] == [
                getattr(whole, name) for name in attributes
            ]


def test_a_brief_store_lists_the_same_jobs_in_the_same_order(server: Server) -> None:
    populate(server, 700)
    client, keys = server.client(), Keys()
    client.hset(keys.job("theirs"), mapping={"status": "success", "percent": "100"})
    client.zadd(keys.jobs, {"theirs": 1.0, "gone": 2.0})
    client.set(keys.job("text"), "no record")
    client.zadd(keys.jobs, {"text": 3.0})
    whole = JobStore.from_url(server.url)
    brief = whole.brief(("label", "user-id"))

    def seen(store: JobStore) -> list[tuple[object, ...]]:
        return [
            (job.id, job.status, job.label, job.user, job.is_uncounted) for job in store.page(count=800).jobs
        ]

    assert seen(brief) == seen(whole)
    assert len(seen(brief)) == 702
    at_work, ended = brief.page(unfinished=True).jobs[0], brief.page(before=(1e9, "z")).jobs
    assert at_work.heartbeat_every is not None
    assert [job.id for job in ended] == ["text", "theirs"]
