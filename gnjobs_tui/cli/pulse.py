"""`gnjobs pulse`: what is unusual among the jobs of the last 14 days, as on the dashboard's page."""

from itertools import islice, takewhile

import click
import msgspec

from gnjobs_tui.cli.json_output import print_json
from gnjobs_tui.cli.listing import hosts_now
from gnjobs_tui.cli.matching import matching_jobs
from gnjobs_tui.cli.session import Session, on_terminal, print_fields, with_session


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object: findings, days, types, hosts.")
@with_session
def pulse(session: Session, as_json: bool) -> int:
    """Say whether more jobs fail than usual, the queue grows, a type is slower, or a host is in trouble.

    Compares the last 24 h with the days before, of at most 100 000 jobs created in the last 14 days.
    """
    session.only_look()
    from gnjobs.watch.pulse import MOST_JOBS, range_begin, take_pulse
    from gnjobs.watch.rows import row_of

    now = session.store.now()
    begin = range_begin(now)
    newest = takewhile(
        lambda found: (found[1].created or 0.0) >= begin, matching_jobs(session, indexed_only=True)
    )
    rows = [row_of(job, verdict=health.verdict) for _, job, health in islice(newest, MOST_JOBS)]
    measured, hosts = take_pulse(rows, now, is_cut=len(rows) == MOST_JOBS), hosts_now(session)
    findings = measured.findings(hosts)
    if as_json:
        told = [found._asdict() for found in findings]
        print_json({"findings": told, "hosts": msgspec.to_builtins(hosts), **msgspec.to_builtins(measured)})
    elif on_terminal():
        from gnjobs_tui.cli.drawing import draw_pulse

        draw_pulse(measured, findings)
    else:
        for found in findings:
            print_fields(found.about, "trouble" if found.is_trouble else "ok", found.text)
    return 0
