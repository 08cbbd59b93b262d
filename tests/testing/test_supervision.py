"""Supervisors, folders and ports: what happens when processes die one by one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbopt.exceptions import ServerStartError
from dbopt.testing import services
from dbopt.testing.services import folders, startup
from dbopt.testing.services.processes import (
    Lifetime,
    Port,
    PortTakenError,
    Process,
    Program,
    await_ready,
)
from dbopt.testing.services.supervisor import process_started_at
from tests.testing.conftest import listens, run_folders, wait_until


def program(script):
    return Program(argv=["/bin/sh", "-c", script])


def test_server_dies_with_its_killed_supervisor_and_its_folder_is_swept(own_root, services_tmp):
    with services.start(["redis"]) as running:
        port = running.servers["redis"].port
        process = running._startups["redis"]._lifetime._processes[0]
        os.kill(process.supervisor_pid, signal.SIGKILL)
        wait_until(lambda: not listens(port), what="Valkey to die", seconds=15)

        assert folders.sweep() == []
        left = run_folders(services_tmp)

    assert len(left) == 1
    assert run_folders(services_tmp) == []


def test_sweep_ends_the_recorded_server_of_a_dead_supervisor(own_root, services_tmp):
    folder = folders.new_folder("redis")
    with subprocess.Popen(["sleep", "600"]) as orphan:
        folder.record.write_text(json.dumps({"pid": orphan.pid, "started_at": process_started_at(orphan.pid)}))
        os.close(folder.lock)

        assert folders.sweep() == [folder.path.name]
        assert orphan.wait(5) == -signal.SIGKILL
    assert run_folders(services_tmp) == []


def test_sweep_spares_a_stranger_that_got_the_pid(own_root):
    folder = folders.new_folder("redis")
    with subprocess.Popen(["sleep", "600"]) as stranger:
        folder.record.write_text(json.dumps({"pid": stranger.pid, "started_at": "1"}))
        os.close(folder.lock)

        assert folders.sweep() == [folder.path.name]
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "started_at": "1"}', '{"pid": 1}'])
def test_sweep_removes_a_folder_with_a_broken_record(own_root, content):
    folder = folders.new_folder("redis")
    folder.record.write_text(content)
    os.close(folder.lock)

    assert folders.sweep() == [folder.path.name]


def test_sweep_leaves_running_servers_and_young_folders_alone(own_root):
    with services.start(["redis"]) as running:
        young = folders.new_folder("redis")
        os.close(young.lock)

        assert folders.sweep() == []
        assert listens(running.servers["redis"].port)

        os.utime(young.path, (0, 0))
        assert folders.sweep() == [young.path.name]


def test_lost_port_is_replaced(own_root, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken = stranger.getsockname()[1]

        class TakenOnce(Port):
            made = 0

            def __init__(self):
                super().__init__()
                TakenOnce.made += 1
                if TakenOnce.made <= 2:
                    self.release()
                    self.number = taken

        monkeypatch.setattr(startup, "Port", TakenOnce)
        with services.start(["postgres"]) as running:
            assert TakenOnce.made == 3
            assert running.servers["postgres"].port != taken
            assert (
                running.urls["postgres"] == f"postgresql://postgres@127.0.0.1:{running.servers['postgres'].port}/dbopt"
            )


def test_reserved_port_is_given_to_nobody_else_until_a_server_listens():
    port = Port()
    others = []
    for _ in range(50):
        other = socket.socket()
        other.bind(("127.0.0.1", 0))
        others.append(other)

    assert port.number not in {other.getsockname()[1] for other in others}
    with socket.create_server(("127.0.0.1", port.about_to_listen())) as server:
        assert server.getsockname()[1] == port.number
    for other in others:
        other.close()
    port.release()


def test_server_that_ends_while_starting_is_quoted(own_root, services_tmp):
    lifetime, folder = Lifetime(), folders.new_folder("redis")
    process = lifetime.run(program("echo config file is broken; exit 3"), folder)

    with pytest.raises(ServerStartError) as caught:
        await_ready(process, lambda: False, label="Valkey", seconds=10)

    assert str(caught.value) == ("Valkey ended with status 3 while starting. Its last words:\nconfig file is broken")
    lifetime.discard(folder)
    assert run_folders(services_tmp) == []


def test_server_that_never_answers_is_given_up(own_root):
    lifetime, folder = Lifetime(), folders.new_folder("redis")
    process = lifetime.run(program("echo thinking; exec sleep 600"), folder)
    wait_until(lambda: "thinking" in process.output(), what="output")

    with pytest.raises(ServerStartError) as caught:
        await_ready(process, lambda: False, label="Valkey", seconds=0.05)

    assert str(caught.value) == "Valkey did not answer within 0.05 s. Its last words:\nthinking"
    lifetime.discard(folder)


def test_taken_port_has_an_error_of_its_own(own_root):
    lifetime, folder = Lifetime(), folders.new_folder("redis")
    process = lifetime.run(program("echo bind: Address already in use; exit 1"), folder)

    with pytest.raises(PortTakenError):
        await_ready(process, lambda: False, label="Valkey", seconds=10)
    lifetime.discard(folder)


def test_server_that_ignores_its_signal_is_killed(own_root, services_tmp):
    folder = folders.new_folder("redis")
    process = Process(program("trap '' TERM; echo deaf; while :; do sleep 1; done"), folder)
    wait_until(lambda: "deaf" in process.output(), what="the trap")
    pid = process.pid
    began = time.monotonic()

    process.end()
    process.wait()

    assert 1.5 < time.monotonic() - began < 15
    assert process_started_at(pid) is None
    assert run_folders(services_tmp) == []


def test_missing_program_is_named(own_root, services_tmp):
    folder = folders.new_folder("redis")

    with pytest.raises(ServerStartError) as caught:
        Process(Program(argv=["/no/such/valkey-server"]), folder)

    assert str(caught.value) == (
        "valkey-server could not be started: [Errno 2] No such file or directory: '/no/such/valkey-server'"
    )
    assert run_folders(services_tmp) == []


def test_ended_lifetime_starts_nothing(own_root):
    lifetime, folder = Lifetime(), folders.new_folder("redis")
    lifetime.end()

    with pytest.raises(ServerStartError, match=r"The start was called off\."):
        lifetime.run(program("sleep 600"), folder)
    lifetime.discard(folder)


def test_folder_of_somebody_else_is_refused(own_root, tmp_path):
    own_root.parent.mkdir(exist_ok=True)
    folders.services_root().chmod(0o777)
    try:
        with pytest.raises(ServerStartError) as caught:
            folders.services_root()
    finally:
        own_root.chmod(0o711)

    assert str(caught.value) == (
        f"{own_root} does not belong to this user alone. Remove it, or set TMPDIR to another folder."
    )


def test_shared_content_is_made_again_when_a_cleaner_took_a_file(own_root):
    made = []

    def make(draft):
        made.append(draft)
        (draft / "one").write_text("1")
        (draft / "two").write_text("2")

    first = folders.made_once("tests-content", make)
    assert folders.made_once("tests-content", make) == first
    assert len(made) == 1

    (first / "one").unlink()

    assert sorted(path.name for path in folders.made_once("tests-content", make).iterdir()) == ["one", "two"]
    assert len(made) == 2


def test_interrupted_draft_never_becomes_content(own_root):
    def fail(draft):
        (draft / "half").write_text("1")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        folders.made_once("tests-interrupted", fail)

    assert list(folders.made_once("tests-interrupted", lambda draft: (draft / "whole").touch()).iterdir()) == [
        own_root / "shared" / "tests-interrupted" / "whole"
    ]


def test_servers_do_not_outlive_an_owner_that_forgets_to_stop_them(own_root, services_tmp):
    script = "from dbopt.testing import services\nprint(services.start(['redis']).servers['redis'].port, flush=True)\n"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"TMPDIR": str(services_tmp), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )

    wait_until(lambda: not listens(int(done.stdout)), what="Valkey to stop", seconds=15)
    wait_until(lambda: run_folders(services_tmp) == [], what="the folder to go", seconds=15)


def test_ctrl_c_while_servers_begin_leaves_nothing(own_root, services_tmp, monkeypatch):
    """The first is on its way when the second is told to begin."""
    begin = startup.Startup.begin

    def beginning(self):
        if self.name == "redis":
            wait_until(lambda: run_folders(services_tmp), what="the folder of the first")
            raise KeyboardInterrupt
        begin(self)

    monkeypatch.setattr(startup.Startup, "begin", beginning)

    for way in (services.launch, services.start):
        with pytest.raises(KeyboardInterrupt):
            way(["postgres", "redis"])
        assert run_folders(services_tmp) == []
