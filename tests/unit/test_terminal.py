"""What the command line prints is what was said."""

from __future__ import annotations

from dagster_project import terminal


def test_brackets_are_shown_as_they_are() -> None:
    with terminal.console.capture() as captured:
        terminal.say("pip install 'ledgerline[bench]'")
        terminal.table(("id", "why"), [("ch_1", "[red] was [bench]")])
    text = captured.get()
    assert "ledgerline[bench]" in text
    assert "[red] was [bench]" in text
    with terminal.errors.capture() as captured:
        terminal.errors.print("metadata[note] differs")
    assert "metadata[note]" in captured.get()
