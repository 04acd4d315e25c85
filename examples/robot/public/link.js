// One lasting connection to the peer "robot": it comes back when it was lost.

const AGAIN = 1000; // Milliseconds until the next attempt.

export class Link {
  #on;
  #peer;
  #connection;
  #timer;

  /** `on.message` is told of each message, `on.lost` of each end. */
  constructor(on) {
    this.#on = on;
    this.#begin();
  }

  send(message) {
    if (this.#connection?.open) this.#connection.send(message);
  }

  #begin() {
    const secure = location.protocol === "https:";
    const peer = new Peer({
      host: location.hostname,
      port: Number(location.port) || (secure ? 443 : 80),
      path: "/broker",
      secure,
      config: { iceServers: [] },
    });
    this.#peer = peer;
    peer.on("open", () => this.#connect());
    // The robot is not there yet, or the broker is not.
    peer.on("error", () => this.#lost(peer));
    peer.on("disconnected", () => this.#connection?.open || this.#lost(peer));
  }

  #connect() {
    const peer = this.#peer;
    const connection = peer.connect("robot", { reliable: true });
    this.#connection = connection;
    connection.on("data", (message) => this.#on.message(message));
    connection.on("close", () => this.#lost(peer));
  }

  #lost(peer) {
    if (peer !== this.#peer) return;
    this.#peer = this.#connection = undefined;
    this.#on.lost();
    peer.destroy();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#begin(), AGAIN);
  }
}
