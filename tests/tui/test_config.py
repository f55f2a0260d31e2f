"""Configuration and roles."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gnjobs.errors import ConfigError, NotAllowed
from gnjobs.processes.host import own_account
from gnjobs.records.accounts import as_account
from gnjobs.records.actor import Actor, actor_from, login_name
from gnjobs.records.fields import Job
from gnjobs.records.layouts import GN2, UPLOADER
from gnjobs_tui.config import Config, load_config, read_settings
from gnjobs_tui.trust import with_urls
from tests.support.os_accounts import needs_accounts


class Files(NamedTuple):
    """The system's file and the user's own."""

    system: Path
    own: Path

    def load(self, path: Path | None = None) -> Config:
        """Read both, or `path` in place of the user's own."""
        return load_config(path, system_file=self.system)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """Neither is there yet."""
    files = Files(tmp_path / "system.toml", tmp_path / "gnjobs" / "config.toml")
    files.own.parent.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return files


def test_without_any_file_whoever_holds_the_url_is_admin(files: Files) -> None:
    assert actor_from(files.load(), "jane").role == "admin"


def test_it_is_known_whether_anybody_has_named_the_server(files: Files) -> None:
    assert files.load().unset == "; GNJOBS_REDIS_URL is not set"
    assert files.load().overridden(url="redis://127.0.0.1:6379/0").unset == ""
    files.own.write_text('url = "redis://127.0.0.1:6379/0"')
    assert files.load().overridden(prefixes=("gn2",)).unset == ""


def test_a_login_named_in_users_is_a_curator_of_her_own_jobs(files: Files) -> None:
    files.system.write_text('[users]\njane = { ids = ["jsmith"], name = "Jane Smith" }\nalan = "agunn"\n')
    config = files.load()
    actor = actor_from(config, "jane")
    assert (actor.role, actor.user_ids, actor.only_user) == ("curator", ("jsmith",), "jsmith")
    assert config.name_of("jsmith") == "Jane Smith"
    assert config.name_of("agunn") == "agunn"


def test_the_system_wins_and_the_own_file_can_only_lower_the_role(files: Files) -> None:
    files.system.write_text('url = "redis://db1/0"\nrole = "viewer"\n')
    files.own.write_text(
        'url = "redis://mine/0"\nrole = "admin"\ntheme = "light"\n[roles]\nadmin = ["jane"]\n'
    )
    config = files.load()
    assert (config.url, config.theme, config.role_of("jane")) == ("redis://db1/0", "light", "viewer")
    files.system.write_text('role = "admin"\n')
    files.own.write_text('role = "viewer"\n')
    assert files.load().role_of("jane") == "viewer"


