// Making elements. Text goes in as text: nothing on this page is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

/**
 * What elements are filled with; nothing comes of what is false or not there.
 * @typedef {Node | string | false | null | undefined} Child
 * @typedef {Child | Child[] | (Child | Child[])[]} Children
 */
/**
 * The element that a tag with classes makes: "button.icon" a button.
 * @template {string} Tag
 * @typedef {Tag extends `${infer Name}.${string}` ? Made<Name> : Tag extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Tag] : never} Made
 */
/**
 * @template {Element} Target
 * @typedef {{[Name in keyof HTMLElementEventMap as `on${Name}`]?: (event: HTMLElementEventMap[Name] & {currentTarget: Target}) => void}} Listeners
 */
/**
 * What is false or not there is left out; what is true is there without a value.
 * @typedef {{[name: `aria-${string}` | `data-${string}`]: Attribute, dataset?: Record<string, string>} & {[Name in AttributeName]?: Attribute}} Attributes
 * @typedef {string | number | boolean | null | undefined} Attribute
 * @typedef {"alt" | "autocomplete" | "checked" | "decoding" | "disabled" | "disablepictureinpicture" | "download" | "height" | "hidden" | "href"
 *   | "id" | "loading" | "max" | "maxlength" | "min" | "muted" | "placeholder" | "playsinline" | "preload" | "role" | "scope" | "selected" | "spellcheck" | "step"
 *   | "tabindex" | "title" | "type" | "value" | "width"} AttributeName
 */

/**
 * h("button.icon", {type: "button", onclick: f}, "text", child, [more], null)
 * @template {string} Tag
 * @param {Tag} tag
 * @param {Attributes & Listeners<Made<Tag>>} attributes
 * @param {Children[]} children
 * @returns {Made<Tag>}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), /** @type {EventListener} */ (value));
    else if (key === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...there(children));
  return /** @type {Made<Tag>} */ (element);
}

/** @param {Children[]} children */
const there = (children) => children.flat(2).filter((child) => child !== null && child !== undefined && child !== false);

/**
 * Put these children in place of what an element holds.
 * @param {Element} element
 * @param {Children[]} children
 */
export function fill(element, ...children) {
  element.replaceChildren(...there(children));
}

/**
 * Have an element hold these children in this order; those that stand right already are not touched.
 * @param {Element} element
 * @param {Element[]} wanted
 */
export function arrange(element, wanted) {
  wanted.forEach((node, place) => {
    if (element.children[place] !== node) element.insertBefore(node, element.children[place] ?? null);
  });
  while (element.children.length > wanted.length) element.lastElementChild?.remove();
}

