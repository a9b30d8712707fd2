"""`aether up` and its sister commands, driven as an operator drives them."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from contextlib import closing

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from ops.stack.own import clean_environment
from ops.stack.readiness import free_port
from ops.stack.running import command_settings
from ops.stack.state import ROOT, read_record
from tests.api_client import ApiClient
from tests.services import start_mongo, start_redis, start_stub, wait_until
from tests.stack import RunningStack
from workers.names import QUEUES

pytestmark = pytest.mark.e2e

OWN = {"api", "beat", "upkeep", "worker-1"}
EMBEDDED = {"redis", "mongo", "llm"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack of embedded parts only, with the real model."""
    running = RunningStack(tmp_path_factory.mktemp("stack") / "var", "--workers", "1")
    yield running
    running.stop()


@pytest.fixture
def root(tmp_path_factory):
    """A state directory whose path is short enough for a Unix socket."""
    return tmp_path_factory.mktemp("s") / "var"


@pytest.fixture
def small(root):
    """Makes stacks that need not answer; ends them after the test."""
    started = []

    def start(**settings):
        settings.setdefault("AETHER_LLM_URL", "http://127.0.0.1:9")
        started.append(
            RunningStack(root, "--workers", "1", "--no-sample", "--no-flower", **settings)
        )
        return started[-1]

    yield start
    for running in reversed(started):
        running.stop()


def test_up_runs_every_part_and_prints_an_answer_of_the_embedded_model(stack):
    assert set(stack.programs) == OWN | EMBEDDED | {"flower"}
    assert {program.state for program in stack.programs.values()} == {"RUNNING"}

    _, _, after_question = stack.output.partition(
        "Explain in two sentences what a task queue is.\n"
    )
    # A small model may well talk until its token limit.
    answer, *summary = re.split(r"^(?:completed|incomplete) · ", after_question, flags=re.MULTILINE)
    assert len(answer.split()) > 3
    (line, *rest) = "".join(summary).splitlines()
    assert re.search(r"smollm2-135m-instruct · \d+ tokens · \$0\.000000 · first token", line)
    assert f"curl -s {stack.url}/api/ai/v4/chat/optimized" in "\n".join(rest)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("status",), "worker-1"),
        (("logs", "mongo"), "listening on 127.0.0.1"),
        (("scale", "workers", "1"), ""),
        (("dead-letters",), "No dead letters."),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_stack_is_found_when_another_terminals_environment_is_empty(stack, words, shown):
    done = from_empty_environment(stack.directory, *words)

    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_ask_finds_the_stack_when_another_terminals_environment_is_empty(stack):
    done = from_empty_environment(stack.directory, "ask", "Hi", "--agents", "dev")

    # On a busy machine the small model may run out of time; the job is named all the same.
    assert done.returncode in (0, 1), done.stderr
    assert "job_" in done.stderr


def from_empty_environment(directory, *words):
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *words, "--state", str(directory.root)],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_status_shows_every_program_with_its_pid(stack):
    shown = stack.aether("status")

    assert shown.returncode == 0
    for name, program in stack.programs.items():
        assert name in shown.stdout
        assert str(program.pid) in shown.stdout


def test_a_second_up_says_that_it_runs_already(stack):
    second = stack.aether("up")

    assert second.returncode == 0
    assert "runs already" in second.stdout
    assert stack.url in second.stdout


def test_flower_shows_queues_and_tasks_to_who_has_its_password(stack):
    password = json.loads(stack.directory.secrets.read_text())["flower_password"]
    url = read_record(stack.directory).flower_url

    with (
        closing(ApiClient(stack.url)) as client,
        httpx.Client(base_url=url, auth=("operator", password)) as flower,
    ):
        wait_until(lambda: queues_of(flower) == set(QUEUES), 60, "the queues to be shown")
        wait_until(lambda: ask(client) & set(chat_tasks(flower)), 60, "a job to be shown")
        tasks = chat_tasks(flower)
        shown = flower.get("/api/tasks", params={"taskname": "chat.run"}).text
        operated = flower.post("/api/worker/shutdown/worker-1@nowhere")

    # Jobs, not the messages that wake threads, and nothing of what they ask.
    assert all(uuid.startswith("job_") for uuid in tasks)
    assert {task["state"] for task in tasks.values()} <= {"STARTED", "SUCCESS"}
    assert "Flower?" not in shown
    assert operated.status_code in (403, 404, 405)
    assert httpx.get(url).status_code == 401
    for closed in ("/api/workers", "/metrics", "/broker", "/tasks", "/api/tasks"):
        assert httpx.get(f"{url}{closed}").status_code == 401


