"""`python -m bench`: measures a stack on this machine and prints tables of medians."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
from pathlib import Path

from rich.console import Console

from bench.cost import compare_cost
from bench.figures import Report, show
from bench.proxy import executable_of
from bench.runs import FAILURES, MEASUREMENTS, Plan
from bench.stack import Bench, running

#: Cores that other processes may use before the figures are not to be trusted.
_BUSY_CORES = 0.15


def main() -> int:
    """Run the measurements and print them; return 1 if one failed to run, 130 on Ctrl-C."""
    options = _parse()
    # Unhandled, SIGTERM would end this process and leave the stack running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    litellm = executable_of(options.litellm) if options.litellm else None
    plan = Plan.quick(litellm) if options.quick else Plan(litellm=litellm)
    report, console = Report(), Console()
    processes = {"workers": options.workers, "api_processes": options.api_processes}
    try:
        if options.cost:
            compare_cost(report, plan, before=options.before, **processes)
        else:
            with running(**processes) as bench:
                _measure(options.names, bench, plan, report)
    except FAILURES as error:
        report.failed.append(f"the stack failed: {error}")
    except KeyboardInterrupt:
        return 130
    report.notes.append(
        f"{options.workers} worker and {options.api_processes} API processes; "
        + ("one short run, not a result." if options.quick else f"medians of {plan.runs} runs.")
    )
    _note_other_processes(report)
    show(report, console)
    for problem in report.failed:
        print(f"bench: {problem}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    return 1 if report.failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="one short run instead of three")
    parser.add_argument(
        "--cost", action="store_true", help="only a job's processor time, beside that of --before"
    )
    parser.add_argument("--before", default="HEAD^", metavar="REVISION", help="the other side")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--api-processes", type=int, default=1, help="processes that serve HTTP")
    parser.add_argument(
        *("--litellm", "--litellm-python"),
        type=Path,
        help="a litellm executable to compare with, or the python it is installed for",
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    unknown = set(options.names) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    return options


def _measure(names: list[str], bench: Bench, plan: Plan, report: Report) -> None:
    """Run the measurements; one that fails does not keep the others from running."""
    for name in names or MEASUREMENTS:
        try:
            MEASUREMENTS[name](bench, plan, report)
        except FAILURES as error:
            report.failed.append(f"{name} failed to run: {error!r}")


def _note_other_processes(report: Report) -> None:
    if not report.others_cpu:
        return
    most = max(report.others_cpu)
    typical = statistics.median(report.others_cpu)
    note = f"Other processes used {typical:.2f} cores meanwhile (median; most {most:.2f})."
    if most > _BUSY_CORES:
        note += " That is too much: measure again on an idle machine."
    report.notes.append(note)


if __name__ == "__main__":
    sys.exit(main())
