"""Users of a server by role, with the very rules that `gnjobs acl` prints, and what they were refused."""

from gnjobs.records.acl import AclRole, acl_rules
from gnjobs.records.keys import Keys
from tests.support.servers import Server

PASSWORD = "secret"


class Guarded:
    """A server on which everybody is somebody; `as_role` makes the user and returns its URL."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.admin = server.client()

    def as_role(self, role: AclRole, *user_ids: str) -> str:
        """The URL of a user with the rules of a role and nothing else."""
        rules = acl_rules(role, [Keys()], user_ids)
        self.admin.execute_command(*f"ACL SETUSER {role} reset on >{PASSWORD} {rules}".split())
        return self.server.url.replace("//", f"//{role}:{PASSWORD}@")

    def refused(self) -> set[tuple[str, str, str]]:
        """Who was refused what since the last look: user, reason (command, key, channel) and the thing itself."""
        log = self.admin.acl_log()
        self.admin.acl_log_reset()
        return {(entry["username"], entry["reason"], entry["object"]) for entry in log}

    def used(self) -> set[str]:
        """The commands that were called since the last look, scripts' calls included."""
        stats = self.admin.info("commandstats")
        self.admin.config_resetstat()
        return {name.removeprefix("cmdstat_") for name in stats}
