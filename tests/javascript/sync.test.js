import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { frameAt, heldAt, Sync } from "../../server/offcamd/web/static/sync.js";

let waiting = []; // for the next picture of the screen
beforeEach(() => {
  waiting = [];
});
globalThis.requestAnimationFrame = (call) => waiting.push(call);
const nextPicture = () => {
  for (const call of waiting.splice(0)) call();
};
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** What is used of a <video>; it plays as far as it is told. */
class Video extends EventTarget {
  #time = 0;

  constructor(readyState) {
    super();
    Object.assign(this, { paused: true, ended: false, seeking: false, error: null, playbackRate: 1, readyState });
  }

  get currentTime() {
    return this.#time;
  }

  set currentTime(seconds) {
    this.#time = seconds;
    this.ended = false; // as a seek has it
  }

  async play() {
    this.paused = false;
  }

  pause() {
    this.paused = true;
  }
}

const film = (frames, fps = 30, readyState = 4) => ({ video: new Video(readyState), fps, frames, duration: frames / fps });

function loaded(...films) {
  const sync = new Sync(() => {});
  sync.load(films);
  return sync;
}

test("a time belongs to the frame that is shown then", () => {
  const pal = { fps: 25, frames: 50 };
  assert.deepEqual([0, 0.0399, 0.04, 0.059, 1.96, 2, 99, -1].map((seconds) => frameAt(pal, seconds)), [0, 0, 1, 1, 49, 49, 49, 0]);
  for (let frame = 0; frame < 3000; frame += 1) assert.equal(frameAt({ fps: 30, frames: 3000 }, frame / 30), frame);
});

test("a seek goes to the middle of a frame, and a shorter film keeps its last one", () => {
  const [long, short] = [film(60), film(20, 10)];
  const sync = loaded(long, short);
  sync.seek(1.51);
  assert.equal(sync.frame, 45);
  assert.equal(long.video.currentTime, 45.5 / 30);
  assert.equal(short.video.currentTime, 15.5 / 10);
  const [first, second] = [film(20), film(60)];
  loaded(first, second).seek(1.5);
  assert.equal(first.video.currentTime, 19.5 / 30);
  assert.equal(second.video.currentTime, 45.5 / 30);
});

test("steps are frames of the fastest film, and stop at both ends", () => {
  const sync = loaded(film(60), film(20, 10));
  const steps = [-1, 1, 1, 10, 1000, 1, -1].map((step) => {
    sync.step(step);
    return sync.frame;
  });
  assert.deepEqual(steps, [0, 1, 2, 12, 59, 59, 58]);
  assert.equal(sync.playing, false);
});

test("the film that lasts longest leads", () => {
  const films = [film(30), film(90), film(60)];
  const sync = loaded(...films);
  assert.equal(sync.leader.video, films[1].video);
  assert.equal(sync.frames, 90);
  assert.deepEqual([loaded().frames, loaded().frame, loaded().duration], [1, 0, 0]);
});

test("drift is caught up with, and a large one is jumped over", () => {
  const sync = loaded(film(90), film(90));
  const [leader, track] = sync.tracks;
  sync.setSpeed(2);
  const corrected = (time) => {
    leader.video.currentTime = 1;
    track.video.currentTime = time;
    sync.correct(track, leader);
    return [track.video.playbackRate, track.video.currentTime];
  };
  assert.deepEqual(corrected(1.1), [2 * 0.92, 1.1]);
  assert.deepEqual(corrected(0.9), [2 * 1.08, 0.9]);
  assert.deepEqual(corrected(1.02), [2, 1.02]); // less than a frame
  assert.deepEqual(corrected(0.3), [2, 1]);
  track.video.seeking = true;
  assert.deepEqual(corrected(0.3), [2, 0.3]);
});

test("aligned by their ends, the shorter film waits for its time", async () => {
  const sync = loaded(film(90), film(30));
  sync.align("end");
  const [long, short] = sync.tracks.map(({ video }) => video);
  sync.seek(1);
  assert.deepEqual([long.currentTime, short.currentTime], [30.5 / 30, 0.5 / 30]);
  sync.seek(2.5);
  assert.deepEqual([long.currentTime, short.currentTime], [75.5 / 30, 15.5 / 30]);
  sync.seek(0);
  sync.play();
  await settled();
  assert.deepEqual([long.paused, short.paused], [false, true]);
  long.currentTime = 2.1;
  nextPicture();
  assert.deepEqual([sync.position, short.paused], [2.1, false]);
});

test("aligned by a fraction, each plays as fast as it has to", () => {
  const sync = loaded(film(90), film(30));
  sync.align("fraction");
  sync.setSpeed(2);
  assert.deepEqual(sync.tracks.map(({ video }) => video.playbackRate), [2, 2 / 3]);
  sync.seek(1.5);
  assert.deepEqual(sync.tracks.map((track) => sync.shown(track)), [45, 15]);
  assert.equal(sync.frames, 90);
});

test("aligned by an event, the next film leads where the first one ends", async () => {
  const sync = loaded({ ...film(60), event: 2 }, { ...film(60), event: 0 });
  sync.align("event");
  const [first, second] = sync.tracks.map(({ video }) => video);
  assert.equal(sync.frames, 120);
  sync.play();
  await settled();
  first.currentTime = 2;
  first.ended = true;
  nextPicture();
  nextPicture();
  assert.deepEqual([sync.playing, second.paused, sync.leader.video === second], [true, false, true]);
  second.currentTime = 1;
  nextPicture();
  assert.equal(sync.position, 3);
  second.ended = true;
  nextPicture();
  assert.deepEqual([sync.playing, sync.frame], [false, 119]);
});

