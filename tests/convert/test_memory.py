import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_base_checkpoint_converts_within_30_seconds_and_1_3_times_its_wanted_tensors():
    command = [sys.executable, "-m", "benchmarks.convert_memory"]
    ran = subprocess.run(
        command, cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
