"""The image starts: its tree, with nothing but what its lock installs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from ops.stack.state import ROOT
from tests.repo import compose
from tests.repo.build_context import Ignore, copy_context
from tests.repo.tree import PACKAGES, name_of, tracked_texts

#: Made by `make`; holds what requirements.txt pins.
VENV = ROOT / ".venvs" / "image"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A folder with what the image's working folder would hold."""
    target = tmp_path_factory.mktemp("image") / "srv"
    copy_context(ROOT, target)
    return target


@pytest.fixture(scope="module")
def _packages():
    """The packages of the lock, installed anew when it has changed."""
    subprocess.run(
        [
            "make",
            "--silent",
            "--assume-old=.venv/bin/python",
            str(VENV.relative_to(ROOT) / ".stamp"),
        ],
        cwd=ROOT,
        timeout=600,
        check=True,
    )


@pytest.fixture
def run(tree, _packages):
    """Return what runs a command in the image's tree as one of the services of Compose."""

    def run(service, *words):
        return subprocess.run(
            [str(VENV / "bin" / words[0]), *words[1:]],
            cwd=tree,
            env={"PATH": f"{VENV}/bin:{os.defpath}"} | compose.environment_of(service),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("pattern", "path", "is_out"),
    [
        ("tests", "tests", True),
        ("/tests", "tests/unit/test_x.py", True),
        ("tests", "web/tests", False),
        ("*.md", "README.md", True),
        ("*.md", "core/prompts/dev.md", False),
        (".*", ".git/HEAD", True),
        (".*", "web/.hidden", False),
        ("**/__pycache__", "__pycache__/x.pyc", True),
        ("**/__pycache__", "web/http/__pycache__/x.pyc", True),
        ("web/**/*.txt", "web/accounts/common.txt", True),
        ("?ar", "var/secrets.json", True),
        ("# var", "var", False),
        ("", "var", False),
    ],
)
def test_a_line_leaves_out_what_docker_would(pattern, path, is_out):
    assert Ignore([pattern]).holds(path) is is_out


def test_the_last_line_that_matches_decides():
    ignore = Ignore(["docs", "!docs/api.md"])

    assert ignore.holds("docs/index.md")
    assert not ignore.holds("docs/api.md")


def test_the_image_copies_everything_but_the_deny_list():
    final_stage = DOCKERFILE.rpartition("FROM ")[2]

    copied = re.findall(r"^COPY (?!--from)(.+)$", final_stage, re.MULTILINE)
    assert copied == [". ."]


def test_the_image_holds_every_file_of_every_package(tree):
    wanted = {
        name_of(path)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    held = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert wanted
    assert wanted <= held


def test_of_what_git_tracks_the_image_holds_nothing_else_but_what_its_commands_read(tree):
    tracked = {name.partition("/")[0] for name in tracked_texts()}

    assert tracked & {path.name for path in tree.iterdir()} - set(PACKAGES) == {
        "LICENSE",
        "celeryconfig.py",
        "pyproject.toml",
        "requirements.txt",
    }


@pytest.mark.parametrize(
    "path",
    [".git/HEAD", ".env", ".venv/bin/python", ".venvs/image/pyvenv.cfg", "var/secrets.json"],
)
def test_the_image_holds_no_secret_and_no_venv_of_the_folder_that_it_is_built_in(path):
    assert Ignore((ROOT / ".dockerignore").read_text().splitlines()).holds(path)


def test_the_image_installs_the_lock_and_checks_its_hashes():
    (install,) = re.findall(r"pip install (.+)", DOCKERFILE.replace("\\\n", " "))

    words = shlex.split(install)
    assert words[-2:] == ["-r", "/tmp/requirements.txt"]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(words)


def test_api_and_tasks_are_imported_with_only_what_the_image_installs(run):
    started = run("api", "python", "-c", "import workers.tasks, web.app; web.app.create_app()")

    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize(
    ("service", "command"),
    [
        ("api", "gunicorn --check-config -c python:web.gunicorn_conf 'web.app:create_app()'"),
        ("worker", "celery -A workers.app:celery_app report"),
        ("worker", "python -c 'import ops.stack.probe'"),
        ("upkeep", "celery -A workers.app:celery_app report"),
        ("beat", "celery -A workers.app:celery_app beat --help"),
        ("beat", "python -c 'import workers.schedule, celeryconfig'"),
        ("flower", "celery -A workers.app:celery_app flower --help"),
        ("flower", "python -m monitoring.flowerconfig"),
    ],
)
def test_each_service_finds_its_modules_packages_and_settings(run, service, command):
    done = run(service, *shlex.split(command))

    assert done.returncode == 0, done.stdout + done.stderr
