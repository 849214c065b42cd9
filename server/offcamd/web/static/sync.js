// One to four videos on one timeline. Time is in seconds; what stands still stands on a frame, and says which.

/**
 * @typedef {{video: HTMLVideoElement, fps: number, frames: number, duration: number, label: HTMLElement}} Film
 *   `duration` in seconds; `label` says which of its frames is shown
 * @typedef {Film & {shown: number, exact: boolean}} Track
 *   `shown`: the frame, from 0, that the browser said it shows last; `exact`: whether it says so
 */

const TOLERANCE_FRAMES = 0.75; // drift that nobody sees
const JUMP_SECONDS = 0.3; // drift that is better jumped over than caught up with

export class Sync {
  /** @param {() => void} changed called whenever the position, or whether it plays, may have changed */
  constructor(changed) {
    this.changed = changed;
    this.ended = () => {}; // what is to come once all has been played
    /** @type {Track[]} */
    this.tracks = [];
    this.position = 0;
    this.playing = false;
    this.loop = false;
    this.speed = 1;
    this.turn = 0; // what was begun before the last command is out of date
  }

  /** @param {Film[]} films whose src the caller has set */
  load(films) {
    this.stop();
    this.tracks = films.map((film) => ({ ...film, shown: 0, exact: false }));
    this.position = 0;
    for (const track of this.tracks) {
      track.video.muted = true;
      track.video.playbackRate = this.speed;
      this.observe(track);
    }
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
    return Math.max(0, ...this.tracks.map((track) => track.duration));
  }

  get fps() {
    return Math.max(1, ...this.tracks.map((track) => track.fps));
  }

  /** The track that lasts longest: the others follow it. */
  get leader() {
    return this.tracks.reduce((one, other) => (other.duration > one.duration ? other : one), this.tracks[0]);
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
    return track.exact && track.video.readyState > 1 ? track.shown : frameAt(track, this.position);
  }

  /**
   * Go to a position; goes on playing if it was.
   * @param {number} seconds
   */
  seek(seconds) {
    const last = (this.frames - 0.5) / this.fps;
    this.position = Math.max(0, Math.min(last, seconds));
    for (const track of this.tracks) {
      track.video.currentTime = middle(track, frameAt(track, this.position));
      if (this.playing && track.video.paused) start(track.video);
    }
    this.changed();
  }

  /**
   * Stand still, so many frames on.
   * @param {number} frames
   */
  step(frames) {
    this.pause();
    this.seek(middle(this, Math.max(0, Math.min(this.frames - 1, this.frame + frames))));
  }

  async play() {
    if (this.playing || !this.tracks.length) return;
    this.playing = true;
    const turn = ++this.turn;
    if (this.frame >= this.frames - 1) this.seek(0);
    this.changed();
    await Promise.all(this.tracks.map(({ video }) => ready(video)));
    if (turn !== this.turn) return;
    for (const track of this.tracks) if (!track.video.error) start(track.video);
    this.follow(turn);
  }

  /** Stand still, all on the same moment. */
  pause() {
    if (!this.playing) return;
    this.stop();
    this.seek(this.position);
  }

  stop() {
    this.playing = false;
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
    for (const { video } of this.tracks) video.playbackRate = speed;
  }

  /** @param {number} turn */
  follow(turn) {
    if (turn !== this.turn) return;
    const { leader } = this;
    this.position = Math.min(leader.video.currentTime, this.duration);
    for (const track of this.tracks) if (track !== leader) this.correct(track, leader);
    if (leader.video.ended || leader.video.error) {
      this.stop();
      this.position = this.duration;
      if (this.loop && !leader.video.error) {
        this.seek(0);
        this.play();
        return;
      }
      this.seek(this.duration);
      this.ended();
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
    if (video.ended || video.seeking || leader.video.seeking || this.position >= track.duration) return;
    const drift = video.currentTime - leader.video.currentTime;
    if (Math.abs(drift) > JUMP_SECONDS * Math.max(1, this.speed)) {
      video.currentTime = leader.video.currentTime;
      video.playbackRate = this.speed;
    } else if (Math.abs(drift) * track.fps > TOLERANCE_FRAMES) {
      video.playbackRate = this.speed * (drift > 0 ? 0.92 : 1.08);
    } else if (video.playbackRate !== this.speed) video.playbackRate = this.speed;
  }
}

/**
 * The frame, from 0, that a film has at a time; its last one after its end.
 * @param {Pick<Film, "fps" | "frames">} film
 * @param {number} seconds
 */
export const frameAt = ({ fps, frames }, seconds) => Math.max(0, Math.min(frames - 1, Math.floor(seconds * fps + 1e-4)));

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
