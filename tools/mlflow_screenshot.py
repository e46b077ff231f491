#!/usr/bin/env python3
"""Pictures of MLflow's own UI on a run that examples/tracking/training_loop.cpp has just logged.

  tools/mlflow_screenshot.py PROGRAM FOLDER    writes FOLDER/mlflow-metrics.png and FOLDER/mlflow-artifacts.png
  (run it by the interpreter that `tests/venv.sh browser` prints)

Starts a real `mlflow server` on a store of its own and opens it in a headless Chromium (Debian: chromium).
"""
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
EPOCHS = "120"
TIMEOUT_MS = 60_000
SETTLE_MS = 5000  # the page polls the server for ever, so that there is no end to wait for

# The server runs in MLflow's environment, the browser's driver in this one.
SERVE = """
import contextlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
from mlflow_server import start_server
with contextlib.ExitStack() as ended:
    print(start_server(pathlib.Path(sys.argv[2]), sys.argv[3], ended.callback), flush=True)
    sys.stdin.read()
"""


def main() -> int:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, pictures = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    chromium = shutil.which("chromium") or sys.exit("there is no chromium: apt-get install chromium")
    mlflow = subprocess.run([ROOT / "tests/venv.sh", "mlflow"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    with contextlib.ExitStack() as ended:
        folder = pathlib.Path(ended.enter_context(tempfile.TemporaryDirectory()))
        store = f"sqlite:///{folder}/mlflow.db"
        trained = subprocess.run([program, store, EPOCHS], check=True, text=True, stdout=subprocess.PIPE, cwd=folder).stdout
        run_id = re.search(r"run ([0-9a-f]{32}):", trained)[1]

        server = subprocess.Popen([mlflow, "-c", SERVE, ROOT / "tests/tracking", folder, store],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ended.callback(server.wait)
        ended.callback(server.stdin.close)
        url = server.stdout.readline().strip()

        browser = ended.enter_context(sync_playwright()).chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        run = f"{url}/#/experiments/1/runs/{run_id}"
        # What must be on the page before it is taken: the picture shows this, or there is none.
        page.goto(run + "/model-metrics")
        page.get_by_text("48 hidden units").first.wait_for(timeout=TIMEOUT_MS)
        # The assistant's panel, by the last button of its head.
        page.get_by_text("MLflow Assistant").locator("xpath=ancestor::div[.//button][1]").locator("button").last.click(timeout=TIMEOUT_MS)
        page.locator(".js-plotly-plot .scatterlayer .trace").nth(2).wait_for(timeout=TIMEOUT_MS, state="attached")
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=pictures / "mlflow-metrics.png")
        page.goto(run + "/artifacts/figures/roc.png")
        page.get_by_text("confusion.png").first.wait_for(timeout=TIMEOUT_MS)
        page.wait_for_timeout(SETTLE_MS)
        page.screenshot(path=pictures / "mlflow-artifacts.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
