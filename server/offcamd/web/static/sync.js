// One to four videos on one timeline. Time is in seconds; what stands still stands on a frame, and says which.

const TOLERANCE_FRAMES = 0.75; // drift that nobody sees
const JUMP_SECONDS = 0.3; // drift that is better jumped over than caught up with

export class Sync {
  /** @param {() => void} changed called whenever the position, or whether it plays, may have changed */
  constructor(changed) {
    this.changed = changed;
    this.tracks = [];
    this.position = 0;
    this.playing = false;
    this.loop = false;
    this.speed = 1;
    this.turn = 0; // what was begun before the last command is out of date
  }

  /** Take these: [{video, fps, frames, duration}]; the caller has set their src. */
  load(tracks) {
    this.stop();
    this.tracks = tracks.map((track) => ({ ...track, shown: 0 }));
    this.position = 0;
    for (const track of this.tracks) {
      track.video.muted = true;
      track.video.playbackRate = this.speed;
      this.observe(track);
    }
  }

  /** Know which frame is on the screen, from the browser itself where it can tell. */
  observe(track) {
    const { video } = track;
    if (!video.requestVideoFrameCallback) return;
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

  /** The frame, from 0, that a track shows. */
  shown(track) {
    return track.exact && track.video.readyState > 1 ? track.shown : this.place(track, this.position).frame;
  }

  place(track, seconds) {
    const frame = Math.max(0, Math.min(track.frames - 1, Math.floor(seconds * track.fps + 1e-4)));
    return { frame, seconds: (frame + 0.5) / track.fps }; // the middle of a frame is never its neighbour
  }

  /** Go to a position; goes on playing if it was. */
  seek(seconds) {
    const last = (this.frames - 0.5) / this.fps;
    this.position = Math.max(0, Math.min(last, seconds));
    for (const track of this.tracks) {
      track.video.currentTime = this.place(track, this.position).seconds;
      if (this.playing && track.video.paused) start(track.video);
    }
    this.changed();
  }

  /** Stand still, so many frames on. */
  step(frames) {
    this.pause();
    this.seek((Math.max(0, Math.min(this.frames - 1, this.frame + frames)) + 0.5) / this.fps);
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

  setSpeed(speed) {
    this.speed = speed;
    for (const { video } of this.tracks) video.playbackRate = speed;
  }

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
      return;
    }
    this.changed();
    requestAnimationFrame(() => this.follow(turn));
  }

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

function start(video) {
  video.play().catch((error) => {
    if (error.name !== "AbortError") console.warn("the browser refused to play:", error.message); // a pause came first: fine
  });
}

/** Resolves when a video can be played, or never will be. */
function ready(video) {
  if (video.readyState >= 3 || video.error) return Promise.resolve();
  return new Promise((resolve) => {
    for (const name of ["canplay", "error"]) video.addEventListener(name, resolve, { once: true });
  });
}
