"""What the nodes of the fault tests serve: rooms whose members hear everything, and are told what they may have missed.

Texts of the server are `topic publisher session number`, as they were published, or JSON arrays:

    ["came", topic, recovered, position]    where a subscription stands; null for a topic without history
    ["ok", topic, session, number]          the node has taken a publication
    ["told", what]                          messages of other nodes may be missing
"""

from __future__ import annotations

from crosspeer import History, Hooks, Hub, Message, Peer


class Room(Hooks):
    async def open(self, peer: Peer) -> None:
        query = peer.request.query_params
        for topic, since in zip(query.getlist("topic"), query.getlist("since"), strict=True):
            recovery = peer.subscribe(topic, since=since or None)
            if recovery is not None:
                await recovery
            position = None if recovery is None else str(recovery.position)
            peer.send(["came", topic, recovery is not None and recovery.recovered, position])

    def message(self, peer: Peer, message: Message) -> None:
        text = message.text()
        topic, _, session, number = text.split(" ")
        if topic.startswith("kept/"):
            # Its publisher hears it too, with its position: that is what it takes for an answer.
            hub.publish(topic, text, namespace=peer.namespace)
        else:
            peer.publish(topic, text)
            peer.send(["ok", topic, int(session), int(number)])


def tell(outage: str) -> None:
    for peers in hub.peers.values():
        for peer in peers:
            peer.send(["told", outage])


hub = Hub(Room(), outage=tell, history={"kept/*": History(size=5000, seconds=120, bytes=8 * 1024 * 1024, tagged=True)})
