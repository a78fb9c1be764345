"""What commands share in talking to a person."""

import time

import pytest

from steadystyle.cli.terminal import complain, note, print_json, print_table, progress, say


def test_the_time_left_of_work_that_goes_on_is_by_what_was_done_since(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with progress() as update:
        update("training", 900, 1000)  # resumed
        now = 60.0
        update("training", 910, 1000)
        now = 120.0
        update("comparing", 1, 5)
    assert capsys.readouterr().err.splitlines() == ["training: 910 of 1000, 9.0 min left", "comparing: 1 of 5"]


def test_control_characters_of_files_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\x1b[2J\x07\x9b\u202eb"
    complain(hostile)
    note(hostile)
    say(hostile)
    print_table([hostile], [[hostile]], hostile)
    print_json({hostile: hostile})
    printed = "".join(capsys.readouterr())
    assert printed.replace("\n", "").isprintable()
    assert "\\x1b[2J" in printed
