"""What is to be done before a process looks for its daemon."""

from __future__ import annotations

from offcam.connection import settings


def test_it_is_done_once_and_may_say_where_the_daemon_is(monkeypatch, tmp_path):
    monkeypatch.delenv("OFFCAM_ADDR", raising=False)
    asked = []

    def look() -> None:
        asked.append("once")
        monkeypatch.setenv("OFFCAM_ADDR", f"ipc://{tmp_path}/there.sock")

    settings.before_first_use(look)
    for _ in range(2):
        endpoint, named = settings.daemon_endpoint()
        assert (str(endpoint.path), named, asked) == (f"{tmp_path}/there.sock", True, ["once"])