test("another alignment goes on at the same picture of what leads", () => {
  const sync = loaded(film(90), film(30));
  sync.seek(1.5);
  sync.align("end");
  assert.equal(sync.frame, 45);
  sync.align("start");
  assert.equal(sync.frame, 45);
});

test("it plays to the end, and stands on the last frame", async () => {
  const sync = loaded(film(30), film(60));
  const [short, long] = sync.tracks.map(({ video }) => video);
  sync.play();
  await settled();
  assert.deepEqual([sync.playing, short.paused, long.paused], [true, false, false]);
  long.currentTime = 1.2;
  nextPicture();
  assert.equal(sync.position, 1.2);
  long.ended = true;
  nextPicture();
  assert.deepEqual([sync.playing, sync.frame, waiting.length], [false, 59, 0]);
  sync.play();
  assert.equal(sync.frame, 0); // from the end it begins anew
});

test("where it repeats it begins anew by itself", async () => {
  const sync = loaded(film(30));
  sync.loop = true;
  sync.play();
  await settled();
  sync.tracks[0].video.ended = true;
  nextPicture();
  assert.deepEqual([sync.playing, sync.frame], [true, 0]);
});

test("a pause while a film is still loading holds", async () => {
  const sync = loaded(film(30), film(30, 30, 1));
  sync.play();
  sync.pause();
  sync.tracks[1].video.dispatchEvent(new Event("canplay"));
  await settled();
  assert.deepEqual(sync.tracks.map(({ video }) => video.paused), [true, true]);
  assert.equal(waiting.length, 0);
});

test("a film that cannot be played holds nobody up", async () => {
  const sync = loaded(film(60), film(30, 30, 0));
  const [good, bad] = sync.tracks.map(({ video }) => video);
  sync.play();
  bad.error = new Error("no video");
  bad.dispatchEvent(new Event("error"));
  await settled();
  assert.deepEqual([good.paused, bad.paused], [false, true]);
});

test("the frame is the browser's word where it gives it", () => {
  const told = film(30);
  told.video.requestVideoFrameCallback = (call) => (told.video.seen = call);
  const sync = loaded(told);
  assert.equal(sync.shown(sync.tracks[0]), 0);
  told.video.seen(0, { mediaTime: 7 / 30 });
  assert.equal(sync.shown(sync.tracks[0]), 7);
  const before = told.video.seen;
  sync.load([film(30)]);
  before(0, { mediaTime: 9 / 30 }); // of a film that is no longer shown
  assert.equal(sync.shown(sync.tracks[0]), 0);
});

test("what is recorded is at its newest frame until somebody seeks", async () => {
  const one = film(10);
  const sync = loaded(one);
  sync.toNewest();
  assert.deepEqual([sync.frame, sync.newest, sync.playing, one.video.paused], [9, true, true, true]);
  sync.grow(25);
  assert.deepEqual([sync.frame, sync.frames], [24, 25]);
  assert.equal(frameAt({ fps: 30, frames: 25 }, one.video.currentTime), 24);

  sync.step(-1);
  assert.deepEqual([sync.frame, sync.newest, sync.playing], [23, false, false]);
  sync.grow(40);
  assert.deepEqual([sync.frame, sync.frames], [23, 40]);

  sync.toNewest();
  sync.seek(0.5);
  await settled();
  assert.deepEqual([sync.frame, sync.newest, sync.playing, one.video.paused], [15, false, true, false]);
  sync.toNewest();
  assert.equal(one.video.paused, true);
  sync.pause();
  assert.deepEqual([sync.frame, sync.newest, sync.playing], [39, false, false]);
});

test("a seek to the newest frame is not cut short by the next one, which comes after it", () => {
  const one = film(10);
  const sync = loaded(one);
  sync.toNewest();
  const shown = one.video.currentTime;
  one.video.seeking = true;
  sync.grow(20);
  assert.equal(one.video.currentTime, shown);
  one.video.seeking = false;
  one.video.dispatchEvent(new Event("seeked"));
  assert.equal(frameAt({ fps: 30, frames: 20 }, one.video.currentTime), 19);
});

test("a film that has holes is sought where it has something", () => {
  const one = { ...film(90), held: (seconds) => Math.min(seconds, 0.75) };
  const sync = loaded(one);
  sync.seek(2);
  assert.deepEqual([sync.frame, one.video.currentTime], [60, 0.75]);
});

const ranges = (...spans) => ({ length: spans.length, start: (place) => spans[place][0], end: (place) => spans[place][1] });

test("where frames were dropped the one before stands for them", () => {
  const held = ranges([0, 1], [2, 3]);
  assert.deepEqual([0.25, 0.95, 1.5, 2, 2.5, 9].map((seconds) => heldAt(held, seconds, 0.125)), [0.25, 0.875, 0.875, 2, 2.5, 2.875]);
  assert.equal(heldAt(ranges([1, 2]), 0.5, 0.125), 1.125);
  assert.equal(heldAt(ranges(), 0.5, 0.125), 0.5);
});
