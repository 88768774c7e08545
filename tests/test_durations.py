import pytest

from attlas.durations import parse_seconds, readable_seconds
from attlas.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1d", 86_400),
        ("1.5h", 5400),
        ("1h30m", 5400),
        (" 1 h 5 s ", 3605),
        (".5m", 30),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("number", [45, 0.5, "45"])
def test_a_number_alone_is_seconds(number: float | str) -> None:
    assert parse_seconds(number) == float(number)


@pytest.mark.parametrize("text", ["", "soon", "10 minutes", "m", "-5m", "5m-", "0s", 0, -3, "1h 2", "nan", "inf"])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ConfigError, match="is no duration; write for instance 90s, 10m, 2h or 1h30m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (8.14, "8.1 s"), (60, "1 min 0 s"), (725.4, "12 min 5 s"), (7440, "2 h 4 min")]
)
def test_seconds_are_said_in_units_that_fit(seconds: float, said: str) -> None:
    assert readable_seconds(seconds) == said
