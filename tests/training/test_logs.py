"""Writers: the alarm speaks once a fall, and a killed run's lines are mended."""

import json

import pytest

from research.training.logs import AlarmWriter, JsonlWriter


def test_the_alarm_speaks_once_a_fall(capsys):
    writer = AlarmWriter({"coverage": 0.5})
    for step, value in enumerate((0.9, 0.4, 0.3, 0.6, 0.2)):
        writer.scalars(step, {"coverage": value, "loss": 0.0})
    assert capsys.readouterr().err.splitlines() == [
        "step 1: coverage fell to 0.4, below 0.5",
        "step 4: coverage fell to 0.2, below 0.5",
    ]


@pytest.mark.parametrize("start", [2, 4])
def test_a_resumed_run_drops_lines_beyond_its_start_and_half_a_line(tmp_path, start):
    """Each step then has one line."""
    path = tmp_path / "metrics.jsonl"
    lines = "".join(f'{{"step": {step}, "loss": {step}.5}}\n' for step in range(1, 4))
    path.write_text(lines + '{"step": 4, "lo')
    writer = JsonlWriter(path, start=start)
    for step in range(start + 1, 6):
        writer.scalars(step, {"loss": step + 0.5})
    writer.close()
    found = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [*range(1, min(start, 3) + 1), *range(start + 1, 6)]
    assert found == [{"step": step, "loss": step + 0.5} for step in steps]
