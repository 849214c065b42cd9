// The page: what the recorder says goes into one place, and from there to the parts that show it.
import * as api from "./api.js";
import { FILTERS } from "./clipfilters.js";
import { Curves } from "./curves.js";
import { fill, icon, say, throttle, toast } from "./dom.js";
import { exported, made } from "./exported.js";
import { Follow } from "./follow.js";
import { total } from "./format.js";
import { Gallery } from "./gallery.js";
import { Health } from "./health.js";
import { Keys } from "./keys.js";
import { askForToken } from "./login.js";
import { Overview } from "./overview.js";
import { goOn } from "./parts.js";
import { Player } from "./player.js";
import { unrendered } from "./route.js";
import { baseOf, inOrder, namesOf, sessionOf } from "./runlist.js";
import { Runs } from "./runs.js";
import { Stages } from "./stages.js";
import { change, learn, state, watch } from "./state.js";
import { Tray } from "./tray.js";

/**
 * @import { Run } from "./api.js"
 * @import { Known } from "./tray.js"
 * @import { View } from "./view.js"
 */

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {string} id */
const dialog = (id) => /** @type {HTMLDialogElement} */ (element(id));

/** @type {Map<string, Run>} */
const runs = new Map(); // by id, as the recorder last said
/** @type {Map<string, string>} */
let names = new Map();
let loaded = false;
let daemon = true;

/** @param {string} id */
const nameOf = (id) => names.get(id) ?? id;
/** @type {Map<string, Known>} */
const known = new Map();
const health = new Health(element("health"), element("banner"));
const list = new Runs(element("runs"));
const overview = new Overview(element("overview"));
const gallery = new Gallery(element("gallery"), { open: (play) => change({ play, asked: "", at: null }), pinned, known });
const keys = new Keys(dialog("help"));
/** @type {Follow} */
const follow = new Follow({ run: (id) => runs.get(id), atEnd, repeat: (loop) => player.transport.repeat(loop), newest: () => player.newest() });
/** @type {Player} */
const player = new Player(element("player"), { pinned, follow, runName: nameOf, run: (id) => runs.get(id) ?? runs.get(baseOf(id)), runs: () => [...runs.values()], neighbours: (id) => gallery.neighbours(id) }, keys);
const stages = new Stages(element("stages"), element("tour"), { atEnd, follow: (run) => follow.begin(run) });
player.sync.ended = (failed) => {
  if (follow.on) follow.ended();
  else if (state().tour || failed || !goOn(player.shown, player.clip)) stages.ended(failed);
};
const tray = new Tray(element("tray"), known, nameOf);
const curves = new Curves(element("curves"), pick);

/** Whether what is played is over. */
function atEnd() {
  return !player.sync.playing && player.sync.frame === player.sync.frames - 1;
}

/** @type {import("./pinning.js").Pinned} */
function pinned(id, clip) {
  gallery.repin(id, clip);
  curves.refresh();
}

function chosen() {
  return state().runs.map((id) => runs.get(id)).filter((run) => run !== undefined);
}

/**
 * Ask for runs of which a session is shown that is not the newest: the recorder tells of those alone.
 * @param {string[]} ids
 */
async function loadSessions(ids) {
  for (const id of ids) {
    try {
      runs.set(id, await api.run(id));
    } catch (error) {
      toast(api.wordsOf(error));
      change({ runs: [...new Set(state().runs.map((other) => (other === id ? baseOf(id) : other)))] }, { replace: true });
    }
  }
  names = namesOf(runs.values());
  render();
}

function render() {
  if (!loaded) return;
  const unknown = state().runs.filter((id) => sessionOf(id) && runs.has(baseOf(id)) && !runs.has(id));
  if (unknown.length) {
    loadSessions(unknown); // which renders
    return;
  }
  const ordered = inOrder(runs.values());
  if (!state().runs.length && ordered.length === 1) {
    change({ runs: [ordered[0].id] }, { replace: true }); // which renders
    return;
  }
  const { runs: ids } = state();
  const here = chosen();
  list.show(ordered, ids, names);
  document.body.classList.toggle("no-runs", !ordered.length);
  const skip = /** @type {HTMLAnchorElement} */ (document.querySelector(".skip"));
  const toRuns = ordered.length > 0 && !ids.length;
  skip.setAttribute("href", toRuns ? "#runs" : "#gallery");
  say(skip, toRuns ? "Skip to the runs" : "Skip to the clips");
  document.body.classList.toggle("all-runs", ordered.length > 0 && !ids.length);
  if (!ordered.length && !ids.length) overview.empty(daemon);
  else if (ids.length && !here.length) overview.missing(ids, ordered.length > 0);
  else if (here.length) overview.run(here[0], nameOf(here[0].id), here.length - 1);
  const readable = here.filter((run) => !run.problem).map((run) => ({ ...run, name: nameOf(run.id) }));
  curves.show(readable.filter((run) => !run.plain)); // films alone have no curve
  stages.show(readable.find((run) => run.id === state().tab) ?? readable[0]);
  listClips();
  tray.show();
  if (!state().play.length) document.title = here.length ? `${nameOf(here[0].id)} · offcam` : ordered.length ? "Runs · offcam" : "offcam";
}

