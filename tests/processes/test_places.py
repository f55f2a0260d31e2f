"""The place of a job, its server and prefix, by which processes are known as its own: however its URL is spelt."""

import pytest

from gnjobs.processes.table import Mark, Wanted
from gnjobs.text import place_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost:6379/0", "redis://user:secret@127.0.0.1"),
        ("rediss://DB1.example.org:6380/2?ssl_ca_certs=x", "redis://db1.example.org:6380?db=2"),
        ("unix:///run/redis.sock?db=3", "unix://u:p@/run/redis.sock?db=3"),
        ("redis+sentinel://a:1,B:2/gn/1", "rediss+sentinel://u:p@b:2,a:1/gn/1"),
        ("redis+sentinel://localhost,b/gn", "redis+sentinel://b:26379,127.0.0.1:26379/gn/0"),
    ],
)
def test_a_server_is_the_same_in_several_spellings(one: str, other: str) -> None:
    assert place_of(one, "p") == place_of(other, "p")
    assert place_of(one, "p") != place_of(one, "q")
    assert place_of(one, "p") != place_of("redis://localhost:1/0", "p")


def test_what_a_job_in_slurm_is_marked_with_is_the_same_on_the_servers_own_host_and_on_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = set()
    for host in ("db1", "login"):
        monkeypatch.setattr("socket.gethostname", lambda name=host: name)
        said.add(place_of("redis://db1/0", "p"))
        assert place_of("redis://localhost/0", "p") == place_of(f"redis://{host}/0", "p")
    assert len(said) == 1


def test_masters_of_one_name_are_several_where_other_sentinels_name_them() -> None:
    one, other = "redis+sentinel://a:1,b:2/mymaster/0", "redis+sentinel://c:1/mymaster/0"
    assert place_of(one, "p") != place_of(other, "p")


def test_any_url_has_a_place() -> None:
    for url in ("", "redis://[", "redis://h:x", "://", "unix://", "redis://h?db=&db=2", "redis+sentinel://"):
        assert place_of(url, "p")
    assert Wanted("j", place=place_of("", "p")).matches(Mark("j", None, place=place_of("", "p")))
