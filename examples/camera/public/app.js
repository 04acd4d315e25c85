// One page that watches: it says that it is there, is called, and shows what comes. It comes back when it was lost.

const AGAIN = 1000; // Milliseconds until the next attempt, and between two looks at the numbers.

const $ = (id) => document.getElementById(id);
const video = $("video");

let peer;
let call;
let timer;
let last; // The numbers a second ago.

function begin() {
  const secure = location.protocol === "https:";
  const mine = new Peer({
    host: location.hostname,
    port: Number(location.port) || (secure ? 443 : 80),
    path: "/broker",
    secure,
    config: { iceServers: [] },
  });
  peer = mine;
  mine.on("open", () => {
    const connection = mine.connect("camera", { reliable: true });
    connection.on("data", ({ viewers }) => ($("viewers").textContent = viewers));
    connection.on("close", () => lose(mine));
  });
  mine.on("call", (incoming) => answer(mine, incoming));
  // The camera is not there yet, or the broker is not.
  mine.on("error", () => lose(mine));
  mine.on("disconnected", () => call?.open || lose(mine));
}

function answer(mine, incoming) {
  call = incoming;
  call.on("stream", (stream) => {
    video.srcObject = stream;
    $("sound").hidden = stream.getAudioTracks().length === 0;
  });
  call.on("close", () => lose(mine));
  call.answer();
  $("name").textContent = call.metadata.name;
}

function lose(lost) {
  if (lost !== peer) return;
  peer = call = last = undefined;
  lost.destroy();
  video.srcObject = null;
  show("lost", "Connection lost");
  for (const id of ["size", "rate", "bits", "viewers"]) $(id).textContent = "–";
  clearTimeout(timer);
  timer = setTimeout(begin, AGAIN);
}

function show(state, text) {
  const live = state === "live";
  $("status").dataset.state = state;
  $("status").textContent = text;
  $("waiting").hidden = live;
  $("snapshot").disabled = $("full").disabled = !live;
}

/** What of the last second is known: pictures and bits. */
async function measure() {
  const connection = call?.peerConnection;
  if (!connection) return;
  for (const report of (await connection.getStats()).values()) {
    if (report.type !== "inbound-rtp" || report.kind !== "video") continue;
    const now = { at: report.timestamp, frames: report.framesDecoded ?? 0, bytes: report.bytesReceived };
    if (last && now.at > last.at) {
      const seconds = (now.at - last.at) / 1000;
      $("rate").textContent = Math.round((now.frames - last.frames) / seconds);
      $("bits").textContent = Math.round(((now.bytes - last.bytes) * 8) / seconds / 1000);
    }
    last = now;
  }
}

video.addEventListener("playing", () => show("live", "Live"));
video.addEventListener("resize", () => {
  if (video.videoWidth) $("size").textContent = `${video.videoWidth} × ${video.videoHeight}`;
});

$("sound").addEventListener("click", () => {
  video.muted = !video.muted;
  $("sound").textContent = video.muted ? "Sound on" : "Sound off";
});

$("snapshot").addEventListener("click", () => {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const link = document.createElement("a");
  link.download = "camera.png";
  link.href = canvas.toDataURL("image/png");
  link.click();
});

$("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen()));

// Else the camera would notice after a while only.
addEventListener("pagehide", () => peer?.destroy());
setInterval(measure, AGAIN);
begin();
