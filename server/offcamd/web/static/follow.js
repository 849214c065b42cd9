// Following a run: the picture of now of what it records, or else its newest clip; and when that has been seen the next.
import { h, say, toast } from "./dom.js";
import { playsLive } from "./live.js";
import { nowOf } from "./runlist.js";
import { change, state, watch } from "./state.js";
import { split } from "./view.js";

/**
 * @import { Run } from "./api.js"
 * @typedef {{run: (id: string) => Run | undefined, atEnd: () => boolean, repeat: (loop: boolean) => void, newest: () => void}} Page
 *   `newest`: show the picture of now, if what is played is being recorded
 */

const HOLD_MS = 500; // so long the end of one is seen before the next begins

export class Follow {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    /** @type {string | null} */
    this.shown = null; // what is played, as it is followed; null where nothing is
    this.followed = ""; // the run
    this.button = h("button.quiet", { type: "button", hidden: true, "aria-pressed": "false", title: "See the picture of now, and the next clips as they come (f)", onclick: () => this.toggle() }, "Follow");
    watch(() => this.look());
  }

  get on() {
    return this.shown !== null;
  }

  /** Follow the run that is shown, or no longer. */
  toggle() {
    if (this.on) {
      this.stop();
      return;
    }
    const run = this.here();
    if (!run) toast("Choose a run: then f plays its newest clip.");
    else if (!newestOf(run) && !run.live) toast("This run has no video.");
    else this.begin(run);
  }

  /** @param {Run} run */
  begin(run) {
    if (!newestOf(run)) toast("It has no video yet: the first one is played when it is there.");
    if (run.live) this.page.repeat(false);
    this.followed = run.id;
    this.shown = state().play.join();
    this.goOn(run);
    this.page.newest();
    if (!run.live) this.stop(); // none is to come
  }

  /** What is played is being recorded: it is followed until somebody wants to see something else. */
  join() {
    const run = this.here();
    if (!run) return;
    this.followed = run.id;
    this.shown = state().play.join();
    this.draw();
  }

  /** Somebody wants to see something else than what comes next. */
  stop() {
    this.shown = null;
    this.draw();
  }

  /** @param {Run} run that has changed */
  grown(run) {
    if (this.on && run.id === this.followed && (!state().play.length || this.page.atEnd())) this.goOn(run);
    if (run.id === this.here()?.id) this.draw();
  }

  /** What was played is over. */
  ended() {
    setTimeout(() => {
      const run = this.page.run(this.followed);
      if (this.on && run && this.page.atEnd()) this.goOn(run);
    }, HOLD_MS);
  }

  /** @param {Run} run whose newest clip is played, if it is not yet */
  goOn(run) {
    const newest = newestOf(run);
    if (newest && this.shown !== newest) {
      const replace = state().play.length > 0;
      this.shown = newest;
      change({ play: [newest], asked: "", tour: "", at: null }, { replace });
    } else if (!run.live) this.stop(); // that was the last one
    this.draw();
  }

  /** The view has changed: what somebody has chosen is not followed. */
  look() {
    if (this.on && (state().play.join() !== this.shown || state().tour)) this.shown = null;
    this.draw();
  }

  /** The run that is shown. */
  here() {
    const { play, runs } = state();
    return this.page.run(play.length === 1 ? split(play[0])[0] : (runs[0] ?? ""));
  }

  draw() {
    this.button.hidden = !(this.on || this.here()?.live) || state().play.length > 1;
    this.button.setAttribute("aria-pressed", String(this.on));
    say(this.button, this.on ? "Following" : "Follow");
  }
}

/**
 * What is played of a run that is followed: RUN:KEY, or nothing.
 * @param {Run} run
 */
function newestOf(run) {
  const { id, newest_clip: newest } = run;
  return (playsLive && nowOf(run)) || (newest ? `${id}:${newest.key}` : "");
}
