"""The library's public names, and what importing it costs."""

import pkgutil
import subprocess
import sys

import gnjobs


def test_the_public_names_are_these() -> None:
    assert sorted(gnjobs.__all__) == [
        "Child",
        "ChildFailure",
        "ChildOutput",
        "ChildResult",
        "CurrentJob",
        "Health",
        "Hole",
        "Job",
        "JobStore",
        "Keys",
        "KillStep",
        "Line",
        "Metric",
        "OutputFile",
        "OutputHandler",
        "OutputReader",
        "OutputWriter",
        "Processor",
        "Report",
        "ReportTable",
        "Source",
        "ThisChild",
        "connect",
        "current_job",
        "kill_job",
        "launch",
        "register",
        "safe_line",
        "safe_text",
    ]
    for name in gnjobs.__all__:
        assert getattr(gnjobs, name) is not None
    assert [name for name in dir(gnjobs) if not name.startswith("__")] == sorted(gnjobs.__all__)


def test_importing_the_library_imports_no_other() -> None:
    script = (
        "import sys, gnjobs\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'redis', 'msgspec', 'psutil', 'textual', 'rich', 'click'}))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
    )


def test_no_public_name_is_a_modules_too() -> None:
    """Whoever imports such a module would find it in place of what is public."""
    modules = {module.name for module in pkgutil.iter_modules(gnjobs.__path__)}
    assert not modules & set(gnjobs.__all__)
