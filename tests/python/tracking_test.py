import math
import pathlib
import sqlite3
import subprocess
import sys
import threading

import mizzen
import models
import numpy as np
import onnx
import pytest
from mizzen.tracking import Client


@pytest.fixture
def client(tmp_path) -> Client:
    return Client(f"sqlite:///{tmp_path}/mlflow.db")


def test_round_trip(client, tmp_path):
    figure = tmp_path / "figure.txt"
    figure.write_text("a figure")
    with client.start_run("digits", "first", tags={"team": "ml"}, params={"rate": 0.1, "deep": True}) as run:
        for step in range(3):
            run.log_metric("loss", 1.0 / (step + 1), step=step)
        run.log_metric("accuracy", np.float32(0.5))
        run.log_metrics({"a": 1, "b": math.nan}, step=7)
        run.log_param("optimizer", "adam")
        run.log_params({"layers": 2})
        run.set_tag("note", 5)
        run.set_tags({"x": "y"})
        run.log_artifact(figure, "plots")
        run.log_text("hello", "notes/hello.txt")
        assert run.get().status == "RUNNING"
    record = client.get_run(run.id)
    assert record.status == "FINISHED" and record.end_time >= record.start_time
    assert record.name == "first"
    assert record.params == {"rate": "0.1", "deep": "True", "optimizer": "adam", "layers": "2"}
    assert record.tags["team"] == "ml" and record.tags["note"] == "5" and record.tags["x"] == "y"
    assert record.metrics["loss"].value == pytest.approx(1 / 3) and record.metrics["loss"].step == 2
    assert record.metrics["accuracy"].value == 0.5
    assert math.isnan(record.metrics["b"].value)
    assert [(m.step, m.value) for m in client.metric_history(run.id, "loss")] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert (run.artifact_directory / "plots" / "figure.txt").read_text() == "a figure"
    assert [a.path for a in run.list_artifacts("notes")] == ["notes/hello.txt"]
    assert [r.id for r in client.search_runs(status="FINISHED")] == [run.id]
    assert client.search_runs(tags={"team": "other"}) == []
    # The file is what the client says it is.
    database = sqlite3.connect(client.uri.removeprefix("sqlite:///"))
    assert database.execute("select count(*) from metrics where key = 'loss'").fetchone() == (3,)


def test_ends_as_the_block_ends(client):
    with pytest.raises(ZeroDivisionError):
        with client.start_run() as failing:
            failing.log_metric("x", 1 / 0)
    assert client.get_run(failing.id).status == "FAILED"
    killed = client.start_run()
    killed.end("KILLED")
    assert client.get_run(killed.id).status == "KILLED"
    dropped = client.start_run()
    name = dropped.id
    del dropped
    assert client.get_run(name).status == "FINISHED"
    with client.start_run("nested", "parent") as parent:
        with parent.start_child("child", params={"fold": 1}) as child:
            pass
    assert client.get_run(child.id).tags["mlflow.parentRunId"] == parent.id


def test_a_killed_process_leaves_what_it_logged(client):
    program = (
        "import os, signal, sys, mizzen\n"
        "run = mizzen.tracking.Client(sys.argv[1]).start_run('killed')\n"
        "for step in range(100): run.log_metric('loss', step, step=step)\n"
        "print(run.id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    result = subprocess.run([sys.executable, "-c", program, client.uri], capture_output=True, text=True)
    assert result.returncode == -9, result.stderr
    run_id = result.stdout.strip()
    assert client.get_run(run_id).status == "RUNNING"
    assert len(client.metric_history(run_id, "loss")) == 100
    with client.resume_run(run_id) as run:
        run.log_metric("loss", 0, step=100)
    assert client.get_run(run_id).status == "FINISHED"


@pytest.mark.parametrize("form", ["path", "bytes", "proto"])
def test_models_and_registry(client, tmp_path, form):
    content = models.classifier()
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    model = {"path": path, "bytes": content, "proto": onnx.load_from_string(content)}[form]
    with client.start_run("digits") as run:
        logged = run.log_model(model, "classifier")
    assert logged.uri == f"models:/{logged.id}" and logged.run_id == run.id
    assert client.get_run(run.id).model_ids == [logged.id]
    first = client.register_model("digits", logged, description="the first")
    second = client.register_model("digits", logged.uri, tags={"gate": "passed"})
    assert (first.version, second.version) == (1, 2)
    client.set_model_alias("digits", "champion", 2)
    champion = client.get_model_version_by_alias("digits", "champion")
    assert champion.version == 2 and champion.aliases == ["champion"] and champion.tags == {"gate": "passed"}
    assert [v.version for v in client.list_model_versions("digits")] == [2, 1]
    assert client.get_registered_model("digits").aliases == {"champion": 2}
    found = list(pathlib.Path(champion.location).rglob("*.onnx"))
    pixels = np.ones((2, 16), np.float32)
    scores = mizzen.inference.Session(found[0]).run({"pixels": pixels})["scores"]
    np.testing.assert_array_equal(scores, mizzen.inference.Session(content).run({"pixels": pixels})["scores"])
    client.delete_model_alias("digits", "champion")
    with pytest.raises(mizzen.Error) as caught:
        client.get_model_version_by_alias("digits", "champion")
    assert caught.value.code == "not_found"


def test_errors_name_the_field(client, tmp_path):
    with client.start_run() as run:
        run.log_param("rate", 1)
        with pytest.raises(mizzen.Error, match="rate") as caught:
            run.log_param("rate", 2)
        assert caught.value.code == "already_exists"
        with pytest.raises(mizzen.Error) as caught:
            run.log_metric("../up", 1.0)
        assert (caught.value.code, caught.value.subject) == ("invalid_argument", "metric.key")
        with pytest.raises(TypeError):
            run.log_metric("x", "not a number")
        with pytest.raises(mizzen.Error):
            run.log_artifact(tmp_path / "absent")
    with pytest.raises(mizzen.Error) as caught:
        client.get_run("0" * 32)
    assert caught.value.code == "not_found"
    with pytest.raises(mizzen.Error) as caught:
        Client(f"sqlite:///{tmp_path}/absent.db", create=False)
    assert caught.value.code == "not_found"


def test_many_threads_on_one_run(client):
    with client.start_run() as run:

        def work(thread: int) -> None:
            for step in range(50):
                run.log_metric(f"m{thread}", step, step=step)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for n in range(4):
        assert len(client.metric_history(run.id, f"m{n}")) == 50
