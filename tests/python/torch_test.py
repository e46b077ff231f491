"""mizzen and torch in one process. torch is a large install, so it is not in the test environment:
python -m pip install torch into one that has the package, then pytest tests/python/torch_test.py."""
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed (5 GB; see tests/python/torch_test.py)")

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
{imports}
import models, numpy
from onnx import load_from_string, numpy_helper
content = models.classifier()
weights = {{t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in load_from_string(content).graph.initializer}}
pixels = torch.randn(5, 16, generator=torch.Generator().manual_seed(3), requires_grad=False)
session = mizzen.inference.Session(content, threads=2)
for _ in range(3):
    hidden = torch.relu(pixels @ weights["w1"] + weights["b1"])
    expected = torch.softmax(hidden @ weights["w2"] + weights["b2"], dim=1)
    ours = session.run(dict(pixels=pixels))["scores"]          # a torch tensor goes in as it is
    torch.testing.assert_close(torch.from_numpy(ours), expected, rtol=1e-5, atol=1e-6)
loss = (torch.ones(2, 2, requires_grad=True) * 2).sum()
loss.backward()                                                 # torch's own threads
with mizzen.tracking.Client("sqlite:///" + sys.argv[2]).start_run() as run:
    run.log_metric("loss", loss.item())
    run.log_metric("tensor", loss.detach())
try:
    mizzen.inference.Session(b"damaged")
except mizzen.Error as error:
    print(error.code)
"""


@pytest.mark.parametrize("order", ["mizzen torch", "torch mizzen"])
def test_beside_torch(order, request, tmp_path):
    program = PROGRAM.format(imports="\n".join(f"import {name}" for name in order.split()))
    result = subprocess.run(
        [sys.executable, "-c", program, str(request.path.parent), str(tmp_path / "mlflow.db")],
        capture_output=True, text=True, timeout=600,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() in ("invalid_argument", "data_loss")
