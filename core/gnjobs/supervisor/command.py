"""A job's command while it runs: its main process, and its pipes on their way into the output."""

import os
import subprocess

from gnjobs.outputs.lines import encode_text
from gnjobs.outputs.writer import OutputWriter
from gnjobs.processes.find import process_start
from gnjobs.records import values
from gnjobs.records.fields import Job
from gnjobs.supervisor.command_start import FailedStart, start_command
from gnjobs.supervisor.pipe_pump import PipePump
from gnjobs.supervisor.pipes import StructuredFeed, TextFeed
from gnjobs.supervisor.private_environment import Settings, for_command
from gnjobs.supervisor.reaper import Exit
from gnjobs.supervisor.setup import silence

DRAIN_SECONDS = 1.0


class RunningCommand:
    """The command of one job; whoever reaps its main process says so by `ended`."""

    def __init__(self, output: OutputWriter) -> None:
        self._output = output
        self._structured = StructuredFeed(output)
        self._out: TextFeed | None = None
        self._err: TextFeed | None = None
        self._pump: PipePump | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.exit: Exit | None = None
        self.failure: FailedStart | None = None

    @property
    def pid(self) -> int | None:
        """The main process's pid; None when it did not start."""
        return None if self._process is None else self._process.pid

    @property
    def fields(self) -> dict[str, int]:
        """The fields of the record that identify the main process."""
        if self.pid is None:
            return {}
        started = process_start(self.pid)
        return {"pid": self.pid} | ({} if started is None else {"process-started": started})

    @property
    def faults(self) -> int:
        """How many faults in the data the job's own code reported."""
        return self._structured.faults

    @property
    def last_words(self) -> str:
        """The last line on its standard error that says something."""
        return "" if self._err is None else self._err.last_words.decode("utf-8", "replace").strip()

    def start(self, job: Job, settings: Settings) -> None:
        """Start it; a command that can't be started has `failure` and `exit` at once."""
        words = values.command_words(job.command)
        environment = for_command(os.environ, settings)
        stdin = 0 if settings.is_foreground else subprocess.DEVNULL
        started = start_command(words, job.cwd, environment, stdin)
        if settings.is_foreground:
            silence(0)
        echo_out, echo_err = (1, 2) if settings.echo else (None, None)
        self._err = TextFeed(self._output, "err", echo_err)
        if isinstance(started, FailedStart):
            self.failure = started
            self.exit = Exit(exit_code=started.exit_code)
            self._err.feed(encode_text(started.error) + b"\n")
            return
        self._process = started.process
        self._out = TextFeed(self._output, "out", echo_out)
        self._pump = PipePump(
            {started.out: self._out, started.err: self._err, started.structured: self._structured}
        )
        self._pump.start()

    def ended(self, how: Exit) -> None:
        """Take how the main process ended."""
        self.exit = how
        if self._process is not None:
            self._process.returncode = how.shell_code

    def wait_for_no_reader(self) -> None:
        """Let nobody who reads the command's output along keep it from its end."""
        for feed in (self._out, self._err):
            if feed is not None:
                feed.wait_for_no_reader()

    def drain(self) -> None:
        """Read its pipes until they end, for a second at most."""
        if self._pump is not None:
            self._pump.wait_for_end(DRAIN_SECONDS)

    def finish_pipes(self) -> None:
        """Read what the pipes hold to the last line, also where somebody keeps them open."""
        if self._pump is not None and not self._pump.wait_for_end(DRAIN_SECONDS):
            self._pump.stop()
