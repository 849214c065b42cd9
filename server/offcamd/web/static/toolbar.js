// Controls that are one stop of the Tab key together: arrows lead from one to the next.

/** The controls in an element, which may be made anew at any time. */
export class Toolbar {
  /**
   * @param {HTMLElement} node
   * @param {string} label
   */
  constructor(node, label) {
    this.node = node;
    this.current = ""; // the one that Tab leads to
    node.setAttribute("role", "toolbar");
    node.setAttribute("aria-label", label);
    node.addEventListener("keydown", (event) => this.key(event));
    node.addEventListener("focusin", () => this.settle());
  }

  get items() {
    return [.../** @type {NodeListOf<HTMLButtonElement | HTMLSelectElement>} */ (this.node.querySelectorAll("button, select"))].filter((item) => !item.disabled);
  }

  /** To be called once they were made anew. */
  settle() {
    const { items } = this;
    const focused = items.find((item) => item === document.activeElement);
    const chosen = focused ?? items.find((item) => nameOf(item) === this.current) ?? items[0];
    if (focused) this.current = nameOf(focused);
    for (const item of items) item.tabIndex = item === chosen ? 0 : -1;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { items } = this;
    const at = items.findIndex((item) => item === document.activeElement);
    /** @type {Record<string, number>} */
    const places = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: items.length - 1 };
    if (at < 0 || places[event.key] === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    items[(places[event.key] + items.length) % items.length].focus();
  }
}

/** @param {HTMLElement} item */
const nameOf = (item) => item.getAttribute("aria-label") ?? item.textContent ?? "";
