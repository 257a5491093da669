"""Writers: the alarm speaks once a fall."""

from research.training.logs import AlarmWriter


def test_the_alarm_speaks_once_a_fall(capsys):
    writer = AlarmWriter({"coverage": 0.5})
    for step, value in enumerate((0.9, 0.4, 0.3, 0.6, 0.2)):
        writer.scalars(step, {"coverage": value, "loss": 0.0})
    assert capsys.readouterr().err.splitlines() == [
        "step 1: coverage fell to 0.4, below 0.5",
        "step 4: coverage fell to 0.2, below 0.5",
    ]
