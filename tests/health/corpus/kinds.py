"""Kinds of processes that jobs are made of, and what is true of each: at work, or idle and named so."""

from tests.health.corpus.kind import python, shell
from tests.health.corpus.tools import TOOL_KINDS

_PAIR = "import socket,os,time\na,b=socket.socketpair()\n"
_TCP = (
    "import socket,os,time\nl=socket.create_server(('127.0.0.1',0))\n"
    "c=socket.create_connection(l.getsockname())\ns,_=l.accept()\n"
)
_POOL = (
    "import multiprocessing as m,time\ndef f(x):\n {}\n"
    "if __name__=='__main__':\n with m.Pool(2) as p: p.map(f,[1,2])"
)

_ASKS = (
    "import os,socket,time\na=('127.0.0.1',int(os.environ['CORPUS_HTTP'].rsplit(':',1)[1]))\nwhile 1:\n"
    " with socket.create_connection(a) as s:\n  s.send(b'GET / HTTP/1.0\\r\\n\\r\\n')\n  while s.recv(99): pass\n"
    " time.sleep(.5)"
)
_UNANSWERED = (
    "import socket\nl=socket.create_server(('127.0.0.1',0),backlog=0)\nk=[socket.socket() for _ in range(9)]\n"
    "for s in k: s.setblocking(False);s.connect_ex(l.getsockname())\n"
    "while 1:\n try: socket.create_connection(l.getsockname(),timeout={})\n except OSError: pass"
)

