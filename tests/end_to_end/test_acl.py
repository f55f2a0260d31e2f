"""What `gnjobs acl` prints, refuses and warns of."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.servers import Server
from tests.support.terminal import gnjobs


def test_acl_and_the_agent_say_when_a_server_obeys_everybody(own_server: Server, tmp_path: Path) -> None:
    """A user who needs no password makes all the others' roles worth nothing."""
    (tmp_path / "p").write_text("open sesame")
    with own_server.client() as client:
        rule = run(own_server.url, "acl", "agent", "--password-file", str(tmp_path / "p"))
        client.execute_command(*rule.stdout.split())
        url = own_server.url.replace("//", "//gnjobs-agent:open%20sesame@")
        agent = subprocess.Popen(gnjobs("agent", "--redis-url", url), stderr=subprocess.PIPE, text=True)
        try:
            assert "obeys everybody" in agent.stderr.readline()
        finally:
            agent.terminate()
            agent.communicate()
        client.execute_command("ACL SETUSER default off")
    assert run(url, "acl", "agent", "--password-file", str(tmp_path / "p")).stderr == ""


@pytest.mark.parametrize("rest", [":99999", ":1/x", ":1?db=a b", "[bad"])
def test_acl_prints_nothing_of_a_url_that_can_not_be_used(rest: str) -> None:
    done = run(f"redis://tux:sesame@127.0.0.1{rest}", "acl", "viewer")
    assert (done.returncode, done.stdout) == (2, "")
    assert "sesame" not in done.stderr


def test_acl_refuses_jobs_that_could_be_requests_of_another_configured_prefix(
    server: Server, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text('prefix = ["mine", "other"]\n[layouts.mine]\nkey = "other:<id>"\n')
    done = run(server.url, "acl", "writer", "--prefix", "mine", "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert "they could be other:users, too" in done.stderr


def test_acl_prints_a_line_for_the_server_with_the_digest_of_a_password_alone(
    server: Server, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    done = run(server.url, "acl", "curator", "--user", "jsmith", "--password-file", str(password))
    assert (done.returncode, "sesame" in done.stdout) == (0, False)
    assert done.stderr.endswith("whatever roles it knows: ACL SETUSER default off\n")
    with server.client() as client:
        assert client.execute_command(*done.stdout.split()) in (b"OK", True)
        with server.client(username="gnjobs-curator-jsmith", password="open sesame") as curator:
            curator.xadd("gn-uploader:users:jsmith:requests", {"request": "kill"})
        client.acl_deluser("gnjobs-curator-jsmith")
    password.write_text("\r\n")
    empty = run(server.url, "acl", "viewer", "--password-file", str(password))
    assert (empty.returncode, empty.stdout) == (2, "")
    without = run(server.url, "acl", "viewer", "--acl-file")
    assert without.stdout.startswith("user gnjobs-viewer on resetchannels %R~gn-uploader:* ")
    assert "nobody can log in as gnjobs-viewer" in without.stderr
    assert "user default off" in without.stderr
    assert run(server.url, "acl", "curator").returncode == run(server.url, "acl", "king").returncode == 2
