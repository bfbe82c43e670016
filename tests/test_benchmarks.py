"""`make bench` works: each case runs, its table is written, and its proxy only delays."""

from __future__ import annotations

import multiprocessing.forkserver
import re
import socket
import struct
import threading
import time

import pytest

from benchmarks import reading, report
from benchmarks.bench import Bench
from benchmarks.child import Requests, WorkFailedError, measure
from benchmarks.delay_proxy import DelayProxy
from benchmarks.row import Row, Side
from benchmarks.run import CASES, run
from benchmarks.stage import Stages

ROUND_TRIP = 0.02


@pytest.fixture
def echo():
    """The port of a server that answers each connection with what it was sent, in order."""

    def answer(connection):
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # the test is over
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def connected(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def read_all(connection):
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


def test_the_proxy_carries_everything_in_order_to_the_end(echo):
    sent = b"".join(number.to_bytes(4, "big") for number in range(1_000_000))
    with DelayProxy(echo, ROUND_TRIP) as proxy, connected(proxy) as connection:

        def send():
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        sending.start()
        assert read_all(connection) == sent
        sending.join()


def test_the_proxy_delays_each_answer_by_a_round_trip_at_least(echo):
    with DelayProxy(echo, ROUND_TRIP) as proxy, connected(proxy) as connection:
        for times in (2, 1, 1):  # opening a connection takes one of its own
            began = time.perf_counter()
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            assert time.perf_counter() - began >= times * ROUND_TRIP


def test_a_server_that_is_gone_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with DelayProxy(port, ROUND_TRIP) as proxy, connected(proxy) as connection:
        assert read_all(connection) == b""


def test_a_reset_connection_ends_as_well():
    def answer():
        connection, _ = listening.accept()
        connection.sendall(b"some")
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=answer)
        answering.start()
        port = listening.getsockname()[1]
        with DelayProxy(port, ROUND_TRIP) as proxy, connected(proxy) as connection:
            assert connection.recv(4) == b"some"
            connection.sendall(b"x")
            assert read_all(connection) == b""
            answering.join()


def broken(place, word):
    del place

    def work():
        raise ValueError(word)

    return work


def test_what_fails_in_a_child_is_told_with_its_traceback():
    with pytest.raises(WorkFailedError, match=r"(?s)broken: Traceback.*ValueError: of its own"):
        measure(broken, None, "of its own", fresh=True)


@pytest.fixture
def _without_a_fork_server_left():
    yield
    multiprocessing.forkserver._forkserver._stop()


@pytest.mark.usefixtures("_without_a_fork_server_left")
def test_the_cases_run_and_the_page_is_written(azurite, mlflow_server, tmp_path, capfd):
    stages = Stages(tmp_path / "stages").on(azurite, mlflow_server)
    # Those with a script of their own fill servers of their own, which takes a minute.
    light = [name for name in CASES if name not in reading.CASES]

    rows, failed = run(Bench(stages, quick=True, patience=0.5), light)

    assert not failed, capfd.readouterr().err
    assert list(dict.fromkeys(row.id for row in rows)) == light
    assert all(row.ours.amount > 0 for row in rows)
    report.write(rows, tmp_path)
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert len(re.findall(r"^\| P\d", page, re.MULTILINE)) == len(rows)
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")


def test_requests_are_counted_by_whose_they_are(azurite, container, credentials, mlflow_server):
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.tracking_uri)
    with Requests(mlflow_server.tracking_uri) as made:
        client.get_experiment("0")
        with credentials.service_client() as service:
            blobs = service.get_container_client(container)
            blobs.upload_blob("a", b"x")
            list(blobs.list_blobs())
            list(blobs.delete_blobs("a"))
    assert dict(made.tracking) == {"GET experiments/get": 1}
    assert dict(made.storage) == {"PUT": 1, "list": 1, "batch": 1}


def test_the_page_keeps_its_prose_around_what_was_found():
    old = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    new = report.between(old, "new")
    assert new == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.between(new, "new") == new
    with pytest.raises(ValueError, match="has no"):
        report.between("nothing", "new")
    assert report.between(report.DOCUMENT.read_text("utf-8"), "") != ""


def test_a_row_says_ratio_and_exact_requests():
    row = Row(
        *("P1", "work", Side(0.5, (5, 5), (3, 4)), Side(11.2, (1001, 1001), (0, 0))),
        beside="a loop | of MLflow",
    )
    assert report.table([row]).splitlines()[2] == (
        "| P1 | work | 500 ms | a loop / of MLflow | 11.2 s | 22 | 5 + 3..4 | 1,001 + 0 |  |"
    )
    silent = Row("P8", "work", Side(30.0, at_least=True), Side(30.0, at_least=True))
    assert silent.times == ""
    assert report.amount(silent.ours, "s") == "> 30 s"
    assert [report.amount(Side(size), "MB") for size in (0.25, 12.34, 1234.5)] == [
        *("0.25 MB", "12.3 MB", "1,234 MB"),
    ]


def test_the_page_tells_of_every_case():
    page = report.DOCUMENT.read_text("utf-8")
    assert set(CASES) <= set(re.findall(r"^\| \*\*(P\d+\w?)\*\* \|", page, re.MULTILINE))
