// Keys and buttons that are held, as speeds of two wheels.

const SAME = { w: "ArrowUp", a: "ArrowLeft", s: "ArrowDown", d: "ArrowRight" };
const WAYS = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], " ": [0, 0] };
const TURN = 0.55; // Of full speed.
const SLOW = 0.4;

export class Controls {
  /** Called when something else is held. */
  changed = () => {};
  #held = new Set();
  #slow = false;

  constructor() {
    addEventListener("keydown", (event) => this.#key(event, true));
    addEventListener("keyup", (event) => this.#key(event, false));
    // A key that is let go of elsewhere is not seen here.
    addEventListener("blur", () => this.#release());
    document.addEventListener("visibilitychange", () => this.#release());
    for (const button of document.querySelectorAll("[data-key]")) this.#take(button);
  }

  /** The speeds that are wanted, from -1 to 1. */
  wheels() {
    let ahead = 0;
    let turn = 0;
    if (!this.#held.has(" ")) {
      for (const key of this.#held) {
        ahead += WAYS[key][0];
        turn += WAYS[key][1] * TURN;
      }
    }
    const scale = (this.#slow ? SLOW : 1) / Math.max(1, Math.abs(ahead) + Math.abs(turn));
    return { left: (ahead + turn) * scale, right: (ahead - turn) * scale };
  }

  #take(button) {
    const key = button.dataset.key;
    button.addEventListener("pointerdown", (event) => {
      button.setPointerCapture(event.pointerId);
      this.#set(key, true);
    });
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(end, () => this.#set(key, false));
    }
  }

  #key(event, down) {
    this.#slow = event.shiftKey;
    const key = SAME[event.key.toLowerCase()] ?? event.key;
    if (!(key in WAYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    // No scrolling, and no click on the button that has the focus.
    event.preventDefault();
    this.#set(key, down);
  }

  #set(key, down) {
    if (this.#held.has(key) === down) return;
    if (down) this.#held.add(key);
    else this.#held.delete(key);
    document.querySelector(`[data-key="${key}"]`).classList.toggle("held", down);
    this.changed();
  }

  #release() {
    for (const key of [...this.#held]) this.#set(key, false);
  }
}
