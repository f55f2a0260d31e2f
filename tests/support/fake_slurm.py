"""Slurm's commands as scripts in a directory, for what needs no cluster: each job is a directory of files there."""

import stat
from pathlib import Path

from gnjobs.processes.host import own_account

# Puts what `squeue` is asked to write behind each column in place of each §.
SEPARATED = 'mark=${SQUEUE_FORMAT2#*24}; sed "s/§/${mark%%,*}/g"'
_SCRIPTS = {
    "sbatch": """mkdir 17; echo RUNNING >17/state; cp account 17/account; for word; do case $word in
        --job-name=*) echo "${word#*=}" >17/name;; --comment=*) echo "${word#*=}" >17/comment;;
        esac; done; echo 17""",
    "squeue": f"""echo "$*" >>asked
        for word; do case $word in --jobs=*) jobs=,${{word#*=}},;; --name=*) names=,${{word#*=}},; esac; done
        case $jobs in *,[3-9]?????????,*) echo >&2 "squeue: error: Invalid job id: 3000000000"; exit 1; esac
        for job in [0-9]*; do
            [ -d "$job" ] || continue
            for each in name state comment account; do read -r $each <$job/$each; done
            case $jobs in ""|*,$job,*) ;; *) continue; esac
            case $names in ""|*,$name,*) ;; *) continue; esac
            echo "$job§$state§Resources§n1§1:00§1G§1§0§N/A§0§$name§$comment§$account§$job§"
        done | {{ {SEPARATED}; }}""",
    "scontrol": "cat config",
    "scancel": """if [ -e $1/not-yours ]; then
            echo >&2 "scancel: error: Kill job error on job id $1: Access/permission denied"; exit 1
        fi; echo CANCELLED >$1/state""",
}


class FakeSlurm:
    """A Slurm of one node; `path` is what finds its commands. Numbers of ten digits are refused, as Slurm does."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.path = f"{place}:/usr/bin:/bin"
        (place / "account").write_text(f"{own_account()}\n")
        self.configure("none")
        for name, script in _SCRIPTS.items():
            (place / name).write_text(f"#!/bin/sh\ncd {place}\n{script}\n")
            (place / name).chmod(stat.S_IRWXU)

    def configure(self, private: str) -> None:
        """Say what it shows each account of its own alone."""
        (self._place / "config").write_text(f"PluginDir = /usr/lib\nPrivateData             = {private}\n")

    def write(self, number: str, **files: str) -> None:
        """Add a job, or change what Slurm has of it: `state`, `name`, `comment`, `account`."""
        (self._place / number).mkdir(exist_ok=True)
        for name, text in files.items():
            (self._place / number / name).write_text(f"{text}\n")

    def read(self, number: str, name: str) -> str:
        """What Slurm has of a job."""
        return (self._place / number / name).read_text().strip()

    def questions(self) -> list[str]:
        """What `squeue` was asked since the last call."""
        asked = self._place / "asked"
        said = asked.read_text().splitlines() if asked.exists() else []
        asked.unlink(missing_ok=True)
        return [line.replace("--noheader --all --states=all ", "") for line in said]
