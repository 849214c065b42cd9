"""Which columns the tables have is chosen, and remembered."""

from __future__ import annotations

import pytest
from stage import playwright

import made
import runs
from waiting import wait_until

expect = playwright().expect
PLACE = "node => { const {left, right} = node.getBoundingClientRect(); return [Math.round(left), Math.round(right)]; }"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1360), ("dark", 1000)])
def test_a_column_of_the_runs_is_left_out_and_stays_so(view, visit, tmp_path, scheme, width):
    for name in ("a/0", "a/1", "b/0"):
        runs.write(tmp_path / name, [1.0, 2.0, 3.0])
    seen = visit(view(tmp_path), color_scheme=scheme, viewport={"width": width, "height": 700})
    page = seen.page
    row = page.locator(".run").first

    def right(which):
        return page.locator(which).first.evaluate(PLACE)[1]

    expect(row.locator(".updated")).to_be_visible()
    seen.shot(f"columns-all-{scheme}")
    page.locator("#runs .choice summary").click()
    seen.shot(f"columns-choice-{scheme}")
    for words in ("Episodes", "State", "Course"):
        page.locator("#runs .choice").get_by_label(words, exact=True).uncheck()
    page.locator("#runs .choice summary").click()
    for which in (".episodes", ".state-badge", ".spark"):
        expect(row.locator(which)).to_be_hidden()
    expect(page.get_by_role("button", name="Episodes", exact=True)).to_be_hidden()
    for column, cell in (("return", "last"), ("updated", "updated")):  # a head ends where its numbers do
        places = [f".column.{column}", f".run .{cell}"]
        wait_until(lambda places=places: abs(right(places[0]) - right(places[1])) <= 2, f"{column}: its head is above")
    seen.shot(f"columns-{scheme}")
    page.reload()
    expect(row.locator(".updated")).to_be_visible()
    expect(row.locator(".episodes")).to_be_hidden()
    page.locator("#runs .choice summary").click()
    expect(page.locator("#runs .choice").get_by_label("Episodes")).not_to_be_checked()
    page.locator("#runs .choice").get_by_label("Episodes").check()
    expect(row.locator(".episodes")).to_be_visible()


def test_so_has_the_table_of_clips(view, visit, tmp_path):
    made.make_run(tmp_path / "run", 41, 10, video=made.make_video(tmp_path / "video.mp4"))
    seen = visit(view(tmp_path / "run"))
    page = seen.page
    expect(page.locator("#gallery .choice")).to_be_hidden()
    page.get_by_role("button", name="Table").click()
    page.locator("#gallery .choice summary").click()
    page.locator("#gallery .choice").get_by_label("Seed").uncheck()
    page.locator("#gallery .choice").get_by_label("Kept as").uncheck()
    page.locator("#gallery").evaluate("node => node.scrollIntoView()")
    seen.shot("columns-clips-choice")
    page.locator("#gallery .choice summary").click()
    facts = page.locator(".card .facts").first
    expect(facts.locator(".seed")).to_be_hidden()
    expect(facts.locator(".return")).to_be_visible()
    page.reload()
    expect(page.locator(".card .facts .return").first).to_be_visible()
    expect(page.locator(".card .facts .seed").first).to_be_hidden()
    page.locator("#gallery").evaluate("node => node.scrollIntoView()")
    seen.shot("columns-clips")
