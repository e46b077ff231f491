"""Fills a store of MLflow's schema with runs, and a run with a long metric, straight into the tables: both sides then read one file."""
import random
import sqlite3


def fill_runs(path: str, runs: int, seed: int = 7) -> None:
    """Runs with 5 metrics, 5 parameters (10 values each) and 7 tags, as a sweep leaves them."""
    rng = random.Random(seed)
    store = sqlite3.connect(path)
    experiment = store.execute("SELECT min(experiment_id) FROM experiments").fetchone()[0]
    tables = {"runs": [], "metrics": [], "latest_metrics": [], "params": [], "tags": []}
    for number in range(runs):
        run_id = f"{rng.getrandbits(128):032x}"
        time = 1_700_000_000_000 + number * 1000
        tables["runs"].append((run_id, f"run-{number}", "UNKNOWN", "", "", "me", "FINISHED", time, time + 500, "", "active",
                               f"/nowhere/{run_id}", experiment))
        for key in range(5):
            value = rng.random()
            tables["metrics"].append((f"metric{key}", value, time, run_id, 9, 0))
            tables["latest_metrics"].append((f"metric{key}", value, time, 9, 0, run_id))
            tables["params"].append((f"param{key}", str(rng.randrange(10)), run_id))
            tables["tags"].append((f"tag{key}", str(rng.randrange(100)), run_id))
        tables["tags"] += [("mlflow.runName", f"run-{number}", run_id), ("mlflow.user", "me", run_id)]
    columns = {
        "runs": "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, "
                "source_version, lifecycle_stage, artifact_uri, experiment_id",
        "metrics": "key, value, timestamp, run_uuid, step, is_nan",
        "latest_metrics": "key, value, timestamp, step, is_nan, run_uuid",
        "params": "key, value, run_uuid",
        "tags": "key, value, run_uuid",
    }
    with store:
        for table, rows in tables.items():
            marks = ", ".join("?" * len(rows[0]))
            store.executemany(f"INSERT INTO {table} ({columns[table]}) VALUES ({marks})", rows)
    store.close()


def fill_history(path: str, points: int) -> str:
    """One run with one metric "loss" of so many points; returns the run's id."""
    fill_runs(path, 1, seed=points)
    store = sqlite3.connect(path)
    (run_id,) = store.execute("SELECT run_uuid FROM runs").fetchone()
    with store:
        store.executemany("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES ('loss', ?, ?, ?, ?, 0)",
                          ((1 / (1 + step), 1_700_000_000_000 + step, run_id, step) for step in range(points)))
        store.execute("INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('loss', ?, ?, ?, 0, ?)",
                      (1 / points, 1_700_000_000_000 + points - 1, points - 1, run_id))
    store.close()
    return run_id
