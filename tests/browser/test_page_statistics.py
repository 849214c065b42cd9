"""Groups of runs against each other, above the list of all runs."""

from __future__ import annotations

import pytest
from stage import PHONE, playwright

import runs
from commandline import only_json, run

expect = playwright().expect

SCORES = {"ppo": [60.0, 72, 81, 90, 150], "dqn": [40.0, 55, 70]}


def test_groups_are_compared_as_on_the_command_line(view, visit, tmp_path):
    for name, scores in SCORES.items():
        for seed, score in enumerate(scores):
            returns = [score * min(1, episode / 150) for episode in range(300)]
            runs.write(tmp_path / name / f"seed{seed}", returns, lengths=[10] * 300)
    seen = visit(view(tmp_path))
    page = seen.page
    page.get_by_role("button", name="Statistics").click()
    panel = page.get_by_role("region", name="Statistics")
    said = only_json(run("compare", tmp_path / "ppo", tmp_path / "dqn", "--json").stdout)
    rows = panel.locator("section").first.locator("tbody tr")
    expect(rows).to_have_count(2)
    order = [row.locator("td").first.inner_text().strip() for row in rows.all()]
    assert sorted(order) == ["dqn", "ppo"]
    for group in said["groups"]:
        cells = rows.nth(order.index(group["label"])).locator("td")
        expect(cells.nth(1)).to_have_text(str(group["runs"]))
        assert float(cells.nth(2).inner_text()) == pytest.approx(group["iqm"]["value"], rel=0.01)
        ends = [float(end) for end in cells.nth(3).inner_text().split(" to ")]
        assert ends == pytest.approx([group["iqm"]["low"], group["iqm"]["high"]], rel=0.01)
    expect(panel.locator(".told > .asked")).to_contain_text("dqn has 3 of the 5 runs")
    for figure in ("Sample efficiency: IQM of the scores, by steps", "Performance profiles: runs above it, by score"):
        drawn = panel.get_by_role("img", name=figure)
        expect(drawn.locator("canvas")).to_be_visible()
        expect(drawn.locator(".u-axis")).to_have_count(2)
    seen.page.screenshot(path=seen.shots / "statistics.png", full_page=True)
    panel.get_by_label("Threshold").fill("100")
    page.wait_for_url("**enough=100**")
    expect(panel.locator("th", has_text="Gap to 100")).to_be_visible()
    panel.get_by_role("checkbox", name="ppo").uncheck()
    page.wait_for_url("**groups=dqn**")
    expect(panel.get_by_role("status").first).to_contain_text("Choose two groups or more")
    panel.get_by_role("checkbox", name="ppo").check()
    expect(rows).to_have_count(2)
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.scrollWidth <= innerWidth")  # drawings follow
    page.screenshot(path=seen.shots / "statistics-phone.png", full_page=True)
