// What the two crossws servers have in common: the hooks, and the cheapest way to tell the paths apart.

export const options = {
  // One namespace a path, as by default, but the path goes into the context and is not parsed for each message.
  hooks: {
    upgrade(request) {
      const { pathname, searchParams } = new URL(request.url);
      return { context: { path: pathname, from: Number(searchParams.get("from")), to: Number(searchParams.get("to")) } };
    },
    open(peer) {
      if (peer.context.path === "/topics") {
        for (let number = peer.context.from; number < peer.context.to; number++) peer.subscribe(String(number));
      } else {
        peer.subscribe("room");
      }
      peer.send("ready");
    },
    message(peer, message) {
      const text = message.text();
      switch (peer.context.path) {
        case "/chat":
          peer.send(text);
          peer.publish("room", text);
          break;
        case "/echo":
          peer.send(text);
          break;
        case "/fan":
          peer.publish("room", text);
          break;
        case "/topics":
          peer.publish(text, text);
          break;
      }
    },
  },
};
