// The form by which the clips of a run are filtered, which opens below the head of their list.
import { countOf, NO_FILTERS } from "./clipfilters.js";
import { fill, h, say, select, throttle } from "./dom.js";
import { change, state } from "./state.js";

/**
 * @import { Run } from "./api.js"
 * @import { View } from "./view.js"
 */

const WAIT_MS = 300; // while somebody types

export class FilterForm {
  constructor() {
    this.node = h("div.filters", { id: "clip-filters", role: "group", "aria-label": "Filter clips", hidden: true });
    this.button = h("button.quiet", { type: "button", "aria-expanded": "false", "aria-controls": "clip-filters", onclick: () => this.open(this.node.hidden === true) }, "Filters");
    this.shape = ""; // what there is to be filtered by
    this.touched = false;
    this.set = throttle((/** @type {Partial<View>} */ patch) => change(patch, { replace: true }), WAIT_MS);
  }

  /** @param {boolean} open */
  open(open) {
    this.touched = true;
    this.node.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.node.querySelector("input")?.focus();
  }

  /** @param {Run} run */
  show(run) {
    const view = state();
    const set = countOf(view);
    say(this.button, set ? `Filters (${set})` : "Filters");
    this.button.setAttribute("aria-pressed", String(set > 0));
    if (set && !this.touched) {
      this.node.hidden = false;
      this.button.setAttribute("aria-expanded", "true");
    }
    const values = [...new Set([...run.values, ...(view.value ? [view.value] : [])])];
    const shape = JSON.stringify([values, run.num_envs]);
    if (shape !== this.shape || !this.node.contains(document.activeElement)) this.draw(values, run.num_envs, view);
    this.shape = shape;
  }

  /** @type {(values: string[], envs: number, view: View) => void} */
  draw(values, envs, view) {
    /** @type {[string, string][]} */
    const ends = [["", "any"], ["terminated", "terminated"], ["truncated", "truncated"], ["aborted", "aborted"], ["unfinished", "unfinished"]];
    /** @type {[string, string][]} */
    const named = [["", "none"], ...values.map((name) => /** @type {[string, string]} */ ([name, name]))];
    fill(
      this.node,
      this.limits("Return", "rmin", "rmax", view),
      this.limits("Length", "lmin", "lmax", view),
      select("End", ends, view.end, (end) => change({ end: /** @type {View["end"]} */ (end) })),
      this.text("Kept as", "kept", "worst", view),
      this.text("Seed", "seed", "", view),
      envs > 1 && this.box("Env", "env", "", view),
      values.length > 0 && h("span.limits", {}, select("Value", named, view.value, (value) => change({ value, outcome: "" })), this.limits("", "vmin", "vmax", view)),
      h("label.select", {}, h("input", { type: "checkbox", checked: view.pinned, onchange: (event) => change({ pinned: event.currentTarget.checked }) }), h("span", {}, "Pinned")),
      h("button.quiet", { type: "button", onclick: () => change({ ...NO_FILTERS }) }, "Clear"),
    );
  }

  /** @type {(words: string, low: "rmin" | "lmin" | "vmin", high: "rmax" | "lmax" | "vmax", view: View) => HTMLElement} */
  limits(words, low, high, view) {
    return h("span.limits", { role: "group", "aria-label": words || "Value" }, words && h("span", {}, words), this.number(low, `${words || "Value"} of at least`, "least", view), "–", this.number(high, `${words || "Value"} of at most`, "most", view));
  }

  /** @type {(name: "rmin" | "lmin" | "vmin" | "rmax" | "lmax" | "vmax" | "env", label: string, placeholder: string, view: View) => HTMLInputElement} */
  number(name, label, placeholder, view) {
    return h("input", { type: "number", step: "any", "aria-label": label, placeholder, value: view[name], oninput: (event) => this.set({ [name]: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) }) });
  }

  /** @type {(words: string, name: "env", placeholder: string, view: View) => HTMLElement} */
  box(words, name, placeholder, view) {
    return h("label.select", {}, h("span", {}, words), this.number(name, "Env that is shown", placeholder, view));
  }

  /** @type {(words: string, name: "kept" | "seed", placeholder: string, view: View) => HTMLElement} */
  text(words, name, placeholder, view) {
    return h("label.select", {}, h("span", {}, words), h("input", { type: "text", "aria-label": words, placeholder, value: view[name], oninput: (event) => this.set({ [name]: event.currentTarget.value.trim() }) }));
  }
}