def test_url_file_prefixes_and_limits(files: Files, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:secret@db1/0\n")
    (tmp_path / "url").chmod(0o640)
    lengths = '[stuck-after]\ninsert = "1h"\n[expires-after]\ngnqc = "1d"\n'
    files.system.write_text('url-file = "url"\nprefix = ["gn-uploader", "gnqc"]\n' + lengths)
    config = files.load()
    assert config.url == "redis://:secret@db1/0"
    assert config.prefixes == ("gn-uploader", "gnqc")
    assert config.limits.stuck_by_type == {"insert": 3600}
    assert config.layouts["gnqc"].expires_after == 86400
    assert config.overridden(prefixes=("other",)).prefixes == ("other",)


def test_patterns_that_fit_another_prefixes_workers_are_not_taken_over(files: Files) -> None:
    own = '[layouts.b]\nlike = "gn2"\nworkers = ["b.worker * <id>"]\n[layouts.gn2]\nwords = { parked = "pending" }\n'
    files.system.write_text('[layouts.a]\nlike = "gn2"\n[layouts.c]\nlike = "gn-uploader"\n' + own)
    workers = {prefix: layout.workers for prefix, layout in files.load().layouts.items()}
    assert workers == {
        "a": (),
        "b": ("b.worker * <id>",),
        "c": UPLOADER.workers,
        "gn2": GN2.workers,
    }


@pytest.mark.parametrize(
    "text",
    ["url = 5", "role = 'king'", "nonsense = 1", "not toml", "users = 1", "prefix = ['a*']", "url-file = 'none'",
     "[stuck-after]\nqc = 'soon'", "[stuck-after]\nqc = 0", "[stuck-after]\nqc = true", "[users]\njane = ['a:b']",
     "[users]\njane = {id = 'x'}", "prefix = []", "url = 'a'\nurl-file = 'b'",
     "[roles]\nking = ['jane']", "theme = ['dark']", "\u202e", "[layouts.mine]\nkey = 'mine:<id>'",
     "[layouts.mine]\nkey = 'm* <id>'"],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(files: Files, text: str) -> None:
    files.system.write_text(text)
    with pytest.raises(ConfigError) as said:
        files.load()
    assert "\n" not in str(said.value)
    assert str(said.value).startswith(str(files.system))


@needs_accounts
@pytest.mark.parametrize(
    "whose",
    [
        "root's",
        "the link",
        "its directory",
        "a link on the way",
        "its directory on the way",
        "the file",
        "the file's directory",
    ],
)
def test_what_root_is_to_run_counts_only_where_nobody_else_can_have_written_it(
    files: Files, tmp_path: Path, whose: str
) -> None:
    target = tmp_path / "elsewhere" / "config.toml"
    target.parent.mkdir()
    target.write_text(
        'on-end = ["true"]\n[agent-starts.www-data]\n'
        "url = 'redis://writer/0'\ndirectories = ['/srv']\ncommands = ['qc']\n"
    )
    target.chmod(0o600)
    way = tmp_path / "application"
    way.mkdir()
    (way / "current").symlink_to("../elsewhere")
    files.system.symlink_to(way / "current" / "config.toml")
    others = {
        "the link": files.system,
        "its directory": tmp_path,
        "a link on the way": way / "current",
        "its directory on the way": way,
        "the file": target,
        "the file's directory": target.parent,
    }
    if whose in others:
        os.chown(others[whose], 65534, 65534, follow_symlinks=False)
    config = files.load()
    is_roots = whose == "root's"
    assert (bool(config.agent_starts), bool(config.on_end)) == (is_roots, is_roots)


def test_what_an_agent_starts_never_gets_the_agents_own_url(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_permission(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    entry = "[agent-starts.www-data]\ndirectories = ['/srv']\ncommands = ['qc']\n"
    files.system.write_text(f"url = 'redis://agent/0'\n{entry}")
    with pytest.raises(ConfigError, match=r"\[agent-starts\.www-data\] must have url or url-file"):
        files.load()
    (tmp_path / "writer").write_text("redis://writer/0\n")
    for given in ("url = 'redis://writer/0'", f"url-file = '{tmp_path}/writer'"):
        files.system.write_text(f"url = 'redis://agent/0'\n{entry}{given}\n")
        assert with_urls(read_settings(files.system).agent_starts)["www-data"].url == "redis://writer/0"
    monkeypatch.setattr(os, "open", no_permission)
    starts = with_urls(read_settings(files.system).agent_starts)["www-data"]
    assert (starts.url, starts.problem) == (
        None,
        f"url-file {tmp_path}/writer can't be read: Permission denied",
    )


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every account may enter."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        yield Path(made)


@needs_accounts
@pytest.mark.parametrize(
    "what",
    [
        "root's",
        "its own",
        "its own where it may not go",
        "in its directory",
        "another's",
        "a link",
        "a pipe",
        "a device",
        "nothing",
    ],
)
def test_what_an_account_can_put_in_its_place_is_no_url_for_its_jobs(
    files: Files, open_directory: Path, tmp_path: Path, what: str
) -> None:
    """Its jobs show what they are given, and root would wait for what never comes."""
    of_roots, home = tmp_path / "of-root", open_directory / "home"
    of_roots.write_text("redis://writer/0\n")
    home.mkdir()
    url = home / "url"
    match what:
        case "its own where it may not go":
            vault = tmp_path / "vault"
            vault.mkdir(0o700)
            (vault / "key").write_text("redis://writer/0\n")
            os.chown(vault / "key", 65534, -1)
            url.symlink_to(vault / "key")
        case "root's":
            url = of_roots
        case "its own" | "in its directory" | "another's":
            url.write_text("redis://writer/0\n")
            os.chown(url, {"its own": 65534, "another's": 1}.get(what, 0), -1)
        case "a link":
            url.symlink_to(of_roots)
        case "a device":
            url.symlink_to("/dev/null")
        case "a pipe":
            os.mkfifo(url)
    os.chown(home, 65534, -1)
    entry = "[agent-starts.nobody]\ndirectories = ['/srv']\ncommands = ['qc']\n"
    files.system.write_text(f"{entry}url-file = '{url}'\n")
    starts = with_urls(read_settings(files.system).agent_starts)["nobody"]
    is_read = what in ("root's", "its own")
    assert (starts.url, bool(starts.problem)) == ("redis://writer/0" if is_read else None, not is_read)


@needs_accounts
@pytest.mark.parametrize(
    ("script", "url"),
    [
        (
            'test "$(pwd)" = / && test "$(cut -d" " -f6 /proc/$$/stat)" = $$ && echo redis://writer/0',
            "redis://writer/0",
        ),
        ("sleep 30 & echo redis://writer/0", "redis://writer/0"),
        ("exec sleep 30", None),
        ("exec yes", None),
    ],
    ids=["in a session of its own", "keeps what it says open", "is slow", "says too much"],
)
def test_what_an_account_has_its_program_do_gets_nothing_of_roots_and_keeps_nobody(
    files: Files, open_directory: Path, monkeypatch: pytest.MonkeyPatch, script: str, url: str | None
) -> None:
    """It may trace what reads its url-file for it."""
    (given := open_directory / "url").touch()
    os.chown(given, 65534, -1)
    entry = "[agent-starts.nobody]\ndirectories = ['/srv']\ncommands = ['qc']\n"
    files.system.write_text(f"{entry}url-file = '{given}'\n")
    begin = as_account("nobody")
    instead = begin._replace(words=(*begin.words, "sh", "-c", script))
    monkeypatch.setattr("gnjobs.records.accounts.as_account", lambda _: instead)
    began = time.monotonic()
    starts = read_settings(files.system).agent_starts
    # For an agent alone it is run at all.
    assert (starts["nobody"].url, starts["nobody"].problem) == (None, "")
    read = with_urls(starts)["nobody"]
    assert (read.url, bool(read.problem)) == (url, url is None)
    assert time.monotonic() - began < 10


LEASES = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
time.sleep(600)
"""


def test_an_account_keeps_nobody_waiting_by_a_lease_on_its_url_file(files: Files, tmp_path: Path) -> None:
    (url := tmp_path / "url").write_text("redis://writer/0\n")
    entry = f"[agent-starts.{own_account()}]\ndirectories = ['/srv']\ncommands = ['qc']\n"
    files.system.write_text(f"{entry}url-file = '{url}'\n")
    with subprocess.Popen([sys.executable, "-c", LEASES, str(url)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        starts = with_urls(read_settings(files.system).agent_starts)[own_account()]
        process.kill()
    assert (starts.url, starts.problem) == (
        None,
        f"url-file {url} can't be read: {os.strerror(errno.EAGAIN)}",
    )
    assert time.monotonic() - began < 10  # the kernel takes a lease away after 45 s


def test_the_check_stands_in_front_of_the_action() -> None:
    hers, others = Job(id="a", user="jsmith"), Job(id="b", user="agunn")
    curator = Actor("jane", "curator", ("jsmith",))
    assert curator.may("kill", hers)
    assert not curator.may("see", others)
    assert Actor("guest", "viewer").may("see", others)
    for actor in (Actor("guest", "viewer"), Actor("tux", "admin", read_only=True), curator):
        with pytest.raises(NotAllowed):
            actor.check("kill", others)
    Actor.admin("tux").check("kill", others)


def test_a_login_is_the_process_owner_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    me = login_name()
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("SUDO_USER", "somebody")
    assert login_name() == me
    assert Config().role_of(me) == "admin"


def test_a_file_given_stands_in_for_the_own_one_and_evades_no_system(files: Files, tmp_path: Path) -> None:
    given = tmp_path / "given.toml"
    given.write_text('theme = "light"\nrole = "viewer"\n[roles]\nadmin = ["jane"]\n')
    files.own.write_text("not toml, and not read")
    assert files.load(given).theme == "light"
    files.system.write_text("[users]\njane = 'jsmith'\n")
    assert files.load(given).role_of("jane") == "viewer"
    given.write_text('role = "admin"\n')
    assert files.load(given).role_of("jane") == "curator"
    with pytest.raises(ConfigError, match=r"none\.toml: can't be read"):
        files.load(tmp_path / "none.toml")


def test_the_systems_url_wins_over_a_url_file_of_ones_own(files: Files, tmp_path: Path) -> None:
    (files.own.parent / "url").write_text("redis://mine/0")
    files.own.write_text('url-file = "url"\n[stuck-after]\nqc = "1h"\ninsert = 60\n')
    assert files.load().url == "redis://mine/0"
    files.system.write_text('url = "redis://db1/0"\n[stuck-after]\nqc = "2h"\n')
    config = files.load()
    assert config.url == "redis://db1/0"
    assert config.stuck_after == {"qc": 7200, "insert": 60}


def test_ones_own_role_lowers_whatever_else_is_said(files: Files) -> None:
    files.own.write_text('role = "viewer"\n[users]\njane = "jsmith"\n')
    assert files.load().role_of("jane") == "viewer"


def test_the_place_of_a_mistake_is_told(files: Files) -> None:
    files.own.write_text('theme = "light"\nrole = \n')
    with pytest.raises(ConfigError) as said:
        files.load()
    assert str(said.value).startswith(f"{files.own}:2: ")
    files.system.write_text("prefix = []")
    files.own.write_text("")
    with pytest.raises(ConfigError, match=r"system\.toml: prefix"):
        files.load()


def test_a_curator_with_several_ids_or_none(files: Files) -> None:
    files.system.write_text('[users]\njane = ["jsmith", "jsmith2"]\n')
    actor = actor_from(files.load(), "jane")
    assert (actor.own_users, actor.only_user) == (("jsmith", "jsmith2"), None)
    assert actor.may("kill", Job(id="a", user="jsmith2"))
    files.system.write_text('[roles]\ncurator = ["jane"]\n')
    actor = actor_from(files.load(), "jane")
    assert actor.own_users == ()
    assert not actor.may("see", Job(id="a"))
    assert Actor.admin("tux").own_users is None


def test_whoever_runs_it_by_sudo_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "jane")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert login_name() == "root"
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert login_name() == "uid-4000000"


def test_with_a_system_file_whom_it_does_not_name_is_a_viewer(files: Files) -> None:
    files.system.write_text('[roles]\nadmin = ["tux"]\n')
    assert (files.load().role_of("jane"), files.load().role_of("tux")) == ("viewer", "admin")
    files.system.write_text("")
    assert files.load().role_of("jane") == "viewer"


def test_the_agent_is_for_admins_and_a_curator_runs_jobs_of_her_own() -> None:
    curator = Actor("jane", "curator", ("jsmith", "js2"))
    with pytest.raises(NotAllowed, match="is for admins"):
        curator.check("serve")
    Actor.admin("tux").check("serve")
    assert curator.owner("js2") == "js2"
    assert Actor("jane", "curator", ("jsmith",)).owner(None) == "jsmith"
    assert Actor.admin("tux").owner("agunn") == "agunn"
    for user in ("agunn", None):
        with pytest.raises(NotAllowed, match="her user ids are jsmith, js2"):
            curator.owner(user)


@pytest.mark.skipif(
    subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode != 0,
    reason="no user namespace may be made here",
)
@pytest.mark.parametrize("option", ["--map-root-user", "--map-user=1"])
def test_in_a_user_namespace_nobody_has_a_name(option: str) -> None:
    code = "from gnjobs.records.actor import login_name; print(login_name())"
    done = subprocess.run(
        ["unshare", "-U", option, sys.executable, "-c", code],
        env={"SUDO_USER": "tux"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith("-in-a-user-namespace"), done.stderr


def test_a_password_that_everybody_can_read_is_refused(files: Files, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://:secret@db1/0")
    secret.chmod(0o644)
    files.system.write_text('url-file = "url"\n')
    files.system.chmod(0o644)
    with pytest.raises(ConfigError, match="holds a password and everybody can read it: chmod o-r"):
        files.load()
    files.system.write_text('url = "redis://db1/0?password=secret"\n')
    with pytest.raises(ConfigError, match=r"system\.toml holds a password"):
        files.load()
    files.system.chmod(0o600)
    assert files.load().url == "redis://db1/0?password=secret"