def test_the_servers_refuse_who_has_no_password(stack):
    ports = read_record(stack.directory).ports
    secrets = json.loads(stack.directory.secrets.read_text())
    redis = f"127.0.0.1:{ports['redis']}/0"
    as_aether = f"redis://aether:{secrets['redis_password']}@{redis}"

    with Redis.from_url(f"redis://{redis}") as anybody, pytest.raises(AuthenticationError):
        anybody.ping()
    for command in ("CONFIG GET dir", "DEBUG SLEEP 0", "MODULE LIST", "SHUTDOWN", "FLUSHALL"):
        with Redis.from_url(as_aether) as aether, pytest.raises(NoPermissionError):
            aether.execute_command(*command.split())
    with (
        MongoClient(f"mongodb://127.0.0.1:{ports['mongo']}/?directConnection=true") as anybody,
        pytest.raises(OperationFailure, match="requires authentication"),
    ):
        anybody["aether"]["users"].find_one()


def test_no_password_is_seen_by_other_users_of_the_machine(stack):
    secrets = json.loads(stack.directory.secrets.read_text())

    words = [word for process in stack.processes for word in process.cmdline()]
    open_files = [
        path
        for path in stack.directory.root.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077
    ]

    assert not [word for word in words if any(secret in word for secret in secrets.values())]
    assert open_files == []


def queues_of(flower):
    # Flower asks workers for their queues when it starts, and then only when it is told to.
    flower.get("/api/workers", params={"refresh": "true"}, timeout=10)
    return {queue["name"] for queue in flower.get("/api/queues/length").json()["active_queues"]}


def ask(client):
    job = client.submit("Is it in Flower?", path="quick", max_tokens=3).json()
    return {job["id"]}


def chat_tasks(flower):
    return flower.get("/api/tasks", params={"taskname": "chat.run"}).json()


def test_a_drained_stack_takes_no_jobs_until_it_is_resumed(stack):
    with closing(ApiClient(stack.url)) as client:
        drained = stack.aether("drain", "--timeout", "60")
        shown = stack.aether("status").stdout
        refused = client.submit("Hi")
        resumed = stack.aether("resume")
        taken = client.submit("Hi")

    assert drained.returncode == 0, drained.stderr
    assert "DRAINING" in shown
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert refused.headers["Retry-After"]
    assert resumed.stdout == "New jobs are taken again.\n"
    assert taken.status_code == 202


