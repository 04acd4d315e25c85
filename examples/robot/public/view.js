// The room from above, and the instruments beside it.

const TRAIL = 400; // Points that are kept of the way.
const TEXTS = {
  connecting: "Connecting",
  driving: "You are driving",
  watching: "Somebody else is driving",
  stopped: "No contact: stopped",
};

export class View {
  #canvas = document.getElementById("room");
  #paper = this.#canvas.getContext("2d");
  #hello;
  #state;
  #trail = [];
  #colours;

  constructor() {
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#resize());
  }

  furnish(hello) {
    this.#hello = hello;
    this.#trail = [];
    this.#canvas.style.aspectRatio = `${hello.room.width} / ${hello.room.height}`;
    this.#resize();
  }

  show(state) {
    this.#state = state;
    const last = this.#trail.at(-1);
    if (!last || Math.hypot(last.x - state.x, last.y - state.y) > 0.04) {
      this.#trail.push({ x: state.x, y: state.y });
      if (this.#trail.length > TRAIL) this.#trail.shift();
    }
    this.#tell(!state.driving ? "watching" : state.contact ? "driving" : "stopped");
    text("speed", state.speed.toFixed(2));
    text("ahead", state.ranges[0].toFixed(2));
    text("heading", Math.round(((state.heading * 180) / Math.PI + 360) % 360));
    text("delay", state.echo === null ? "–" : Math.max(0, performance.now() - state.echo).toFixed(0));
    for (const wheel of ["left", "right"]) {
      const share = state[wheel] / this.#hello.robot.topSpeed;
      const bar = document.getElementById(wheel);
      bar.style.left = `${Math.min(50, 50 + share * 50)}%`;
      bar.style.width = `${Math.abs(share) * 50}%`;
    }
    requestAnimationFrame(() => this.#draw());
  }

  lose() {
    this.#tell("connecting");
  }

  #tell(state) {
    const status = document.getElementById("status");
    if (status.dataset.state === state) return;
    status.dataset.state = state;
    status.textContent = TEXTS[state];
  }

  #resize() {
    const style = getComputedStyle(document.documentElement);
    this.#colours = new Proxy({}, { get: (_, name) => style.getPropertyValue(`--${name}`).trim() });
    const box = this.#canvas.getBoundingClientRect();
    this.#canvas.width = Math.round(box.width * devicePixelRatio);
    this.#canvas.height = Math.round(box.height * devicePixelRatio);
    this.#draw();
  }

  #draw() {
    if (!this.#hello || !this.#state) return;
    const { room } = this.#hello;
    const paper = this.#paper;
    const scale = Math.min(this.#canvas.width / room.width, this.#canvas.height / room.height);
    paper.setTransform(scale, 0, 0, scale, 0, 0);
    this.#floor(room);
    this.#sight();
    this.#way();
    this.#furniture(room);
    this.#robot();
  }

  #floor({ width, height }) {
    const paper = this.#paper;
    paper.fillStyle = this.#colours.card;
    paper.fillRect(0, 0, width, height);
    paper.strokeStyle = this.#colours.line;
    paper.lineWidth = 0.008;
    paper.beginPath();
    for (let x = 1; x < width; x++) paper.moveTo(x, 0), paper.lineTo(x, height);
    for (let y = 1; y < height; y++) paper.moveTo(0, y), paper.lineTo(width, y);
    paper.stroke();
  }

  #sight() {
    const { x, y, heading, ranges } = this.#state;
    const paper = this.#paper;
    const glow = paper.createRadialGradient(x, y, 0, x, y, this.#hello.robot.range);
    glow.addColorStop(0, this.#colours["sight-near"]);
    glow.addColorStop(1, this.#colours["sight-far"]);
    paper.fillStyle = glow;
    paper.beginPath();
    const ends = ranges.map((range, n) => {
      const angle = heading + (n * 2 * Math.PI) / ranges.length;
      return [x + range * Math.cos(angle), y + range * Math.sin(angle), range];
    });
    for (const [endX, endY] of ends) paper.lineTo(endX, endY);
    paper.closePath();
    paper.fill();
    paper.fillStyle = this.#colours.persimmon;
    for (const [endX, endY, range] of ends) {
      if (range >= this.#hello.robot.range) continue;
      paper.beginPath();
      paper.arc(endX, endY, 0.035, 0, 7);
      paper.fill();
    }
  }

  #way() {
    const paper = this.#paper;
    paper.strokeStyle = this.#colours.water;
    paper.lineWidth = 0.05;
    paper.lineCap = "butt";
    this.#trail.forEach((point, n) => {
      if (n === 0) return;
      paper.globalAlpha = (0.6 * n) / this.#trail.length;
      paper.beginPath();
      paper.moveTo(this.#trail[n - 1].x, this.#trail[n - 1].y);
      paper.lineTo(point.x, point.y);
      paper.stroke();
    });
    paper.globalAlpha = 1;
  }

  #furniture({ furniture }) {
    const paper = this.#paper;
    for (const { x, y, width, height } of furniture) {
      paper.fillStyle = this.#colours.shade;
      paper.beginPath();
      paper.roundRect(x + 0.05, y + 0.07, width, height, 0.08);
      paper.fill();
      paper.fillStyle = this.#colours.furniture;
      paper.beginPath();
      paper.roundRect(x, y, width, height, 0.08);
      paper.fill();
    }
  }

  #robot() {
    const { x, y, heading, bumped, contact } = this.#state;
    const { radius, track } = this.#hello.robot;
    const paper = this.#paper;
    paper.save();
    paper.translate(x, y);
    paper.fillStyle = this.#colours.shade;
    circle(paper, 0.03, 0.05, radius);
    paper.rotate(heading);
    paper.fillStyle = this.#colours.ink;
    for (const side of [-1, 1]) {
      paper.beginPath();
      paper.roundRect(-0.14, (side * track) / 2 + (side > 0 ? 0 : -0.09), 0.28, 0.09, 0.03);
      paper.fill();
    }
    paper.fillStyle = bumped ? this.#colours.persimmon : this.#colours.water;
    circle(paper, 0, 0, radius * 0.92);
    paper.fillStyle = this.#colours["on-water"];
    paper.globalAlpha = contact ? 1 : 0.45;
    paper.beginPath();
    paper.moveTo(radius * 0.62, 0);
    paper.lineTo(-radius * 0.3, -radius * 0.45);
    paper.lineTo(-radius * 0.08, 0);
    paper.lineTo(-radius * 0.3, radius * 0.45);
    paper.closePath();
    paper.fill();
    paper.restore();
  }
}

function circle(paper, x, y, radius) {
  paper.beginPath();
  paper.arc(x, y, radius, 0, 7);
  paper.fill();
}

function text(id, value) {
  document.getElementById(id).textContent = value;
}
