"""Supervisor's configuration: one main file and one file for each program.

No file holds a secret: programs inherit the supervisor's environment, and each section empties
the variables that its program must not see.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from ops.stack.programs import Program
from ops.stack.state import ROOT, StateDirectory, write_private

_MAIN = """\
[supervisord]
nodaemon=true
silent=true
umask=077
logfile={logs}/supervisor.log
logfile_maxbytes=10MB
logfile_backups=3
loglevel=info
pidfile={supervisor}/supervisord.pid
childlogdir={logs}
directory={root}

[unix_http_server]
file={socket}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files={programs}/*.conf
"""
_PROGRAM = """\
[program:{name}]
command={command}
directory={root}
environment={environment}
priority={rank}
autostart=false
autorestart=true
startsecs=1
startretries=100
stopsignal=TERM
stopwaitsecs={stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""


def write_config(directory: StateDirectory, programs: list[Program]) -> None:
    """Write the main file and one for each program; remove the programs of an earlier start."""
    for stale in directory.programs.glob("*.conf"):
        stale.unlink()
    main = _MAIN.format(
        logs=_plain(directory.logs),
        supervisor=_plain(directory.supervisor),
        socket=_plain(directory.socket),
        programs=_plain(directory.programs),
        root=_plain(ROOT),
    )
    write_private(directory.config, main)
    for program in programs:
        write_program(directory, program)


def write_program(directory: StateDirectory, program: Program) -> None:
    write_private(program_file(directory, program.name), render(directory, program))


def program_file(directory: StateDirectory, name: str) -> Path:
    return directory.programs / f"{name}.conf"


def render(directory: StateDirectory, program: Program) -> str:
    """Return one program's section."""
    return _PROGRAM.format(
        name=program.name,
        command=_command_line(program.command),
        root=_plain(ROOT),
        environment=",".join(f'{name}=""' for name in program.withheld),
        rank=program.rank,
        stop_wait_s=program.stop_wait_s,
        log=_plain(directory.log_of(program.name)),
    )


def _command_line(command: tuple[str, ...]) -> str:
    """Return the command quoted for supervisor, which reads a single `%` as a format."""
    beside = Path(sys.executable).parent / command[0]
    program = str(beside) if beside.exists() else command[0]
    words = []
    for word in (program, *command[1:]):
        is_format = word.startswith("%(ENV_")
        words.append(word if is_format else _plain(shlex.quote(word)))
    return " ".join(words)


def _plain(value: object) -> str:
    return str(value).replace("%", "%%")
