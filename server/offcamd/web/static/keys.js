// The keys of the page: one list, by which they are dispatched and which `?` shows.
import { fill, h } from "./dom.js";

/**
 * @typedef {{keys: string[], says: string, act: (event: KeyboardEvent) => void}} Key
 *   `keys` as KeyboardEvent.key has them; each is shown
 * @typedef {{title: string, when: () => boolean, keys: Key[]}} Group where they count, and when
 */

/** @type {Record<string, string>} */
const NAMES = { " ": "space", ArrowLeft: "←", ArrowRight: "→", Home: "home", End: "end", Escape: "esc" };
const PRESSED_BY_SPACE = ["BUTTON", "A", "SELECT", "SUMMARY"];
const TYPED_INTO = ["search", "text", "password", "number"];

export class Keys {
  /** @param {HTMLDialogElement} dialog says which there are */
  constructor(dialog) {
    this.dialog = dialog;
    /** @type {Group[]} */
    this.groups = [];
    this.add("Everywhere", () => true, [{ keys: ["?"], says: "which keys there are", act: () => this.help() }]);
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @type {(title: Group["title"], when: Group["when"], keys: Key[]) => void} */
  add(title, when, keys) {
    this.groups.push({ title, when, keys });
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const typed = event.getModifierState("AltGraph"); // brackets need it on many keyboards
    if (((event.ctrlKey || event.metaKey || event.altKey) && !typed) || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (taken(event)) return;
    const found = keyFor(this.groups, event.key);
    if (!found) return;
    event.preventDefault();
    found.act(event);
  }

  help() {
    const groups = this.groups.map(({ title, keys }) => [
      h("h3", {}, title),
      h("dl", {}, keys.map(({ keys, says }) => h("div", {}, h("dt", {}, keys.map((key) => h("kbd", {}, nameOf(key)))), h("dd", {}, says)))),
    ]);
    const close = h("button.primary", { type: "button", onclick: () => this.dialog.close() }, "Close");
    fill(this.dialog, h("h2", { id: "help-title" }, "Keys"), groups, close);
    this.dialog.showModal();
  }
}

/**
 * What a key does: the first that counts now.
 * @type {(groups: Group[], key: string) => Key | null}
 */
export function keyFor(groups, key) {
  const there = groups.filter(({ when }) => when()).flatMap(({ keys }) => keys);
  return there.find(({ keys }) => keys.includes(key)) ?? null;
}

/** @param {string} key */
export const nameOf = (key) => NAMES[key] ?? key.toLowerCase();

/**
 * Whether what has the focus wants a key for itself.
 * @param {KeyboardEvent} event
 */
function taken({ target, key }) {
  if (!(target instanceof Element)) return false;
  const { tagName } = target;
  if (tagName === "TEXTAREA" || (target instanceof HTMLInputElement && TYPED_INTO.includes(target.type))) return key !== "Escape";
  if (tagName === "SELECT" && (key.startsWith("Arrow") || key.length === 1)) return key !== "?";
  return key === " " && PRESSED_BY_SPACE.includes(tagName);
}
