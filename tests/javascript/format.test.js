import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../../server/offcamd/web/static/format.js";

process.env.TZ = "UTC";

/** Each of `cases` is what is given, in a list, and what comes of it. */
function all(f, ...cases) {
  for (const [given, expected] of cases) assert.equal(f(...given), expected, `of ${given}`);
}

test("what is no number is a dash", () => {
  for (const f of [format.whole, format.short, format.amount, format.span, format.bytes, format.ago, format.moment])
    all(f, [[null], "–"], [[undefined], "–"], [[NaN], "–"], [[Infinity], "–"]);
});

test("counts are short where they are large", () => {
  all(format.whole, [[0], "0"], [[1234567], "1,234,567"]);
  all(format.short, [[9999], "9,999"], [[10000], "10K"], [[-1234567], "-1.2M"]);
  all(format.count, [[1, "episode"], "1 episode"], [[0, "episode"], "0 episodes"], [[2000, "step"], "2,000 steps"]);
});

test("returns have about four digits", () => {
  all(format.amount, [[0], "0"], [[-0.0001234], "-0.000123"], [[1.005], "1"], [[12.345], "12.35"], [[-123.45], "-123.5"]);
  all(format.amount, [[999.94], "999.9"], [[999.96], "1,000"], [[1234.5], "1,235"]);
});

test("spans of time", () => {
  all(format.span, [[0.0001], "0 s"], [[0.25], "250 ms"], [[1.5], "1.50 s"], [[12.34], "12.3 s"], [[250], "4 min 10 s"]);
  all(format.span, [[3 * 3600 + 301], "3 h 05 min"], [[52 * 3600], "2 d 4 h"]);
});

test("what rounds up to the next unit is written in it", () => {
  all(format.span, [[0.9996], "1.00 s"], [[9.996], "10.0 s"], [[59.97], "1 min 00 s"], [[119.7], "2 min 00 s"], [[3599.8], "1 h 00 min"]);
  all(format.clock, [[59.999], "1:00.00"], [[119.996], "2:00.00"]);
  all(format.timeTick, [[59.7, 1], "1:00"], [[119.6, 1], "2:00"], [[3599.9, 60], "1h"]);
  all(format.bytes, [[1023.9 * 1024], "1.0 MiB"]);
});

test("a position in a video", () => {
  all(format.clock, [[0], "0:00.00"], [[3.4], "0:03.40"], [[754.05], "12:34.05"], [[-1], "0:00.00"], [[NaN], "0:00.00"]);
});

test("ticks of wall time are as exact as their distance", () => {
  all(format.timeTick, [[0.25, 0.05], "0.25s"], [[30, 10], "30s"], [[90, 30], "1:30"], [[120, 60], "2m"], [[5400, 1800], "1h30"], [[7200, 3600], "2h"]);
});

test("bytes", () => {
  all(format.bytes, [[0], "0 B"], [[1023], "1023 B"], [[1024], "1.0 KiB"], [[20 * 1024 ** 2], "20 MiB"], [[3000 * 1024 ** 4], "3000 TiB"]);
});

test("moments", () => {
  all(format.ago, [[990, 1000], "just now"], [[1010, 1000], "just now"], [[400, 1000], "10 min ago"], [[0, 7200], "2 h ago"], [[0, 1e6], "1970-01-01"]);
  all(format.moment, [[1e9], "2001-09-09 01:46"]);
  assert.equal(format.since(1e9), "2001-09-09");
  assert.match(format.since(Date.now() / 1000), /^\d\d:\d\d$/);
});

test("what the recorder says becomes a sentence", () => {
  all(format.sentence, [["no such run"], "No such run."], [["was it moved?"], "Was it moved?"]);
});

