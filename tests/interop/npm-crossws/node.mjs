// A node of crossws, on the Redis and the channel that it is told. It prints its port, and a line for each fault of its sync.

import { createServer } from "node:http";
import crossws from "crossws/adapters/node";
import { redis } from "crossws/sync";
import Redis from "ioredis";

const [, , port, channel] = process.argv;
const client = new Redis(Number(port), "127.0.0.1", { maxRetriesPerRequest: null });
client.on("error", () => {});

const websocket = crossws({
  sync: redis({ client, channel }),
  onError: (error, { stage }) => console.log(`${stage}: ${error.message}`),
  hooks: {
    open: (peer) => peer.subscribe("chat"),
    message(peer, message) {
      peer.publish("chat", typeof message.rawData === "string" ? message.rawData : message.uint8Array());
    },
  },
});
const server = createServer().on("upgrade", websocket.handleUpgrade);
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