def test_a_stack_is_not_started_on_stores_of_another_format(stack, tmp_path):
    with MongoClient(command_settings(stack.directory).mongo_url.get_secret_value()) as mongo:
        mongo["other"]["meta"].insert_one({"_id": "format", "value": 999})
    found = command_settings(stack.directory)
    urls = {"AETHER_REDIS_URL": found.redis_url, "AETHER_MONGO_URL": found.mongo_url}
    variables = {name: url.get_secret_value() for name, url in urls.items()}
    refused = subprocess.run(
        (sys.executable, "-m", "ops.cli", "up", "--no-sample", "--state", str(tmp_path / "v")),
        cwd=ROOT,
        env=clean_environment()
        | variables
        | {"AETHER_MONGO_DATABASE": "other", "AETHER_LLM_URL": "http://127.0.0.1:1"}
        | {"AETHER_PORT": str(free_port()), "AETHER_FLOWER_PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert refused.returncode == 1
    assert "MongoDB holds format 999, of a newer version" in refused.stderr


def test_scale_adds_a_worker_and_drains_it(stack):
    more = stack.aether("scale", "workers", "2")
    assert more.returncode == 0, more.stderr
    wait_until(lambda: stack.programs["worker-2"].state == "RUNNING", 20, "worker-2 to run")
    first = stack.programs["worker-1"].pid

    fewer = stack.aether("scale", "workers", "1")

    assert fewer.returncode == 0, fewer.stderr
    assert "worker-2" not in stack.programs
    assert stack.programs["worker-1"].pid == first


@pytest.mark.parametrize("name", ["redis", "api", "worker-1"])
def test_a_killed_program_is_started_again(stack, name):
    killed = stack.kill_program(name)

    wait_until(
        lambda: stack.programs[name].state == "RUNNING" and stack.programs[name].pid != killed,
        30,
        f"{name} to come back",
    )
    wait_until(lambda: _is_ready(stack.url), 30, "the API to be ready again")


def test_logs_prints_the_end_of_a_programs_log(stack):
    shown = stack.aether("logs", "mongo", "--lines", "5")

    assert shown.returncode == 0
    assert "listening on 127.0.0.1" in shown.stdout


def test_logs_names_the_programs_when_there_is_no_such_one(stack):
    refused = stack.aether("logs", "../secrets")

    assert refused.returncode == 1
    assert "worker-1" in refused.stderr


def test_only_the_owner_can_read_what_the_stack_keeps(stack):
    root = stack.directory.root
    kept = [path for path in root.rglob("*") if path.is_file()]

    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert {root / "secrets.json", root / "state.json"} <= set(kept)
    assert [path for path in kept if path.stat().st_mode & 0o077] == []


def test_the_configuration_of_the_supervisor_holds_no_secret(stack):
    secrets = stack.directory.secrets.read_text()
    written = [stack.directory.config, *stack.directory.programs.glob("*.conf")]

    for secret in [line.split('"')[3] for line in secrets.splitlines() if ":" in line]:
        assert [path for path in written if secret in path.read_text()] == []


def test_ctrl_c_stops_everything_and_leaves_no_process(small):
    running = small()
    processes = running.processes_of_programs

    returncode = running.interrupt()

    assert returncode == 0, running.output
    assert set(processes) == OWN | {"redis", "mongo"}
    assert [name for name, process in processes.items() if process.is_running()] == []
    assert running.processes == []


def test_stop_ends_the_stack_of_another_terminal(small):
    running = small()
    processes = running.processes_of_programs

    stopped = from_empty_environment(running.directory, "stop")

    assert stopped.returncode == 0, stopped.stderr
    assert running.wait() == 0, running.output
    assert [name for name, process in processes.items() if process.is_running()] == []
    assert running.aether("status").returncode == 1


def test_up_ends_itself_and_the_rest_when_its_supervisor_dies(small):
    running = small()
    processes = running.processes_of_programs

    running.kill_supervisor()

    assert running.wait() == 1
    assert "The supervisor ended by itself" in running.output
    assert [name for name, process in processes.items() if process.is_running()] == []


def test_up_ends_what_a_crash_left_behind(small):
    crashed = small()
    processes = crashed.processes_of_programs
    crashed.kill()
    crashed.kill_supervisor()

    second = small()

    assert "an earlier stack had left behind" in second.output
    assert [name for name, process in processes.items() if process.is_running()] == []
    assert second.ports == crashed.ports


def test_other_servers_take_the_place_of_the_embedded_ones(root, tmp_path):
    redis, mongo = start_redis(tmp_path), start_mongo(tmp_path)
    stub = start_stub(tmp_path, tokens=5)
    try:
        running = RunningStack(
            root,
            "--workers",
            "1",
            "--no-flower",
            AETHER_REDIS_URL=redis.url,
            AETHER_MONGO_URL=mongo.url,
            AETHER_LLM_URL=stub.url,
        )
        try:
            assert set(running.programs) == OWN
            letters = from_empty_environment(running.directory, "dead-letters")
            assert letters.stdout == "No dead letters.\n", letters.stderr
            for words in (["cache", "stats"], ["routing", "report"], ["status"], ["ask", "Hi"]):
                found = from_empty_environment(running.directory, *words)
                assert found.returncode == 0, found.stderr
            assert "token-1 token-2" in running.output
            with Redis.from_url(redis.url, socket_timeout=5) as client:
                assert list(client.scan_iter("aether:*:job:*"))
            with MongoClient(mongo.url, timeoutMS=5_000) as client:
                assert client["aether"]["jobs"].count_documents({}) == 2
        finally:
            running.stop()
    finally:
        for server in (stub, mongo, redis):
            server.stop()


def test_up_names_the_setting_when_its_port_is_taken(stack, tmp_path):
    refused = stack.aether("up", "--state", str(tmp_path / "other"))

    assert refused.returncode == 1
    assert "AETHER_PORT" in refused.stderr


def _is_ready(url):
    try:
        return httpx.get(f"{url}/readyz", timeout=3, trust_env=False).is_success
    except httpx.HTTPError:
        return False
