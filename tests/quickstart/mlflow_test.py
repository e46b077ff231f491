"""The real MLflow reads what the quickstart left: runs, metrics, parameters, tags, artifacts, the registered version."""
import pathlib
import sys
import tempfile

from program import field, run

program = sys.argv[1]

with tempfile.TemporaryDirectory() as folder:
    done = run(program, pathlib.Path(folder) / "root", "--epochs=20")
    assert done.returncode == 0

    import mlflow  # slow: only once there is something to read

    mlflow.set_tracking_uri(field(done.stdout, "store"))
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("digits")
    runs = client.search_runs([experiment.experiment_id], order_by=["metrics.test_accuracy DESC"])
    assert sorted(r.data.params["hidden"] for r in runs) == ["24", "64"]
    for found in runs:
        assert found.info.status == "FINISHED"
        assert found.data.params["epochs"] == "20"
        assert found.data.tags["mlflow.runName"].startswith("train[")
        history = client.get_metric_history(found.info.run_id, "loss")
        assert [point.step for point in history] == list(range(20))
        assert history[-1].value < history[0].value
        assert {a.path for a in client.list_artifacts(found.info.run_id)} >= {"confusion_matrix.svg"}
        svg = pathlib.Path(client.download_artifacts(found.info.run_id, "confusion_matrix.svg")).read_text()
        assert svg.startswith("<") and "<svg" in svg
        assert {i.dataset.name for i in found.inputs.dataset_inputs} == {"digits-train", "digits-test"}

    version = client.get_model_version_by_alias("digits", "champion")
    assert version.version in (1, "1")
    best = runs[0].data.metrics["test_accuracy"]
    assert float(version.tags["test_accuracy"]) == round(best, 6)
    assert version.run_id in {r.info.run_id for r in runs if r.data.metrics["test_accuracy"] == best}
    assert round(100 * best, 2) == float(field(done.stdout, "accuracy").split(" %")[0])

    # The exact next command that the summary prints, as far as it needs no browser.
    model = mlflow.onnx.load_model("models:/digits@champion")
    assert model.graph.name == "digits"
print("ok")
