"""launch.profile --loop prints the ratio, and sees that nothing is compiled twice."""

import json
import subprocess
import sys


def test_loop_over_step_is_measured():
    command = [sys.executable, "-m", "launch.profile", "--loop", "--json", "--steps=4"]
    command += ["--rounds=2", "--config=configs/classifier.py:digits_debug"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    ratio = measured["loop_ms"] / measured["step_ms"]
    assert abs(measured["loop_over_step"] - ratio) < 1e-9
    assert measured["compilations_after_first_step"] == 0
    assert 0 <= measured["data_wait"] < 1
