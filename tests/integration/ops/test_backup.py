"""`aether backup` and `aether restore` on real servers."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile

import msgspec
import pytest
from typer.testing import CliRunner

from core.jobs import Job, JobStatus
from core.outcome import Outcome
from core.timing import now_ms
from ops.backup import save as saving
from ops.backup.archive import ABOUT, CHECKSUMS
from ops.cli.main import app
from ops.stack.state import StateDirectory, keep_secrets
from storage.accounts.users import Accounts
from storage.format import OtherFormat, begin_restore, format_of
from storage.loop_reports import LoopReports
from storage.records.jobs import JobRecords
from storage.records.ledger import month_of
from storage.records.migrations import migrate
from storage.records.reconciliation import Reconciliation
from tests.jobs import QUESTION, make_spec


@pytest.fixture
def aether(redis_server, redis_client, mongo_server, mongo_database, monkeypatch, tmp_path):
    """Return what runs a command and returns its exit status and what it has printed."""
    monkeypatch.setenv("AETHER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("AETHER_MONGO_URL", mongo_server.url)
    monkeypatch.setenv("AETHER_MONGO_DATABASE", mongo_database.name)
    migrate(redis_client, mongo_database)

    def aether(*words, database=mongo_database.name, state="var"):
        monkeypatch.setenv("AETHER_MONGO_DATABASE", database)
        command = [*map(str, words), "--state", str(tmp_path / state)]
        shown = CliRunner().invoke(app, command)
        return shown.exit_code, shown.output

    return aether


@pytest.fixture
def empty(mongo_client, mongo_database):
    """A database that nobody has used."""
    name = f"{mongo_database.name}_empty"
    yield mongo_client[name]
    mongo_client.drop_database(name)


def ended(spec, cost_micros=7):
    outcome = Outcome(cost_micros=cost_micros)
    status = JobStatus.COMPLETED
    return Job(spec=spec, status=status, finished_ms=now_ms(), outcome=outcome, question=QUESTION)


@pytest.fixture
def used(mongo_database):
    """The user of a database with an ended and an unfinished job."""
    user = Accounts(mongo_database).create("ann@example.com", "a hash")
    records = JobRecords(mongo_database)
    waiting, done = (make_spec(user_id=user.id) for _ in range(2))
    for spec in (waiting, done):
        records.insert(Job(spec=spec, status=JobStatus.QUEUED, question=QUESTION))
    records.write_finished([ended(done)])
    return user


def contents(database):
    return {
        name: sorted(database[name].find(), key=lambda row: str(row["_id"]))
        for name in database.list_collection_names()
        if name not in ("meta", "system.views") and database[name].find_one() is not None
    }


def parts_of(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def write_parts(path, parts):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def checksums(parts):
    lines = [f"{hashlib.sha256(text).hexdigest()}  {name}\n" for name, text in parts.items()]
    return "".join(lines).encode()


def test_a_restored_database_holds_what_was_saved(aether, used, mongo_database, empty, tmp_path):
    status, said = aether("backup", tmp_path)
    assert status == 0, said
    (path,) = tmp_path.glob("aether-*.tar.gz")

    status, said = aether("restore", path, "--replace", database=empty.name)

    assert status == 0, said
    assert "1 unfinished jobs" in said
    assert contents(empty) == contents(mongo_database)
    assert format_of(empty) == format_of(mongo_database)
    indexes = {name: set(empty[name].index_information()) for name in ("jobs", "users", "ledger")}
    expected = {name: set(mongo_database[name].index_information()) for name in indexes}
    assert indexes == expected


def test_only_the_owner_reads_the_file_and_standard_tools_check_it(aether, used, tmp_path):
    path = tmp_path / "one.tar.gz"
    assert aether("backup", path)[0] == 0

    folder = tmp_path / "unpacked"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", path, "-C", folder], check=True, timeout=30)
    subprocess.run(["sha256sum", "--check", CHECKSUMS], cwd=folder, check=True, timeout=30)
    assert path.stat().st_mode & 0o777 == 0o600
    assert next(iter(parts_of(path))) == ABOUT


def test_a_file_that_exists_is_never_written_over(aether, used, tmp_path):
    path = tmp_path / "one.tar.gz"
    path.write_text("mine")

    status, said = aether("backup", path)

    assert (status, path.read_text()) == (1, "mine")
    assert "exists" in said


def test_no_part_of_a_file_is_left_when_the_database_goes_away(aether, used, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(saving, "_pieces", fail)
    folder = tmp_path / "backups"
    folder.mkdir()

    status, said = aether("backup", folder)

    assert status == 1
    assert "No space left on device" in said
    assert list(folder.iterdir()) == []


def test_a_database_with_data_is_left_alone_unless_it_is_given_up(aether, used, tmp_path):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)

    status, said = aether("restore", path)

    assert status == 1
    assert "--replace" in said
    assert aether("restore", path, "--replace")[0] == 0


def test_what_redis_holds_is_removed_only_when_it_is_given_up(
    aether, used, empty, redis_client, tmp_path
):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    redis_client.set("another", "program's")

    refused, said = aether("restore", path, database=empty.name)
    assert (refused, "Redis holds" in said) == (1, True)
    assert aether("restore", path, "--replace", database=empty.name)[0] == 0
    assert redis_client.keys("*") == [b"another"]


def test_a_restore_is_refused_while_workers_report(aether, used, redis_client, tmp_path):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    LoopReports(redis_client).write("worker-1@here", [])

    status, said = aether("restore", path, "--replace")

    assert status == 1
    assert "worker-1@here" in said


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_is_cut_off_is_refused(aether, used, empty, tmp_path, kept):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])

    status, said = aether("restore", path, database=empty.name)

    assert (status, "damaged" in said) == (1, True)
    assert empty.list_collection_names() == []


def test_a_changed_part_is_refused(aether, used, empty, tmp_path):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    parts = parts_of(path)
    name = next(name for name in parts if name.endswith("users.bson"))
    parts[name] = parts[name].replace(b"ann@", b"eve@")
    write_parts(path, parts)

    status, said = aether("restore", path, database=empty.name)

    assert (status, "damaged" in said) == (1, True)


@pytest.mark.parametrize("name", ["../../etc/passwd", "dump/x/system.users.bson", "notes.txt"])
def test_a_file_with_a_part_of_something_else_is_refused(aether, used, tmp_path, name):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    parts = parts_of(path)
    del parts[CHECKSUMS]
    parts[name] = b""
    write_parts(path, parts | {CHECKSUMS: checksums(parts)})

    status, shown = aether("restore", path, "--check")

    assert (status, "no part" in shown) == (1, True)


@pytest.mark.parametrize("change", [{"archive_format": 2}, {"database_format": 9999}])
def test_a_backup_of_a_newer_version_is_refused(aether, used, tmp_path, change):
    path = tmp_path / "one.tar.gz"
    aether("backup", path)
    parts = parts_of(path)
    del parts[CHECKSUMS]
    parts[ABOUT] = json.dumps(json.loads(parts[ABOUT]) | change).encode()
    write_parts(path, parts | {CHECKSUMS: checksums(parts)})

    status, said = aether("restore", path, "--check")

    assert (status, "newer version" in said) == (1, True)


@pytest.mark.parametrize("content", [b"", b"words", gzip.compress(b"words")])
def test_what_is_no_backup_is_refused(aether, tmp_path, content):
    path = tmp_path / "one.tar.gz"
    path.write_bytes(content)

    status, said = aether("restore", path, "--check")

    assert (status, "no backup" in said or "damaged" in said) == (1, True)


def test_ledger_and_jobs_agree_when_jobs_end_between_their_parts(
    aether, used, mongo_database, empty, redis_client, tmp_path, monkeypatch
):
    records = JobRecords(mongo_database)
    late = make_spec(user_id=used.id)
    records.insert(Job(spec=late, status=JobStatus.QUEUED, question=QUESTION))
    read = saving._pieces

    def end_before_jobs(database, name):
        if name == "jobs":
            records.write_finished([ended(late, cost_micros=11)])
        yield from read(database, name)

    monkeypatch.setattr(saving, "_pieces", end_before_jobs)
    path = tmp_path / "one.tar.gz"
    aether("backup", path)

    status, said = aether("restore", path, "--replace", database=empty.name)

    assert (status, "1 jobs had ended" in said) == (0, True)
    report = Reconciliation(redis_client, empty).verify(month_of(now_ms()))
    assert (report.differences, report.micros) == ([], 18)


def test_what_is_left_of_a_user_deleted_meanwhile_is_left_to_upkeep(
    aether, used, mongo_database, empty, tmp_path, monkeypatch
):
    read = saving._pieces

    def delete_before_users(database, name):
        if name == "users":
            database["users"].delete_one({"_id": used.id})
        yield from read(database, name)

    monkeypatch.setattr(saving, "_pieces", delete_before_users)
    path = tmp_path / "one.tar.gz"
    aether("backup", path)

    assert aether("restore", path, "--replace", database=empty.name)[0] == 0
    assert "deleting_at" in empty["users"].find_one({"_id": used.id})


def test_no_process_starts_on_a_database_whose_restore_has_not_ended(mongo_database, redis_client):
    begin_restore(mongo_database)

    with pytest.raises(OtherFormat, match="--replace"):
        migrate(redis_client, mongo_database)


def test_secrets_of_the_product_move_and_those_of_the_servers_do_not(aether, used, tmp_path):
    before = keep_secrets(make_directory(tmp_path / "var"))
    own = keep_secrets(make_directory(tmp_path / "other"))
    path = tmp_path / "one.tar.gz"

    _, warned = aether("backup", path)
    assert aether("restore", path, "--replace", state="other")[0] == 0

    after = keep_secrets(StateDirectory(tmp_path / "other"))
    assert "sign in as anybody" in warned
    assert after["jwt_secret"] == before["jwt_secret"]
    assert after["mongo_password"] == own["mongo_password"] != before["mongo_password"]


def test_secrets_are_left_out_when_asked(aether, used, tmp_path):
    keep_secrets(make_directory(tmp_path / "var"))
    path = tmp_path / "one.tar.gz"

    assert "sign in" not in aether("backup", path, "--no-secrets")[1]
    assert "secrets.json" not in parts_of(path)


def make_directory(root):
    directory = StateDirectory(root)
    directory.create()
    return directory


def test_documents_of_another_version_are_restored_as_they_are(
    aether, used, mongo_database, empty, tmp_path
):
    document = msgspec.to_builtins(make_spec(user_id=used.id))
    mongo_database["later"].insert_one({"_id": 1, "spec": document, "deep": {"n": [1.5, None]}})
    path = tmp_path / "one.tar.gz"
    aether("backup", path)

    assert aether("restore", path, "--replace", database=empty.name)[0] == 0
    assert empty["later"].find_one() == mongo_database["later"].find_one()
