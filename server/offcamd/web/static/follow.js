// Following a run: its newest clip is played, and when that has been seen the one that is newest by then.
import { h, say, toast } from "./dom.js";
import { change, state, watch } from "./state.js";
import { split } from "./view.js";

/**
 * @import { Run } from "./api.js"
 * @typedef {{run: (id: string) => Run | undefined, atEnd: () => boolean, repeat: (loop: boolean) => void}} Page
 */

const HOLD_MS = 500; // so long the end of one is seen before the next begins

export class Follow {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    /** @type {string | null} */
    this.shown = null; // what is played, as it is followed; null where nothing is
    this.followed = ""; // the run
    this.button = h("button.quiet", { type: "button", hidden: true, "aria-pressed": "false", title: "Play the newest clip, and the next ones as they come (f)", onclick: () => this.toggle() }, "Follow");
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
    else if (!run.newest_clip && !run.live) toast("This run has no video.");
    else this.begin(run);
  }

  /** @param {Run} run */
  begin(run) {
    if (!run.newest_clip) toast("It has no video yet: the first one is played when it is there.");
    if (run.live) this.page.repeat(false);
    this.followed = run.id;
    this.shown = state().play.join();
    this.goOn(run);
    if (!run.live) this.stop(); // none is to come
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
  goOn({ id, newest_clip: newest, live }) {
    if (newest && this.shown !== `${id}:${newest.key}`) {
      const replace = state().play.length > 0;
      this.shown = `${id}:${newest.key}`;
      change({ play: [this.shown], asked: "", tour: "", at: null }, { replace });
    } else if (!live) this.stop(); // that was the last one
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
