import threading

import pytest

from offcamd.process.health import ENCODER, MOST_ERRORS, STORE, GuardedThread, Health


@pytest.fixture
def health():
    return Health()


@pytest.mark.parametrize("error", [ValueError("unforeseen"), SystemExit("unforeseen"), MemoryError("unforeseen")])
def test_what_is_survived_is_told_with_its_traceback_and_given_an_end(health, error, caplog):
    ended = []
    with health.survive(ENCODER, "a.mp4", ended.append):
        raise error
    assert ended == [error]
    assert health.unexpected_errors == {ENCODER: 1}
    assert health.recent_errors == [f"a.mp4: unexpected {error!r}"]
    assert health.problems == {}
    assert "Traceback" in caplog.text


def test_what_cannot_be_given_an_end_is_not_survived(health):
    def give_up(error):
        raise error

    with pytest.raises(ValueError, match="unforeseen"), health.survive(ENCODER, "a.mp4", give_up):
        raise ValueError("unforeseen")


def test_a_thread_that_ends_by_an_exception_is_known_to_have(health):
    def work():
        raise SystemExit(3)

    thread = GuardedThread(STORE, work, health, name="offcam-store")
    thread.start()
    thread.join()
    assert list(health.problems) == [STORE]
    for text in ("the store is dead", "offcam-store", "SystemExit(3)", "offcam stop"):
        assert text in health.problems[STORE]


def test_one_that_comes_to_its_end_is_no_problem(health):
    thread = GuardedThread(STORE, lambda: None, health, name="x")
    thread.start()
    thread.join()
    assert (health.problems, health.recent_errors) == ({}, [])


def test_the_first_reason_counts_and_the_last_errors_are_kept(health):
    health.down(STORE, "first")
    health.down(STORE, "second")
    assert health.problems == {STORE: "first"}
    for number in range(MOST_ERRORS + 5):
        health.note(str(number))
    assert health.recent_errors == [str(number) for number in range(5, MOST_ERRORS + 5)]


def test_other_threads_are_told_of_by_the_hook(health, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", health.thread_ended)

    def look():
        raise ValueError("unforeseen")

    thread = threading.Thread(target=look, name="offcam-look")
    thread.start()
    thread.join()
    assert health.unexpected_errors == {"other": 1}
    assert "offcam-look" in health.recent_errors[0]
