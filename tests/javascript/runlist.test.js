import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrder, namesOf, nowOf } from "../../server/offcamd/web/static/runlist.js";

const run = (folder, more = {}) => ({ id: folder, folder, name: folder.split("/").at(-1), env_id: null, live: false, started: null, ...more });

test("live runs come first, then the newest", () => {
  const runs = [run("/b"), run("/old", { started: 1 }), run("/new", { started: 9 }), run("/live", { live: true, started: 2 }), run("/a")];
  assert.deepEqual(inOrder(runs).map(({ id }) => id), ["/live", "/new", "/old", "/a", "/b"]);
});

test("a run is called as the recorder says, and a session of it beside that", () => {
  const found = namesOf([{ id: "ab", title: "ppo/1" }, { id: "ab@2", title: "ppo/1" }, { id: "cd@all", title: "1" }]);
  assert.deepEqual([...found], [["ab", "ppo/1"], ["ab@2", "ppo/1 · session 2"], ["cd@all", "1 · all sessions"]]);
});

test("what a run records now is a clip of its own, as long as it is live", () => {
  assert.equal(nowOf({ id: "ab", live: true, recording_clip: "00-3" }), "ab:00-3");
  assert.equal(nowOf({ id: "ab@2", live: true, recording_clip: "00-3" }), "ab@2:00-3");
  assert.equal(nowOf({ id: "ab", live: false, recording_clip: "00-3" }), null); // its recorder was killed
  assert.equal(nowOf({ id: "ab", live: true, recording_clip: null }), null);
});