KINDS = {
    # At work, if silently.
    "computes": python("while True: sum(range(1000))"),
    "computes in a grandchild": shell("sh -c 'while :; do :; done'; true"),
    "computes in short-lived children": shell(
        "while :; do awk 'BEGIN{for(i=0;i<99999;i++);}'; sleep .2; done"
    ),
    "computes at the lowest priority": shell("nice -n 19 sh -c 'while :; do :; done'; true"),
    "computes in a thread": python(
        "import threading\ndef f():\n while 1: pass\nthreading.Thread(target=f).start()"
    ),
    "reads slowly": python("import time\nf=open('/dev/zero','rb')\nwhile 1: f.read(9000); time.sleep(.5)"),
    "writes slowly": python(
        "import time\nf=open('/dev/null','wb',0)\nwhile 1: f.write(b'x'); time.sleep(.5)"
    ),
    "feeds a pipe": shell("(while :; do echo x; sleep .5; done) | cat > /dev/null"),
    "sorts what comes slowly": shell("(while :; do echo x; sleep .5; done) | sort > /dev/null"),
    "looks for a file": shell("until [ -e /no/such ]; do sleep .5; done"),
    "hears a local socket": python(
        _PAIR
        + "if os.fork()==0:\n a.close()\n while 1: b.send(b'x'); time.sleep(.5)\nb.close()\nwhile 1: a.recv(9)"
    ),
    "hears TCP": python(
        _TCP + "if os.fork()==0:\n while 1: c.send(b'x'); time.sleep(.5)\nwhile 1: s.recv(9)"
    ),
    "polls TCP that answers": python(
        _TCP + "if os.fork()==0:\n while 1: c.send(b'x'); time.sleep(.5)\ns.settimeout(2)\nwhile 1: s.recv(9)"
    ),
    "asks by HTTP again and again": python(
        "import os,time,urllib.request as u\nwhile 1: u.urlopen(os.environ['CORPUS_HTTP']).read(); time.sleep(.5)"
    ),
    "asks by HTTP with a time limit": python(
        "import os,time,urllib.request as u\n"
        "while 1: u.urlopen(os.environ['CORPUS_HTTP'],timeout=9).read(); time.sleep(.5)"
    ),
    "asks by a bare connection": python(_ASKS),
    "asks by a bare connection beside a deadlock": python(
        "import threading\nl=threading.Lock();l.acquire();threading.Thread(target=l.acquire).start()\n"
        + _ASKS
    ),
    "sends a file": python(
        "import os,time\nf=open('/bin/sh','rb');g=open('/dev/null','wb')\n"
        "while 1: os.sendfile(g.fileno(),f.fileno(),0,99); time.sleep(.5)"
    ),
    "maps a file": python(
        "import mmap,time\nm=mmap.mmap(-1,1<<28)\nfor n in range(0,1<<28,4096): m[n]=1; time.sleep(.2)"
    ),
    "makes files": shell(
        "cd $(mktemp -d); while :; do dd if=/dev/zero of=x bs=4k count=1 2>&- ; sleep .5; done"
    ),
    "is a pool at work": python(_POOL.format("while 1: sum(range(999))")),
    "shares a semaphore": python(
        "import multiprocessing as m,time\ns=m.Semaphore(0)\nif m.get_context('fork').Process(target=lambda: "
        "[(time.sleep(.5),s.release()) for _ in range(9999)]).start() is None:\n while 1: s.acquire()"
    ),
    "xargs": shell("yes | xargs -P2 -n1 sh -c 'sleep .3'"),
    "shows a bar": python("import time\nwhile 1: print('.',end='',flush=True); time.sleep(1)"),
    "prints": shell("while :; do echo line; sleep 1; done"),
    # Idle for all of the time.
    "sleeps": shell("exec sleep 1000", r"pid \d+ \(sleep\) waits for its own timer, asleep"),
    "waits for one that sleeps": shell(
        "sleep 1000; true", r"pid \d+ \(sleep\) waits for its own timer, asleep"
    ),
    "waits for a grandchild": shell(
        "sh -c 'sleep 1000; true'; true", r"pid \d+ \(sleep\) waits for its own timer, asleep"
    ),
    "waits in the shell": shell("sleep 1000 & wait", r"\(sleep\)"),
    "a timer that does nothing": python("import time\nwhile 1: time.sleep(.5)", "its own timer"),
    "a timer that does nothing, a hundred times a second": python(
        "import time\nwhile 1: time.sleep(.01)", "its own timer"
    ),
    "an event loop that does nothing": python(
        "import asyncio\nasync def f():\n while 1: await asyncio.sleep(.5)\nasyncio.run(f())", "asleep"
    ),
    "a deadlock": python(
        "import threading\nl=threading.Lock();l.acquire();l.acquire()", "lock of its own threads"
    ),
    "a deadlock beside a timer": python(
        "import threading,time\nl=threading.Lock();l.acquire()\nthreading.Thread(target=l.acquire).start()\n"
        "while 1: time.sleep(1)",
        "asleep",
    ),
    "an event that never comes": python(
        "import threading\nthreading.Event().wait()", "lock of its own threads"
    ),
    "a thread that is never joined": python(
        "import threading,time\nt=threading.Thread(target=time.sleep,args=(999,));t.start();t.join()",
        "asleep",
    ),
    "a queue that stays empty": python("import queue\nqueue.Queue().get()", "lock of its own threads"),
    "a queue with a time limit": python(
        "import queue\nq=queue.Queue()\nwhile 1:\n try: q.get(timeout=.5)\n except queue.Empty: pass",
        "asleep",
    ),
    "an event with a time limit": python(
        "import threading\ne=threading.Event()\nwhile not e.wait(.1): pass", "lock of its own threads"
    ),
    "threads that poll beside a deadlock": python(
        "import threading,time\nl=threading.Lock();l.acquire()\ndef f():\n while 1: time.sleep(.1)\n"
        "for _ in range(3): threading.Thread(target=f).start()\nl.acquire()",
        "asleep",
    ),
    "a lock that is tried again and again": python(
        "import fcntl,tempfile,time\nn=tempfile.mktemp();f=open(n,'w');g=open(n);fcntl.flock(f,2)\n"
        "while 1:\n try: fcntl.flock(g,6)\n except OSError: time.sleep(.5)",
        "asleep",
    ),
    "a lock with a time limit": shell(
        "d=$(mktemp -d); flock $d/l sleep 1000 & sleep 1; flock -w 3000 $d/l true", "held by pid"
    ),
    "a child that is awaited with a time limit": python(
        "import subprocess\np=subprocess.Popen(['sleep','1000'])\nwhile 1:\n try: p.wait(1)\n"
        " except subprocess.TimeoutExpired: pass",
        r"\(sleep\) waits for its own timer",
    ),
    "a pool whose workers have died": python(
        "import multiprocessing as m,os,pathlib,tempfile\np=pathlib.Path(tempfile.mkdtemp())\n"
        "def f(x):\n if not (p/x).exists(): (p/x).touch();os._exit(1)\n"
        "if __name__=='__main__':\n with m.Pool(2) as q: q.map(f,['a','b'])",
        "asleep",
    ),
    "a connection that is refused again and again": python(
        "import socket,time\nwhile 1:\n try: socket.create_connection(('127.0.0.1',1))\n"
        " except OSError: time.sleep(.5)",
        "its own timer",
    ),
    "a connection by HTTP that is refused again and again": python(
        "import time,urllib.request as u\nwhile 1:\n try: u.urlopen('http://127.0.0.1:1')\n"
        " except OSError: time.sleep(.5)",
        "its own timer",
    ),
    "a connection that is never answered": python(_UNANSWERED.format("None"), r"127\.0\.0\.1:\d+"),
    "a connection that is tried again and never answered": python(
        _UNANSWERED.format("1.5"), r"127\.0\.0\.1:\d+"
    ),
    "an empty pipe": python("import os\nr,w=os.pipe();os.read(r,1)", "data from a pipe"),
    "a full pipe": python("import os\nr,w=os.pipe()\nwhile 1: os.write(w,b'x'*65536)", "to write to a pipe"),
    "a pipe whose reader sleeps": shell("yes | sleep 1000", r"\(sleep\)"),
    "a pipe whose writer sleeps": shell("sleep 1000 | cat", r"\(sleep\)"),
    "a fifo": shell("d=$(mktemp -d); mkfifo $d/f; cat $d/f", "other end of a fifo"),
    "a dead peer": python(_TCP + "s.recv(9)", r"data from 127\.0\.0\.1:\d+"),
    "a dead peer and a time limit": python(
        _TCP + "s.settimeout(.5)\nwhile 1:\n try: s.recv(9)\n except TimeoutError: pass", r"127\.0\.0\.1:\d+"
    ),
    "a peer that does not read": python(_TCP + "while 1: s.send(b'x'*65536)", r"write to 127\.0\.0\.1:\d+"),
    "a silent local peer": python(_PAIR + "a.recv(9)", "data from a local socket"),
    "nobody connects": python(
        "import socket\nsocket.create_server(('127.0.0.1',0)).accept()", "somebody to connect"
    ),
    "an HTTP server that never answers": python(
        "import socket,urllib.request\nl=socket.create_server(('127.0.0.1',0))\n"
        "urllib.request.urlopen('http://127.0.0.1:%d'%l.getsockname()[1])",
        r"data from 127\.0\.0\.1:\d+",
    ),
    "select": python("import select,os\nr,w=os.pipe();select.select([r],[],[])", "waits for a pipe"),
    "poll": python(
        "import select,os\nr,w=os.pipe();p=select.poll();p.register(r,1);p.poll()", "waits for a pipe"
    ),
    "epoll": python(
        "import select,os\nr,w=os.pipe();p=select.epoll();p.register(r,1);p.poll()", "waits for a pipe"
    ),
    "flock": shell("d=$(mktemp -d); flock $d/l sleep 1000 & sleep 1; flock $d/l true", "held by pid"),
    "fcntl lock": python(
        "import fcntl,os,tempfile,time\nn=tempfile.mktemp();f=open(n,'w');fcntl.lockf(f,2)\n"
        "if os.fork()==0: fcntl.lockf(open(n,'w'),2)\ntime.sleep(1000)",
        "held by pid",
    ),
    "a pool that sleeps": python(_POOL.format("time.sleep(1000)"), "asleep"),
    "a pool whose pipe is empty": python(_POOL.format("import os;r,w=os.pipe();os.read(r,1)"), "asleep"),
    "a process of another session": shell("setsid sleep 1000 & wait", r"\(sleep\)"),
    "without a mark": shell("env -i sleep 1000; true", r"\(sleep\)"),
    "stops itself": shell("kill -STOP $$; true", "stopped"),
    "waits for a signal": python("import signal\nsignal.pause()", "waits for a signal"),
    "xargs that sleeps": shell("echo 1000 | xargs sleep", r"\(sleep\)"),
    "keeps a zombie": python("import os,time\nif os.fork()==0: os._exit(0)\ntime.sleep(1000)", "asleep"),
    "a semaphore between processes": python(
        "import multiprocessing as m\nm.Semaphore(0).acquire()", "lock shared with other processes"
    ),
    "a pager at its end": shell("tail -f /dev/null", r"\(tail\)"),
    "a coprocess": python(
        "import subprocess\np=subprocess.Popen(['cat'],stdin=-1,stdout=-1);p.stdout.read(1)",
        r"\(python\S*\) waits for data from a pipe to pid .*\(cat\) waits for data from a pipe to pid",
    ),
} | TOOL_KINDS
SHORT = (
    "computes at the lowest priority", "reads slowly", "hears a local socket", "polls TCP that answers",
    "shows a bar", "hears UDP", "asks by HTTP again and again", "asks by HTTP with a time limit",
    "waits for a grandchild", "a timer that does nothing", "a deadlock", "a dead peer", "an empty pipe",
    "a connection that is tried again and never answered",
    "a child that sleeps beside one that tells", "its supervisor is dead, and so is it",
)  # fmt: skip
