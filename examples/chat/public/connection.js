// One lasting connection, made of as many WebSockets as it takes.

const FIRST_DELAY = 500;
const MAX_DELAY = 10_000;
const CONNECT_TIMEOUT = 10_000;
const STABLE_AFTER = 5_000;
const SERVICE_RESTART = 1012;

export class Connection {
  #url = null;
  #socket = null;
  #timer = 0;
  #attempts = 0;

  /**
   * @param onMessage called with each message, parsed
   * @param onState called with "connecting", "connected" or "reconnecting", and the time of the next attempt if one waits
   */
  constructor({ onMessage, onState }) {
    this.onMessage = onMessage;
    this.onState = onState;
    // The network is back: an open socket may be dead without knowing it.
    addEventListener("online", () => this.refresh());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && !this.#socket) this.refresh();
    });
  }

  /** Connect to a URL, and stay connected to it. The connection to the one before ends now. */
  open(url) {
    this.#url = url;
    this.#leave(this.#socket);
    this.#socket = null;
    this.refresh();
  }

  /** Replace the socket by a new one. The old one stays until the new one is open, so nobody sees us leave. */
  refresh(url = this.#url) {
    this.#url = url;
    this.#attempts = 0;
    if (url) this.#connect();
  }

  send(value) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(value));
  }

  #connect() {
    clearTimeout(this.#timer);
    const before = this.#socket;
    if (before?.readyState !== WebSocket.OPEN) this.onState(this.#attempts ? "reconnecting" : "connecting");
    if (before) before.onopen = before.onmessage = before.onclose = null;

    const socket = new WebSocket(this.#url);
    const tooLate = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    let opened = Infinity;
    this.#socket = socket;
    socket.onopen = () => {
      clearTimeout(tooLate);
      opened = Date.now();
      this.#leave(before);
      this.onState("connected");
    };
    socket.onmessage = ({ data }) => this.onMessage(JSON.parse(data));
    socket.onclose = ({ code }) => {
      clearTimeout(tooLate);
      this.#leave(before);
      this.#socket = null;
      if (code === SERVICE_RESTART || Date.now() - opened > STABLE_AFTER) this.#attempts = 0;
      this.#retryLater();
    };
  }

  /** Wait longer from attempt to attempt, each page another time, so that not all of them come at once. */
  #retryLater() {
    const most = Math.min(MAX_DELAY, FIRST_DELAY * 2 ** this.#attempts++);
    const delay = most * (0.4 + 0.6 * Math.random());
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.onState("reconnecting", Date.now() + delay);
  }

  #leave(socket) {
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}
