// Numbers and times as people read them. A number that is not there is a dash. A unit is chosen for the number as it is
// written: what rounds to sixty seconds is a minute.

/**
 * @import { Counts } from "./api.js"
 * @typedef {number | null | undefined} Maybe
 */

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const NONE = "–";

/**
 * @param {unknown} value
 * @returns {value is number}
 */
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** @param {Maybe} value */
export const whole = (value) => (isNumber(value) ? WHOLE.format(value) : NONE);

/**
 * 1234567 → 1.2M; small ones in full.
 * @param {Maybe} value
 */
export const short = (value) => (isNumber(value) ? (Math.abs(value) < 10000 ? WHOLE : SHORT).format(value) : NONE);

/**
 * A return: about four digits, no false precision.
 * @param {Maybe} value
 */
export function amount(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (size >= 999.95) return WHOLE.format(value);
  if (size >= 100) return Number(value.toFixed(1)).toString();
  if (size >= 1 || size === 0) return Number(value.toFixed(2)).toString();
  return Number(value.toPrecision(3)).toString();
}

/**
 * A share: 0.905 → 90.5%
 * @param {Maybe} value
 */
export const percent = (value) => (isNumber(value) ? `${amount(100 * value)}%` : NONE);

/**
 * A span of seconds: 250 ms, 12.3 s, 4 min 10 s, 3 h 05 min, 2 d 4 h.
 * @param {Maybe} seconds
 */
export function span(seconds) {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 0.0005) return "0 s";
  if (seconds < 0.995) return `${Number((seconds * 1000).toPrecision(2))} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const rounded = Math.round(seconds);
  const minutes = Math.floor(rounded / 60);
  if (minutes < 60) return `${minutes} min ${String(rounded % 60).padStart(2, "0")} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/**
 * A position in a video: 0:03.40
 * @param {number} seconds
 */
export function clock(seconds) {
  const hundredths = Math.round(Math.max(0, seconds || 0) * 100);
  return `${Math.floor(hundredths / 6000)}:${((hundredths % 6000) / 100).toFixed(2).padStart(5, "0")}`;
}

/**
 * A tick on an axis of wall time.
 * @param {number} seconds
 * @param {number} step to the next tick
 */
export function timeTick(seconds, step) {
  if (step < 1) return `${Number(seconds.toFixed(2))}s`;
  const rounded = Math.round(seconds);
  if (rounded < 60 && step < 60) return `${rounded}s`;
  const minutes = Math.floor(rounded / 60);
  if (step < 60) return `${minutes}:${String(rounded % 60).padStart(2, "0")}`;
  if (minutes < 60) return `${minutes}m`;
  return `${Math.floor(minutes / 60)}h${minutes % 60 ? String(minutes % 60).padStart(2, "0") : ""}`;
}

/** @param {Maybe} value */
export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  let left = value;
  while (left >= 1023.5 && power < units.length - 1) {
    left /= 1024;
    power += 1;
  }
  return `${left.toFixed(left < 10 && power ? 1 : 0)} ${units[power]}`;
}

/**
 * How long ago, roughly.
 * @param {Maybe} epoch
 */
export function ago(epoch, now = Date.now() / 1000) {
  if (!isNumber(epoch)) return NONE;
  const seconds = Math.max(0, now - epoch);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(epoch * 1000).toISOString().slice(0, 10);
}

/** @param {Maybe} epoch */
export function moment(epoch) {
  if (!isNumber(epoch)) return NONE;
  const date = new Date(epoch * 1000);
  /** @param {number} value */
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

/**
 * The time of today, or the day.
 * @param {Maybe} epoch
 */
export const since = (epoch) => (isNumber(epoch) && new Date(epoch * 1000).toDateString() === new Date().toDateString() ? moment(epoch).slice(11) : moment(epoch).slice(0, 10));

/**
 * What the recorder says, as a sentence.
 * @param {string} text
 */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/**
 * 1 episode, 2 episodes
 * @param {Maybe} value
 * @param {string} noun
 */
export const count = (value, noun) => `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;

/**
 * What names an episode: its order of arrival in the run, and its number in its env where that is another.
 * @typedef {{number?: Maybe, num_envs?: number, env_index?: number, episode: number | null}} Named
 */

/**
 * What an episode is called: Episode 22, or, where several envs count their own, #101 · env 2 · episode 22
 * @param {Named} episode
 */
export function episodeTitle({ number, num_envs = 1, env_index = 0, episode }) {
  const own = `${num_envs > 1 ? `env ${env_index} · ` : ""}episode ${whole(episode)}`;
  if (!isNumber(number) || (num_envs < 2 && number === episode)) return own.charAt(0).toUpperCase() + own.slice(1);
  return `#${whole(number)} · ${own}`;
}

