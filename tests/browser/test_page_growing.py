"""A run that grows while somebody uses the page: what is about to be clicked stays, and an open list stays open."""

from __future__ import annotations

import pytest
from stage import Painted, film

import offcam
import runs
from going import going
from offcam_runs.run_ids import run_id
from waiting import wait_until

WATCH = """() => {
    window.replaced = [];
    const controls = "button, input, select, summary";
    new MutationObserver((changes) => {
        for (const node of changes.flatMap(({removedNodes}) => [...removedNodes])) {
            if (node.nodeType !== Node.ELEMENT_NODE || node.matches(".card")) continue; // clips come, and go
            const found = [...(node.matches(controls) ? [node] : []), ...node.querySelectorAll(controls)];
            const named = found.filter((each) => !each.matches(".frame")); // clips of the stages
            window.replaced.push(...named.map((each) => each.ariaLabel || each.textContent || each.type));
        }
    }).observe(document.body, {childList: true, subtree: true});
}"""
"""Notes each control that is taken away."""

LIST, CURVE = ".run-list li:has-text('live') .episodes", ".chart[data-episodes]"
"""Where it is seen how many episodes the run has, in the list and beside its curve."""


@pytest.mark.parametrize(
    ("place", "told"),
    [("/", LIST), ("/?statistics=1", LIST), ("/r/RUN", CURVE), ("/r/RUN/e/0", CURVE)],
    ids=["runs", "statistics", "run", "episode"],
)
def test_no_control_is_drawn_anew_as_a_run_grows(serve, endpoint, visit, tmp_path, monkeypatch, place, told):
    for folder in ("ppo/1", "dqn/0", "dqn/1"):
        runs.write(tmp_path / folder, [1.0, 2.0, 3.0])
    monkeypatch.setenv("OFFCAM_DIR", str(tmp_path))
    monkeypatch.setenv("OFFCAM_ADDR", endpoint.url)
    _, ready = serve()
    url = dict(word.split("=", 1) for word in ready.split() if "=" in word)["http"]
    run = tmp_path / "ppo" / "0"
    film(run, [3] * 24)  # of which there are stages
    env = offcam.record(Painted(3), str(run), every=1, if_exists="resume", encode="now")
    env.reset()
    with going(env, on=True):
        page = visit(url + place.replace("RUN", run_id(run))).page
        page.locator(told).first.wait_for(state="attached")

        def episodes():
            return int(page.locator(told).first.evaluate("node => node.dataset.episodes ?? node.textContent"))

        wait_until(lambda: episodes() > 24, "it is there, and live")
        page.evaluate(WATCH)
        for _ in range(4):
            before = episodes()
            wait_until(lambda before=before: episodes() > before, "the page says that the run grew")
        assert page.evaluate("replaced") == []
    env.close()
