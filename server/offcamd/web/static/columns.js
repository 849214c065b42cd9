// Which columns of a table are shown: chosen by whoever looks, and remembered by this browser.
import { fill, h } from "./dom.js";

const KEY = "offcam-columns-"; // and the table

/**
 * Which columns are left out, as it was remembered: of those that there are.
 * @param {string | null} text
 * @param {string[]} names
 */
export const leftOut = (text, names) => (text ?? "").split(" ").filter((name) => names.includes(name));

/** @param {string} table */
function remembered(table) {
  try {
    return localStorage.getItem(KEY + table);
  } catch {
    return null; // storage may be forbidden: all are shown
  }
}

/** @type {(table: string, text: string) => void} */
function remember(table, text) {
  try {
    if (text) localStorage.setItem(KEY + table, text);
    else localStorage.removeItem(KEY + table);
  } catch {
    // it holds until the page goes
  }
}

/**
 * The choice, as boxes in a fold. An element around the table has the class `without-NAME` for each that is left out.
 * @param {string} table its name
 * @param {Element} around
 * @param {Record<string, string>} columns what each is called, by its name
 */
export function columnChoice(table, around, columns) {
  const names = Object.keys(columns);
  const out = new Set(leftOut(remembered(table), names));
  const apply = () => {
    for (const name of names) around.classList.toggle(`without-${name}`, out.has(name));
  };
  /** @type {(name: string, shown: boolean) => void} */
  const choose = (name, shown) => {
    if (shown) out.delete(name);
    else out.add(name);
    remember(table, [...out].join(" "));
    apply();
  };
  apply();
  const boxes = () => names.map((name) => h(/** @type {"label.select"} */ (`label.select.of-${name}`), {}, h("input", { type: "checkbox", checked: !out.has(name), onchange: (event) => choose(name, event.currentTarget.checked) }), h("span", {}, columns[name])));
  const list = h("div", { role: "group", "aria-label": "Columns that are shown" });
  return h("details.choice", { ontoggle: (event) => fill(list, event.currentTarget.open && boxes()) }, h("summary", {}, "Columns"), list);
}