test("a clip is called by its episode where anybody knows that", () => {
  const clip = { name: "rl-video-step-1000", episode: 0, length: null };
  assert.equal(format.clipTitle(clip), "rl-video-step-1000");
  assert.equal(format.clipTitle({ ...clip, length: 20, episode: 3 }), "Episode 3");
  assert.equal(format.clipTitle({ ...clip, name: "rl-video-episode-4", episode: 4 }), "Episode 4");
  assert.equal(format.clipTitle({ ...clip, part: 2 }), "rl-video-step-1000 · part 2");
  assert.equal(format.clipTitle({ ...clip, part: 3, key: "b", parts: ["a", "b"] }), "rl-video-step-1000 · part 2 of 2");
});

test("an episode of one of several envs is called by its order of arrival, its env and its number there", () => {
  const { episodeTitle } = format;
  assert.equal(episodeTitle({ number: 101, num_envs: 4, env_index: 2, episode: 22 }), "#101 · env 2 · episode 22");
  assert.equal(episodeTitle({ number: 0, num_envs: 4, env_index: 0, episode: 0 }), "#0 · env 0 · episode 0");
  assert.equal(episodeTitle({ number: 22, num_envs: 1, env_index: 0, episode: 22 }), "Episode 22");
  assert.equal(episodeTitle({ number: 101, num_envs: 1, env_index: 0, episode: 22 }), "#101 · episode 22");
  assert.equal(episodeTitle({ number: null, num_envs: 4, env_index: 2, episode: 22 }), "Env 2 · episode 22");
});

test("how an episode ended", () => {
  const ended = (terminated, truncated) => format.ending({ terminated, truncated });
  assert.deepEqual([ended(true, true), ended(true, false), ended(false, true), ended(false, false)], ["terminated and truncated", "terminated", "truncated", "unfinished"]);
});

test("whether an episode succeeded, where its env said so", () => {
  const outcomes = [{}, { distance: 1 }, { is_success: 1 }, { success: 0, distance: 1 }, { is_success: 0, success: 1 }, { is_success: null }].map(format.outcomeOf);
  assert.deepEqual(outcomes, ["", "", "success", "failure", "failure", ""]);
  assert.deepEqual([["distance", "success"], ["success", "is_success"], []].map((values) => format.successOf({ values })), ["success", "is_success", "is_success"]);
  assert.deepEqual([0, 0.905, 1, null].map(format.percent), ["0%", "90.5%", "100%", "–"]);
});

test("what was dropped, and why", () => {
  const dropped = { no_credit: 1200, lost: 1, stale: 0 };
  assert.equal(format.total(dropped), 1201);
  assert.equal(format.reasons(dropped), "1,200 no credit, 1 lost");
  assert.equal(format.reasons({}), "");
});

test("what is sent to a tracker, and what is not", () => {
  const sync = { tracker: "wandb", sent_episodes: 1200, sent_clips: 1, behind_episodes: 0, behind_clips: 0, lag_seconds: 0, failures: 0, error: "", working: false };
  assert.equal(format.sendingOf(sync), "Sent to wandb: 1,200 episodes, 1 video.");
  assert.equal(format.sendingOf({ ...sync, failures: 1 }), "Sent to wandb: 1,200 episodes, 1 video, failed 1 time.");
  const behind = { ...sync, behind_clips: 2, lag_seconds: 90, working: true };
  assert.match(format.sendingOf(behind), /, 1 video, .+ behind\.$/);
  assert.match(format.sendingOf({ ...behind, failures: 4, error: "HTTP Error 500" }), / behind, failed 4 times\. HTTP Error 500\.$/);
  assert.match(format.sendingOf({ ...behind, working: false }), / Nobody sends the rest: offcam sync does\.$/);
});

test("why a clip has no video here", () => {
  const clip = { file: "a.mp4", place: null, state: "final", length: null };
  assert.equal(format.noVideo(clip), "There is no video file for this clip.");
  assert.match(format.noVideo({ ...clip, state: "recording" }), /still being recorded/);
  assert.match(format.noVideo({ ...clip, state: "recording", length: 10 }), /over, and its video is being made/);
  assert.equal(format.noVideo({ ...clip, place: "node7:/runs/a" }), "This video is on another host, at node7:/runs/a/a.mp4.");
});