/**
 * Set an element's text only where it differs: no layout, no flicker, and a selection in it survives.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const PATHS = {
  play: "M8 5.5v13l10.5-6.5z",
  pause: "M7.5 5.5h3.2v13H7.5zM13.3 5.5h3.2v13h-3.2z",
  back: "M14.5 6v12L7 12zM17 6h2v12h-2z",
  forward: "M9.5 6v12l7.5-6zM5 6h2v12H5z",
  close: "M6.4 5L5 6.4l5.6 5.6L5 17.6 6.4 19l5.6-5.6 5.6 5.6 1.4-1.4-5.6-5.6L19 6.4 17.6 5 12 10.6z",
  previous: "M15.4 5.4L14 4l-8 8 8 8 1.4-1.4L8.8 12z",
  next: "M8.6 5.4L10 4l8 8-8 8-1.4-1.4 6.6-6.6z",
  loop: "M7 7h9V4l4.5 4L16 12V9H9v3H7zM17 17H8v3l-4.5-4L8 12v3h7v-3h2z",
  download: "M11 4h2v8l3-3 1.4 1.4L12 16l-5.400-5.600L8 9l3 3zM5 18h14v2H5z",
  link: "M10 13.5a3.500 3.500 0 0 0 5 0l3-3a3.540 3.540 0 0 0-5-5l-1 1 1.200 1.200 1-1a1.830 1.830 0 0 1 2.600 2.600l-3 3a1.830 1.830 0 0 1-2.600 0zM14 10.500a3.500 3.500 0 0 0-5 0l-3 3a3.540 3.540 0 0 0 5 5l1-1-1.200-1.200-1 1a1.830 1.830 0 0 1-2.600-2.600l3-3a1.830 1.830 0 0 1 2.600 0z",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z",
  sun: "M12 7.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9zM11 2h2v3h-2zM11 19h2v3h-2zM2 11h3v2H2zM19 11h3v2h-3zM4.200 5.600l1.400-1.400 2.100 2.100-1.400 1.400zM16.300 17.700l1.400-1.400 2.100 2.100-1.400 1.400zM4.200 18.400l2.100-2.100 1.400 1.400-2.100 2.100zM16.300 6.300l2.100-2.100 1.400 1.400-2.100 2.100z",
  check: "M9.500 17.600L4 12.100l1.400-1.400 4.100 4.100 9.100-9.100L20 7.100z",
  film: "M4 5h16v14H4zM6 7v2h2V7zm0 4v2h2v-2zm0 4v2h2v-2zM16 7v2h2V7zm0 4v2h2v-2zm0 4v2h2v-2zM10 7v10h4V7z",
  warning: "M12 3.500L1.800 20.500h20.400zM11 10h2v5h-2zM11 16.500h2v2h-2z",
  chevron: "M7.400 8.600L6 10l6 6 6-6-1.400-1.400L12 13.200z",
  words: "M4 5h16v14H4zM6 7v10h12V7zM7.500 8.500h6v1.500h-6zM7.500 11.200h4v1.500h-4z",
  pin: "M12 3l2.700 5.900 6.300 .700-4.700 4.300 1.300 6.300L12 17l-5.600 3.200 1.300-6.300L3 9.600l6.300-.700z",
  reset: "M12 5a7 7 0 1 1-6.700 9h2.100A5 5 0 1 0 12 7v3L7 6l5-4z",
};

/**
 * An icon that says nothing by itself: its button has the label.
 * @param {keyof typeof PATHS} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph");
  svg.dataset.icon = name;
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/**
 * A small shape around 0 0, as it is drawn on the canvas.
 * @param {string} path
 */
export function shape(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-6 -6 12 12");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

/**
 * A group of buttons of which one is pressed.
 * @template {string} T
 * @param {string} label
 * @param {[value: T, text: string, title?: string][]} options
 * @param {T} chosen
 * @param {(value: T) => void} choose
 */
export function segmented(label, options, chosen, choose) {
  return h(
    "div.segmented",
    { role: "group", "aria-label": label },
    options.map(([value, text, title]) =>
      h("button", { type: "button", "aria-pressed": String(value === chosen), title, onclick: () => choose(value) }, text),
    ),
  );
}

/**
 * A labelled select.
 * @param {string} label
 * @param {[value: string | number, text: string][]} options
 * @param {string | number} chosen
 * @param {(value: string) => void} choose
 */
export function select(label, options, chosen, choose) {
  const list = h(
    "select",
    { "aria-label": label, onchange: (event) => choose(event.currentTarget.value) },
    options.map(([value, text]) => h("option", { value, selected: String(value) === String(chosen) }, text)),
  );
  return h("label.select", {}, h("span", {}, label), list);
}

/**
 * Call f at most once per `wait` ms, the last call never lost.
 * @template {unknown[]} Given
 * @param {(...given: Given) => void} f
 * @param {number} wait
 * @returns {(...given: Given) => void}
 */
export function throttle(f, wait) {
  let timer = 0;
  let last = -Infinity;
  return (...given) => {
    clearTimeout(timer);
    const due = Math.max(0, last + wait - performance.now());
    timer = setTimeout(() => {
      last = performance.now();
      f(...given);
    }, due);
  };
}

/**
 * Say something once, at the foot of the window, to eyes and screen readers alike.
 * @param {string} text
 */
export function toast(text) {
  document.querySelector(".toast")?.remove();
  const note = h("div.toast", { role: "status" }, text);
  (document.querySelector("dialog[open]") ?? document.body).append(note);
  setTimeout(() => note.remove(), 4000);
}

/**
 * Copy to the clipboard, and say so.
 * @param {string} text
 * @param {string} what
 */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast(`Your browser does not let this page copy. ${what}: ${text}`);
  }
}

/** @param {string} text */
export const kbd = (text) => h("kbd", {}, text);

/** @type {(name: Parameters<typeof icon>[0], label: string, press: () => void, extra?: Attributes) => HTMLButtonElement} */
export const control = (name, label, press, extra = {}) => h("button.icon", { type: "button", "aria-label": label, title: label, onclick: press, ...extra }, icon(name));