/**
 * What a clip is called: by the episode with which it begins, where anybody knows that.
 * @param {Named & {name: string, length: number | null, key?: string, part?: number, parts?: string[]}} clip
 */
export function clipTitle(clip) {
  const { name, length, key = "", part = 1, parts = [] } = clip;
  const title = length === null && !/-episode-\d/.test(name) ? name : episodeTitle(clip);
  if (parts.length > 1) return `${title} · part ${parts.indexOf(key) + 1} of ${parts.length}`;
  return part > 1 ? `${title} · part ${part}` : title;
}

/**
 * How an episode came to its end.
 * @param {{terminated: boolean, truncated: boolean}} episode
 */
export const ending = (episode) =>
  episode.terminated && episode.truncated ? "terminated and truncated" : episode.terminated ? "terminated" : episode.truncated ? "truncated" : "unfinished";

const SUCCESS_VALUES = ["is_success", "success"];

/**
 * The value by which a run's episodes say whether they succeeded.
 * @param {{values: string[]}} run
 */
export const successOf = ({ values }) => SUCCESS_VALUES.find((name) => values.includes(name)) ?? SUCCESS_VALUES[0];

/**
 * Whether an episode succeeded, by its env's own word; nothing where it did not say.
 * @param {Record<string, Maybe>} info
 */
export function outcomeOf(info) {
  const said = info[successOf({ values: Object.keys(info) })];
  return isNumber(said) ? (said ? "success" : "failure") : "";
}

/**
 * How the episode came to its end with which a clip begins: by its env's own word, else by its flags; nothing where nobody knows.
 * @param {Pick<import("./api.js").Clip, "info" | "state" | "partial" | "terminated" | "truncated" | "unfinished">} clip
 */
export function endOf({ info, state, partial, terminated, truncated, unfinished }) {
  const said = outcomeOf(info);
  if (said) return said;
  if (state === "aborted" || (partial && state !== "recording")) return "aborted";
  return terminated ? "terminated" : truncated ? "truncated" : unfinished ? "unfinished" : "";
}

/**
 * Why a clip's last episode came to no end, without the error itself.
 * @param {{unended: string}} clip
 */
export const reasonOf = ({ unended }) => unended.split(":")[0];

/** @param {Counts} counts */
export const total = (counts) => Object.values(counts).reduce((sum, value) => sum + value, 0);

/**
 * "3 credit, 1 lost"
 * @param {Counts} counts
 */
export const reasons = (counts) =>
  Object.entries(counts)
    .filter(([, value]) => value)
    .map(([reason, value]) => `${whole(value)} ${reason.replaceAll("_", " ")}`)
    .join(", ");

/**
 * What there is to say of a run that is sent to a tracker.
 * @param {import("./api.js").Sync} sync
 */
export function sendingOf(sync) {
  const behind = sync.behind_episodes + sync.behind_clips ? `, ${span(sync.lag_seconds)} behind` : "";
  const failed = sync.failures ? `, failed ${count(sync.failures, "time")}` : "";
  const sent = `Sent to ${sync.tracker}: ${count(sync.sent_episodes, "episode")}, ${count(sync.sent_clips, "video")}${behind}${failed}.`;
  if (sync.error) return `${sent} ${sentence(sync.error)}`;
  return behind && !sync.working ? `${sent} Nobody sends the rest: offcam sync does.` : sent;
}

/**
 * Whether it is known how many episodes a run has: not where it has videos that are over, and the end of none.
 * @param {Pick<import("./api.js").Run, "episodes" | "clips">} run
 */
export const isCounted = ({ episodes, clips }) => episodes > 0 || total(clips) === (clips.recording ?? 0);

/**
 * Whether a clip is over, and its video is not whole yet: frames wait to be encoded, or it is not known whether it is kept.
 * @param {Pick<import("./api.js").Clip, "state" | "length">} clip
 */
export const isBeingMade = ({ state, length }) => state === "recording" && length !== null;

/**
 * Why a clip has no video here, in words.
 * @param {Pick<import("./api.js").Clip, "file" | "place" | "state" | "length">} clip
 */
export function noVideo({ file, place, state, length }) {
  if (isBeingMade({ state, length })) return "This clip is over, and its video is being made. It is there in a moment.";
  if (state === "recording") return "This clip is still being recorded. Its video is there as soon as it ends.";
  return place && file ? `This video is on another host, at ${place}/${file}.` : "There is no video file for this clip.";
}
