"""Kinds of processes that need more than a shell and Python: R, samtools, BLAS, databases, downloads, containers."""

import sys

from tests.health.corpus.kind import Kind, python, shell
from tests.health.corpus.services import CPU_GROUPS

_READS = (
    'awk \'BEGIN{print "@SQ\\tSN:1\\tLN:9999"; '
    'while(1){%s; print "r\\t0\\t1\\t1\\t60\\t4M\\t*\\t0\\t0\\tACGT\\tIIII"}}\''
)
_ENDLESS = _READS % "n++"
_SLOW = _READS % 'system("sleep .3")'
_MAKE = "d=$(mktemp -d); printf 'all: a b c d\\na b c d:\\n\\t%s\\n' > $d/Makefile; make -s -j3 -C $d"
_VFORK = (
    "d=$(mktemp -d); echo 'int main(){if(vfork()==0){sleep(3600);_exit(0);}}' > $d/v.c; "
    "gcc -w -include unistd.h -o $d/v $d/v.c && exec $d/v"
)
_CHILDREN = [sys.executable, "-m", "tests.health.corpus.children"]

TOOL_KINDS = {
    # At work, if silently.
    "R computes": Kind(["Rscript", "-e", "repeat sum(runif(1e5))"], needs=("Rscript",)),
    "R computes in workers": Kind(
        ["Rscript", "-e", "parallel::mclapply(1:2,function(i) repeat sum(runif(1e5)),mc.cores=2)"],
        needs=("Rscript",),
    ),
    "R reads slowly": Kind(
        [
            "sh",
            "-c",
            "(while :; do echo 1; sleep .5; done) | Rscript -e 'x<-scan(file(\"stdin\"),quiet=TRUE)'",
        ],
        needs=("Rscript",),
    ),
    "samtools converts": shell(f"{_ENDLESS} | samtools view -b - > /dev/null", needs=("samtools",)),
    "samtools reads slowly": shell(f"{_SLOW} | samtools view -b - > /dev/null", needs=("samtools",)),
    "samtools sorts what comes slowly": shell(
        f"cd $(mktemp -d); {_SLOW} | samtools sort -@2 -o x.bam -", needs=("samtools",)
    ),
    "bgzip compresses": shell("bgzip -@2 -c < /dev/zero > /dev/null", needs=("bgzip",)),
    "BLAS": python("import numpy\na=numpy.ones((800,800))\nwhile 1: a@a", needs=("numpy",)),
    "a database is loaded by single inserts": shell(
        "while :; do $CORPUS_SQL -e 'insert into cells values (1)'; sleep .5; done", needs=("CORPUS_SQL",)
    ),
    "a database is loaded from a pipe": shell(
        "(while :; do echo 'insert into cells values (2);'; sleep .5; done) | $CORPUS_SQL",
        needs=("CORPUS_SQL",),
    ),
    "a table is dumped again and again": shell(
        "while :; do $CORPUS_SQL -e 'select count(*) from cells' > /dev/null; sleep .3; done",
        needs=("CORPUS_SQL",),
    ),
    "curl downloads slowly": shell("curl -s $CORPUS_HTTP/drip > /dev/null", needs=("curl",)),
    "wget downloads slowly": shell("wget -q -O /dev/null $CORPUS_HTTP/drip", needs=("wget",)),
    "Python downloads slowly": python(
        "import os,urllib.request as u\nr=u.urlopen(os.environ['CORPUS_HTTP']+'/drip')\nwhile 1: r.read(9)"
    ),
    "ssh hears": shell(
        "$CORPUS_SSH 127.0.0.1 'while echo x; do sleep .5; done' > /dev/null", needs=("CORPUS_SSH",)
    ),
    "rsync copies slowly": shell(
        "d=$(mktemp -d); head -c 90000000 /dev/zero > $d/a; "
        'rsync --bwlimit=40 -e "$CORPUS_SSH" $d/a 127.0.0.1:$d/b',
        needs=("rsync", "CORPUS_SSH"),
    ),
    "make -j computes": shell(_MAKE % "while :; do :; done", needs=("make",)),
    "parallel computes": shell(
        "parallel --will-cite -j2 ::: 'while :; do :; done' 'while :; do :; done'", needs=("parallel",)
    ),
    "parallel whose jobs sleep, which tries the disk every second": shell(
        "parallel --will-cite sleep ::: 3600 3601", needs=("parallel",)
    ),
    "computes in a container": shell(
        "unshare -fp --mount-proc sh -c 'while :; do :; done'", needs=("unshare", "root")
    ),
    "feeds a pipe in bubblewrap": shell(
        "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc sh -c "
        "'(while :; do echo x; sleep .5; done) | cat > /dev/null'",
        needs=("bwrap",),
    ),
    "hears TCP in a network of its own": shell(
        "unshare -n sh -c 'ip link set lo up; (sleep 1; while echo x; do sleep .5; done | socat - TCP:127.0.0.1:5) & "
        "socat -u TCP-LISTEN:5 - > /dev/null'",
        needs=("unshare", "socat", "ip", "root"),
    ),
    "computes when nobody else does": shell("chrt -i 0 sh -c 'while :; do :; done'", needs=("chrt",)),
    "is throttled": shell(
        f"d=$(mktemp -d {CPU_GROUPS}/corpusXXXXXX); echo 2000 > $d/cpu.cfs_quota_us; "
        "echo $$ > $d/tasks; while :; do :; done",
        needs=(str(CPU_GROUPS), "root"),
    ),
    "hears UDP": python(
        "import socket,os,time\na=socket.socket(2,2);a.bind(('127.0.0.1',0))\nif os.fork()==0:\n"
        " while 1: a.sendto(b'x',a.getsockname()); time.sleep(.5)\nwhile 1: a.recv(9)"
    ),
    "children that compute": Kind([*_CHILDREN, "process", "computes", "computes"]),
    "children that say how far they are": Kind([*_CHILDREN, "process", "progresses", "progresses"]),
    "children of a child that compute": Kind([*_CHILDREN, "nested", "computes"]),
    "a thread that sleeps beside one that computes": Kind([*_CHILDREN, "thread", "sleeps", "computes"]),
    # Idle for all of the time.
    "R sleeps": Kind(["Rscript", "-e", "Sys.sleep(3600)"], r"\(R\)", needs=("Rscript",)),
    "R looks again and again": Kind(["Rscript", "-e", "repeat Sys.sleep(.5)"], r"\(R\)", needs=("Rscript",)),
    "node with a timer that does nothing": Kind(
        ["node", "-e", "setInterval(()=>{},500)"], r"\(node\)", needs=("node",)
    ),
    "R waits for who connects": Kind(
        ["Rscript", "-e", "for(p in 20000:60000) try(socketConnection(port=p,server=TRUE,timeout=1e6),TRUE)"],
        r"\(R\)",
        needs=("Rscript",),
    ),
    "R waits for workers that sleep": Kind(
        ["Rscript", "-e", "parallel::mclapply(1:2,function(i) Sys.sleep(3600),mc.cores=2)"],
        r"\(R\)",
        needs=("Rscript",),
    ),
    "samtools whose input sleeps": shell(
        "sleep 3600 | samtools view -b - > /dev/null", r"\(sleep\)", needs=("samtools",)
    ),
    "samtools whose output is not read": shell(
        f"{_ENDLESS} | samtools view -u - | sleep 3600", r"\(sleep\)", needs=("samtools",)
    ),
    "samtools reads a fifo": shell(
        "d=$(mktemp -d); mkfifo $d/f; samtools view $d/f", "other end of a fifo", needs=("samtools",)
    ),
    "BLAS has ended and nothing comes": python(
        "import numpy,os\na=numpy.ones((500,500));a@a\nr,w=os.pipe();os.read(r,1)",
        "data from a pipe",
        needs=("numpy",),
    ),
    "a query that takes for ever": shell(
        "$CORPUS_SQL -e 'select sleep(3600)'",
        r"\(mariadb\) waits for .*a local socket",
        needs=("CORPUS_SQL",),
    ),
    "a table's lock": shell(
        "(echo 'lock tables cells write;'; sleep 3600) | $CORPUS_SQL & sleep 2; "
        "$CORPUS_SQL -e 'insert into cells values (3)'",
        r"\(sleep\)",
        needs=("CORPUS_SQL",),
    ),
    "curl whose server fell silent": shell(
        "curl -s $CORPUS_HTTP/stall > /dev/null", r"\(curl\).*127\.0\.0\.1:\d+", needs=("curl",)
    ),
    "wget whose server never answers": shell(
        "wget -q -T 0 -O /dev/null $CORPUS_HTTP/never", r"\(wget\).*127\.0\.0\.1:\d+", needs=("wget",)
    ),
    "Python whose download fell silent": python(
        "import os,urllib.request as u\nu.urlopen(os.environ['CORPUS_HTTP']+'/stall').read()",
        r"data from 127\.0\.0\.1:\d+",
    ),
    "asyncio whose server fell silent": python(
        "import asyncio,os\np=int(os.environ['CORPUS_HTTP'].rsplit(':',1)[1])\nasync def f():\n"
        " r,w=await asyncio.open_connection('127.0.0.1',p)\n w.write(b'GET /never HTTP/1.0\\r\\n\\r\\n')\n"
        " await r.read()\nasyncio.run(f())",
        r"127\.0\.0\.1:\d+",
    ),
    "UDP that never answers": python(
        "import socket\ns=socket.socket(2,2);s.bind(('127.0.0.1',0));s.recv(9)", "data from a socket"
    ),
    "ssh that hears nothing": shell(
        "$CORPUS_SSH 127.0.0.1 'sleep 3600'", r"\(ssh\).*127\.0\.0\.1:\d+", needs=("CORPUS_SSH",)
    ),
    "a tunnel that nobody uses": shell(
        "$CORPUS_SSH -N 127.0.0.1", r"\(ssh\).*127\.0\.0\.1:\d+", needs=("CORPUS_SSH",)
    ),
    "make -j whose recipes sleep": shell(_MAKE % "sleep 3600", r"\(sleep\)", needs=("make",)),
    "make -j whose recipes read a fifo": shell(
        _MAKE % "mkfifo $@; cat $@", "other end of a fifo", needs=("make",)
    ),
    "sleeps in a container": shell(
        "unshare -fp --mount-proc sh -c 'sleep 3600; true'", r"\(sleep\)", needs=("unshare", "root")
    ),
    "sleeps in bubblewrap": shell(
        "bwrap --unshare-all --ro-bind / / --dev /dev --proc /proc sh -c 'sleep 3600; true'",
        r"\(sleep\)",
        needs=("bwrap",),
    ),
    "a dead peer in a network of its own": shell(
        "unshare -n sh -c 'ip link set lo up; socat -u TCP-LISTEN:5 - & sleep 1; socat -u TCP:127.0.0.1:5 -'",
        r"\(socat\)",
        needs=("unshare", "socat", "ip", "root"),
    ),
    "waits in a driver": python(
        "import fcntl,os\nf=os.open('/dev/tty0',os.O_RDWR|os.O_NOCTTY)\nfcntl.ioctl(f,0x5607,9)",
        "the driver of /dev/tty0",
        needs=("/dev/tty0", "root"),
    ),
    "polls a device": python(
        "import os,select\nf=os.open('/dev/ptmx',os.O_RDWR|os.O_NOCTTY)\np=select.poll();p.register(f,1);p.poll()",
        "/dev/ptmx",
        needs=("/dev/ptmx",),
    ),
    "a terminal that nobody reads": python(
        "import os\nm,s=os.openpty()\nwhile 1: os.write(s,b'x'*999)", "to write to /dev/pts/"
    ),
    "can't be interrupted": shell(_VFORK, r"\(v\)|uninterruptible", needs=("gcc",)),
    "children that sleep": Kind(
        [*_CHILDREN, "process", "sleeps", "sleeps"],
        r"sleeps: pid \d+ \(python\S*\) waits for its own timer.* children, silent and idle",
    ),
    "a child that sleeps beside one that computes": Kind(
        [*_CHILDREN, "process", "computes", "sleeps"],
        r"sleeps: pid \d+ \(python\S*\) waits for its own timer.* children, silent and idle",
    ),
    "a child that sleeps beside one that tells": Kind(
        [*_CHILDREN, "process", "progresses", "sleeps"],
        r"sleeps: pid \d+ \(python\S*\) waits for its own timer.* children, silent and idle",
    ),
    "a child of a child that sleeps": Kind(
        [*_CHILDREN, "nested", "computes", "sleeps"],
        r"sleeps: pid \d+ \(python\S*\) waits for its own timer.* children, silent and idle",
    ),
    # Their supervisor is dead or frozen; what is said of such a job is what is found on its host.
    "its supervisor is dead, and so is it": shell("kill -9 $PPID", "its processes are gone", verdict="dead"),
    "its supervisor is dead": shell("kill -9 $PPID; sleep 3600", "no heartbeat for .*, yet 2 processes run"),
    "its supervisor is dead, and so is its first process": shell(
        "sleep 3600 & kill -9 $PPID", "no heartbeat for .*, yet 1 process runs"
    ),
    "its supervisor is frozen": shell(
        "kill -STOP $PPID; sleep 3600", "no heartbeat for .*, yet 2 processes run"
    ),
}
