// Up to nine videos on one timeline. Time is in seconds; what stands still stands on a frame, and says which.
import { endOf, leaderAt, placesOf } from "./alignment.js";

/**
 * @import { Alignment, Place } from "./alignment.js"
 * @typedef {{video: HTMLVideoElement, fps: number, frames: number, duration: number, label: HTMLElement, event?: number | null, id?: string, seed?: number | string | null,
 *   held?: (seconds: number) => number}} Film
 *   `duration` in seconds; `label` says which of its frames is shown; `event`: by which second it is aligned to others;
 *   `id`: RUN:KEY, and the seed of the reset, where they are known; `held`: the second of the picture that it has for one
 * @typedef {Film & Place & {shown: number, exact: boolean}} Track
 *   `shown`: the frame, from 0, that the browser said it shows last; `exact`: whether it says so
 */

const TOLERANCE_FRAMES = 0.75; // drift that nobody sees
const [SLOWEST, FASTEST] = [0.0625, 16]; // as browsers play
const JUMP_SECONDS = 0.3; // drift that is better jumped over than caught up with

export class Sync {
  /** @param {() => void} changed called whenever the position, or whether it plays, may have changed */
  constructor(changed) {
    this.changed = changed;
    /** @type {(failed: boolean) => void} */
    this.ended = () => {}; // what is to come once all has been played, or could not be
    /** @type {Track[]} */
    this.tracks = [];
    this.position = 0;
    this.playing = false;
    this.loop = false;
    this.newest = false; // whether the last frame of what is still recorded is shown, whichever that is by then
    this.speed = 1;
    /** @type {Alignment} */
    this.alignment = "start";
    this.turn = 0; // what was begun before the last command is out of date
  }

  /** @param {Film[]} films whose src the caller has set */
  load(films) {
    this.stop();
    const places = placesOf(films, this.alignment);
    this.tracks = films.map((film, place) => ({ ...film, ...places[place], shown: 0, exact: false }));
    this.position = 0;
    for (const track of this.tracks) {
      track.video.muted = true;
      track.video.playbackRate = this.rateOf(track);
      track.video.addEventListener("seeked", () => this.newest && this.tracks.includes(track) && track.video.currentTime < this.position - 0.5 / track.fps && this.toNewest());
      this.observe(track);
    }
  }

  /**
   * The only one has grown.
   * @param {number} frames that it has by now
   */
  grow(frames) {
    for (const track of this.tracks) Object.assign(track, { frames, duration: frames / track.fps });
    if (this.newest) this.toNewest();
    else this.changed();
  }

  /** Show the newest frame, and whatever comes, until told to do something else. */
  toNewest() {
    if (!this.newest) this.stop();
    this.newest = this.playing = true;
    const [track] = this.tracks;
    this.position = middle(track, track.frames - 1);
    if (!track.video.seeking) track.video.currentTime = this.position; // else after that: one that is cut short shows nothing
    this.changed();
  }

  /**
   * Lay the videos by another moment; it goes on where what leads stands.
   * @param {Alignment} alignment
   */
  align(alignment) {
    if (alignment === this.alignment) return;
    this.alignment = alignment;
    this.place();
  }

  /** Lay each where its alignment has it, as after its event has become known. */
  place() {
    if (!this.tracks.length) return;
    const { leader } = this;
    const there = this.localOf(leader, this.position);
    const places = placesOf(this.tracks, this.alignment);
    this.tracks.forEach((track, place) => { Object.assign(track, places[place]); });
    this.setSpeed(this.speed);
    this.seek(leader.offset + there / (leader.rate || 1));
  }

  /**
   * The second of a video at one of the timeline: below 0 before it begins, and beyond its end after that.
   * @param {Track} track
   * @param {number} position
   */
  localOf({ offset, rate }, position) {
    return (position - offset) * rate;
  }

  /** @param {Track} track */
  rateOf({ rate }) {
    return Math.max(SLOWEST, Math.min(FASTEST, this.speed * rate));
  }

  /**
   * Know which frame is on the screen, from the browser itself where it can tell.
   * @param {Track} track
   */
  observe(track) {
    const { video } = track;
    if (!("requestVideoFrameCallback" in video)) return;
    /** @type {VideoFrameRequestCallback} */
    const seen = (_now, { mediaTime }) => {
      if (!this.tracks.includes(track)) return;
      track.shown = Math.round(mediaTime * track.fps);
      track.exact = true;
      this.changed();
      video.requestVideoFrameCallback(seen);
    };
    video.requestVideoFrameCallback(seen);
  }

  get duration() {
    return Math.max(0, ...this.tracks.map(endOf));
  }

  get fps() {
    return Math.max(1, ...this.tracks.map((track) => track.fps));
  }

  /** The track that the others follow: of those that have begun the one that is over last. */
  get leader() {
    return leaderAt(this.tracks, this.position);
  }

  /** The frame of the common timeline. */
  get frame() {
    return Math.min(this.frames - 1, Math.floor(this.position * this.fps + 1e-4));
  }

  get frames() {
    return Math.max(1, Math.round(this.duration * this.fps));
  }

  /**
   * The frame, from 0, that a track shows.
   * @param {Track} track
   */
  shown(track) {
    return track.exact && track.video.readyState > 1 ? track.shown : frameAt(track, this.localOf(track, this.position));
  }