function listClips() {
  gallery.show(chosen().filter((run) => !run.problem || total(run.clips)).map((run) => ({ ...run, name: nameOf(run.id) })));
}

const renderSoon = throttle(numbers, 250);

/** Only numbers have changed: the list and the head, not the curves and the clips. */
function numbers() {
  const here = chosen();
  list.show(inOrder(runs.values()), state().runs, names);
  if (here.length) overview.run(here[0], nameOf(here[0].id), here.length - 1);
}

/**
 * What is played of an episode that is no mark: its video; else it is rendered, where it can be; else the nearest.
 * @param {string} runId
 * @param {number} number
 */
async function playable(runId, number) {
  const near = await api.nearest(runId, number);
  if (near.distance === 0 && near.clip) learn(`${runId}:${near.clip.key}`, number);
  if (near.exact || !runs.get(runId)?.replayable || !(await api.rendering(runId, number)).replayable) return near.clip?.key;
  player.asks = `${runId}:${unrendered(number)}`;
  return unrendered(number);
}

/**
 * The episode under a click on the curve.
 * @type {import("./chart.js").PickEpisode}
 */
async function pick(runId, number, count, key) {
  const asked = number + Math.floor((count - 1) / 2);
  try {
    if (key) learn(`${runId}:${key}`, asked);
    const play = key ?? (await playable(runId, asked));
    if (!play) toast("This run has no video yet that could be played.");
    else change({ play: [`${runId}:${play}`], asked: `${runId}:${asked}`, at: null });
  } catch (error) {
    toast(api.wordsOf(error));
  }
}

/** @type {(name: string, data: any) => void} */
function heard(name, data) {
  if (name === "stats") {
    daemon = true;
    health.show(data);
  } else if (name === "run") {
    const grown = state().runs.filter((id) => sessionOf(id) && baseOf(id) === data.id);
    if (loaded && grown.length) loadSessions(grown);
    const old = runs.get(data.id);
    runs.set(data.id, data);
    if (!old || Boolean(old.problem) !== Boolean(data.problem)) {
      names = namesOf(runs.values());
      render();
      return;
    }
    if (old.episodes !== data.episodes || JSON.stringify(old.clips) !== JSON.stringify(data.clips)) {
      curves.grown(data);
      player.side.grown(data);
    }
    stages.grown(data);
    gallery.grown(data);
    follow.grown(data);
    renderSoon();
  }
}

/** Ask for everything once; the events keep it up to date. */
async function load() {
  try {
    const answer = await api.runs();
    ({ daemon } = answer);
    if (daemon) health.waiting();
    else health.none(exported ? `exported on ${new Date(made * 1000).toLocaleDateString("en-GB", { dateStyle: "medium" })}` : "recordings on disk");
    runs.clear();
    for (const run of answer.runs) runs.set(run.id, run);
    names = namesOf(runs.values());
    loaded = true;
    render();
    if (state().play.length) {
      player.show();
      stages.follow();
    }
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status !== 0 && error.status !== 401) overview.problem("The recorder could not say which runs there are", error.message);
  }
}

function themeButton() {
  const button = element("theme");
  const draw = () => fill(button, icon(offcamTheme.shown() === "dark" ? "sun" : "moon"));
  button.addEventListener("click", () => offcamTheme.toggle());
  document.addEventListener("offcam-theme", draw);
  draw();
}

watch((changed) => {
  /** @param {(keyof View)[]} keys */
  const only = (...keys) => [...changed].every((key) => keys.includes(key));
  if (changed.has("play") || changed.has("asked") || changed.has("speed") || changed.has("pick") || changed.has("align")) player.show();
  if (changed.has("play") || changed.has("asked") || changed.has("tour")) stages.follow();
  if (only("at", "speed", "play", "asked", "align", "tour")) return;
  if (only("filter", "by", "turned", "wall", "statistics", "groups", "enough")) numbers();
  else if (only("clip", "outcome", "sort", "order", "as", ...FILTERS)) listClips();
  else if (only("pick")) {
    gallery.marks();
    tray.show();
  } else render();
});

keys.add("Stages", () => state().play.length < 2, stages.keys());
if (!exported) keys.add("A run that is recorded", () => state().play.length < 2, [{ keys: ["f"], says: "follow: the picture of now, or else the newest clip, and those that come", act: () => follow.toggle() }]);
keys.add("On the page", () => !state().play.length, [
  { keys: ["/"], says: "filter the runs", act: () => list.search() },
  ...(exported ? [] : [{ keys: ["s"], says: "pin the clip that is pointed at", act: () => gallery.pinHere() }]),
  { keys: ["x"], says: "play the clips that are chosen side by side", act: () => tray.play() },
]);
themeButton();
let connected = false;
const again = api.follow({
  event: heard,
  up() {
    health.up();
    if (connected) load(); // it was away: catch up
    connected = true;
  },
  down: (retryAt, why) => health.down(retryAt, why, () => again()),
});
document.addEventListener("offcam-login", () =>
  askForToken(dialog("login"), () => {
    load();
    again();
  }),
);
load();
