"""``schedules.toml``: what it may say, and how it is refused."""

from __future__ import annotations

import datetime
import itertools
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

from avtomatika.blueprints import StateMachineBlueprint
from avtomatika.cli import main
from avtomatika.core.schedule import CatchUp, Every, Overlap
from avtomatika.errors import ConfigError
from avtomatika.schedules import read_schedules

RIGA = zoneinfo.ZoneInfo("Europe/Riga")
_MONDAY, _MIDDLE, _FEBRUARY = "2026-01-05T09:30", "2026-01-15T12:01", "2026-02-28T00:00"
KNOWN: dict[str, Any] = {"backup": None, "report": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "schedules.toml"


@pytest.mark.parametrize(
    ("rule", "said", "first", "second"),
    [
        ("interval_seconds = 900", "every 900 s", "2026-01-01T12:15", "2026-01-01T12:30"),
        ('daily_at = "02:00"', "daily at 02:00", "2026-01-02T02:00", "2026-01-03T02:00"),
        (
            'weekly_days = ["mon", "Friday"]\ntime = "9:30"',
            "every mon, fri at 09:30",
            "2026-01-02T09:30",
            "2026-01-05T09:30",
        ),
        (
            'monthly_dates = [1, 15]\ntime = "12:01"',
            "monthly on 1, 15 at 12:01",
            "2026-01-01T12:01",
            "2026-01-15T12:01",
        ),
        (
            'monthly_dates = [-1]\ntime = "00:00"',
            "monthly on last day at 00:00",
            "2026-01-31T00:00",
            "2026-02-28T00:00",
        ),
        ('cron = "*/30 8-17 * * mon-fri"', "cron */30 8-17 * * mon-fri", "2026-01-01T12:30", "2026-01-01T13:00"),
    ],
)
def test_rules_mean_what_they_say(path: Path, rule: str, said: str, first: str, second: str) -> None:
    """Each way to say when, in the zone of the engine."""
    path.write_text(f'[s]\nblueprint = "backup"\n{rule}\n')

    (schedule,) = read_schedules(path, RIGA, KNOWN)

    noon = datetime.datetime(2026, 1, 1, 12, 0, 30, tzinfo=RIGA).timestamp() - 30
    found = itertools.islice(schedule.instants(noon), 2)
    shown = [datetime.datetime.fromtimestamp(one, RIGA).isoformat()[:16] for one in found]
    assert (str(schedule.rule), shown) == (said, [first, second])


def test_all_fields_are_read(path: Path) -> None:
    """Nothing of the file is lost."""
    path.write_text(
        """
        [nightly_backup]
        blueprint = "backup"
        interval_seconds = 60
        input_data = { full = true, hosts = ["a", "b"] }
        timezone = "Asia/Tokyo"
        overlap = "skip"
        catch_up = "all"
        client = "acme"
        dispatch_timeout = 30
        result_timeout = 1.5
        enabled = false

        [plain]
        blueprint = "report"
        interval_seconds = 5
        """
    )

    full, plain = read_schedules(path, RIGA, KNOWN)

    assert (full.name, full.blueprint, full.rule) == ("nightly_backup", "backup", Every(60))
    assert full.initial_data == {"full": True, "hosts": ["a", "b"]}
    assert (str(full.zone), full.overlap, full.catch_up) == ("Asia/Tokyo", Overlap.SKIP, CatchUp.ALL)
    assert (full.client, full.dispatch_timeout, full.result_timeout, full.enabled) == ("acme", 30.0, 1.5, False)
    assert (plain.zone, plain.overlap, plain.catch_up, plain.enabled) == (RIGA, Overlap.ALLOW, CatchUp.LAST, True)


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ('daily_at = "02:00"', 1, "has no 'blueprint'"),
        ('blueprint = "bakup"\ndaily_at = "02:00"', 2, "not registered; known: backup, report. Did you mean 'backup'?"),
        ('blueprint = "backup"', 1, "has none; exactly one is needed of: interval_seconds"),
        ('blueprint = "backup"\ndaily_at = "02:00"\ncron = "* * * * *"', 4, "has daily_at and cron; exactly one"),
        ('blueprint = "backup"\ndaily_at = "24:00"', 3, "expected a time from 00:00 to 23:59"),
        ('blueprint = "backup"\ndaily_at = 2', 3, "is a whole number; expected a time of day"),
        ('blueprint = "backup"\ninterval_seconds = 0', 3, "is below 1"),
        ('blueprint = "backup"\nweekly_days = ["mon"]', 1, "has no 'time'"),
        ('blueprint = "backup"\nweekly_days = ["xyz"]\ntime = "02:00"', 3, "expected days"),
        ('blueprint = "backup"\nweekly_days = []\ntime = "02:00"', 3, "expected days"),
        ('blueprint = "backup"\nmonthly_dates = [0]\ntime = "02:00"', 3, "expected days of the month"),
        ('blueprint = "backup"\ncron = "0 0 30 2 *"', 3, "'cron' of [s]"),
        ('blueprint = "backup"\ndaily_at = "02:00"\ntimezone = "Europe/Rigga"', 4, "Did you mean 'Europe/Riga'?"),
        ('blueprint = "backup"\ndaily_at = "02:00"\noverlap = "skp"', 4, "Did you mean 'skip'?"),
        ('blueprint = "backup"\ndaily_at = "02:00"\ncatchup = "all"', 4, "is unknown. Did you mean 'catch_up'?"),
        ('blueprint = "backup"\ndaily_at = "02:00"\nenabled = "no"', 4, "expected true or false"),
        ('blueprint = "backup"\ndaily_at = "02:00"\nresult_timeout = -1', 4, "not a positive number"),
        (
            'blueprint = "backup"\ndaily_at = "02:00"\ninitial_data = { d = 99999999999999999999 }',
            4,
            "no job can store",
        ),
        ('blueprint = "backup"\ndaily_at = "02:00"\ninitial_data = {}\ninput_data = {}', 5, "keep one of them"),
        ('blueprint = "backup"\ncron = "* * * * *"\ntime = "02:00"', 4, "'time' of [s]"),
    ],
)
def test_schedule_that_is_wrong_names_line_and_remedy(path: Path, text: str, line: int, complaint: str) -> None:
    """No half of a file is taken."""
    path.write_text(f"[s]\n{text}\n")

    with pytest.raises(ConfigError) as caught:
        read_schedules(path, RIGA, KNOWN)

    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert complaint in str(caught.value)