  /**
   * Go to a position; goes on playing if it was.
   * @param {number} seconds
   */
  seek(seconds) {
    const goesOn = this.newest;
    if (goesOn) this.stop();
    const last = (this.frames - 0.5) / this.fps;
    this.position = Math.max(0, Math.min(last, seconds));
    for (const track of this.tracks) {
      const wanted = middle(track, frameAt(track, this.localOf(track, this.position)));
      track.video.currentTime = track.held?.(wanted) ?? wanted;
      if (this.playing && !this.begun(track)) track.video.pause();
      else if (this.playing && track.video.paused) start(track.video);
    }
    this.changed();
    if (goesOn && this.frame < this.frames - 1) this.play();
  }

  /**
   * Stand still, so many frames on.
   * @param {number} frames
   */
  step(frames) {
    this.pause();
    this.seek(middle(this, Math.max(0, Math.min(this.frames - 1, this.frame + frames))));
  }

  /** @param {Track} track */
  begun(track) {
    return this.localOf(track, this.position) > -1e-6;
  }

  async play() {
    if (this.playing || !this.tracks.length) return;
    this.playing = true;
    const turn = ++this.turn;
    if (this.frame >= this.frames - 1) this.seek(0);
    this.changed();
    await Promise.all(this.tracks.map(({ video }) => ready(video)));
    if (turn !== this.turn) return;
    for (const track of this.tracks) if (!track.video.error && this.begun(track)) start(track.video);
    this.follow(turn);
  }

  /** Stand still, all on the same moment. */
  pause() {
    if (!this.playing) return;
    this.stop();
    this.seek(this.position);
  }

  stop() {
    this.playing = this.newest = false;
    this.turn += 1;
    for (const { video } of this.tracks) video.pause();
    this.changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed = speed;
    for (const track of this.tracks) track.video.playbackRate = this.rateOf(track);
  }

  /** @param {number} turn */
  follow(turn) {
    if (turn !== this.turn) return;
    const { leader } = this;
    if (leader.video.paused && !leader.video.ended && !leader.video.error) start(leader.video); // it has just begun
    this.position = Math.min(timeOf(leader), this.duration);
    for (const track of this.tracks) if (track !== leader) this.correct(track, leader);
    const later = this.tracks.filter((track) => endOf(track) > endOf(leader) + 1e-6);
    if (leader.video.ended && later.length) {
      this.position = Math.max(this.position, Math.min(...later.map(({ offset }) => offset))); // the next one leads
    } else if (leader.video.ended || leader.video.error) {
      this.stop();
      this.position = this.duration;
      if (this.loop && !leader.video.error) {
        this.seek(0);
        this.play();
        return;
      }
      this.seek(this.duration);
      this.ended(Boolean(leader.video.error));
      return;
    }
    this.changed();
    requestAnimationFrame(() => this.follow(turn));
  }

  /**
   * Keep a track with the leader, by playing it a little faster or slower, or by a jump.
   * @param {Track} track
   * @param {Track} leader
   */
  correct(track, leader) {
    const { video } = track;
    const wanted = this.localOf(track, timeOf(leader));
    if (video.ended || video.seeking || leader.video.seeking || wanted < 0 || wanted >= track.duration) return;
    if (video.paused && !video.error) start(video); // its time has come
    const usual = this.rateOf(track);
    const drift = video.currentTime - wanted;
    if (Math.abs(drift) > JUMP_SECONDS * Math.max(1, usual)) {
      video.currentTime = wanted;
      video.playbackRate = usual;
    } else if (Math.abs(drift) * track.fps > TOLERANCE_FRAMES) {
      video.playbackRate = Math.max(SLOWEST, Math.min(FASTEST, usual * (drift > 0 ? 0.92 : 1.08)));
    } else if (video.playbackRate !== usual) video.playbackRate = usual;
  }
}

/**
 * The second of the timeline at which a track stands.
 * @param {Track} track
 */
const timeOf = ({ offset, rate, video }) => offset + video.currentTime / (rate || 1);

/**
 * The frame, from 0, that a film has at a time; its last one after its end.
 * @param {Pick<Film, "fps" | "frames">} film
 * @param {number} seconds
 */
export const frameAt = ({ fps, frames }, seconds) => Math.max(0, Math.min(frames - 1, Math.floor(seconds * fps + 1e-4)));

/**
 * The second at which a video stands for another one that it may not have.
 * @param {Pick<TimeRanges, "length" | "start" | "end">} ranges that it has
 * @param {number} seconds
 * @param {number} half of a frame, in seconds
 */
export function heldAt(ranges, seconds, half) {
  for (let place = ranges.length - 1; place >= 0; place -= 1) {
    if (ranges.start(place) <= seconds) return Math.min(seconds, ranges.end(place) - half);
  }
  return ranges.length ? ranges.start(0) + half : seconds;
}

/**
 * The seconds at which a frame is half over: rounding never leads to its neighbour from there.
 * @param {Pick<Film, "fps">} film
 * @param {number} frame
 */
const middle = ({ fps }, frame) => (frame + 0.5) / fps;

/** @param {HTMLVideoElement} video */
function start(video) {
  video.play().catch((error) => {
    if (error.name !== "AbortError") console.warn("the browser refused to play:", error.message); // a pause came first: fine
  });
}

/**
 * Resolves when a video can be played, or never will be.
 * @param {HTMLVideoElement} video
 * @returns {Promise<unknown>}
 */
function ready(video) {
  if (video.readyState >= 3 || video.error) return Promise.resolve();
  return new Promise((resolve) => {
    for (const name of ["canplay", "error"]) video.addEventListener(name, resolve, { once: true });
  });
}
