// What is held goes to the robot ten times a second; what the robot says goes to the page.

import { Controls } from "./controls.js";
import { Link } from "./link.js";
import { View } from "./view.js";

const EVERY = 100; // Milliseconds. The robot stops after 500 without a word.

const view = new View();
const controls = new Controls();
const link = new Link({
  message(message) {
    if (message.type === "hello") view.furnish(message);
    else if (message.type === "state") view.show(message);
  },
  lost() {
    view.lose();
  },
});

function drive() {
  link.send({ type: "drive", ...controls.wheels(), at: performance.now() });
}

// At once when a key goes down or up, and again and again as long as this page lives.
controls.changed = drive;
setInterval(drive, EVERY);