def test_schedule_whose_data_the_blueprint_does_not_take_is_refused(path: Path) -> None:
    """At the start, with line and path, and not each time that a job is due."""
    strict = StateMachineBlueprint("strict", input_schema={"required": ["kg"]})

    @strict.handler_for("only", is_start=True, is_end=True)
    async def only() -> None: ...

    path.write_text('[s]\nblueprint = "strict"\ndaily_at = "02:00"\ninitial_data = { full = true }\n')

    with pytest.raises(ConfigError, match=r"line 4: .*initial_data\.kg"):
        read_schedules(path, RIGA, {"strict": strict.compile()})


def test_command_lists_the_next_instants(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an engine, and without knowing its blueprints."""
    path.write_text(
        '[nightly]\nblueprint = "any"\ndaily_at = "02:30"\ntimezone = "Asia/Tokyo"\n'
        '[off]\nblueprint = "any"\ncron = "* * * * *"\nenabled = false\n'
    )
    monkeypatch.setattr("sys.argv", ["avtomatika", "schedules", "--file", str(path), "--count", "2"])

    with pytest.raises(SystemExit) as end:
        main()

    lines = capsys.readouterr().out.splitlines()
    assert not end.value.code
    assert lines[1].split()[:2] == ["nightly", "any"]
    assert [line.endswith("02:30:00+09:00") for line in lines[1:]] == [True, True]
    assert not any(line.startswith("off") for line in lines)


def test_command_without_a_file_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, no traceback."""
    monkeypatch.delenv("SCHEDULES_CONFIG_PATH", raising=False)
    monkeypatch.setattr("sys.argv", ["avtomatika", "schedules"])

    with pytest.raises(SystemExit) as end:
        main()

    assert end.value.code == 2
    assert "Set SCHEDULES_CONFIG_PATH" in capsys.readouterr().err
