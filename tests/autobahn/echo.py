"""The echo that the Autobahn test suite talks to: everything on, and room for its 16 MiB messages."""

from crosspeer import Deflate, Hooks, Hub, Limits, Message, Peer


class Echo(Hooks):
    def message(self, peer: Peer, message: Message) -> None:
        peer.send(message.data)


limits = Limits(max_message_size=32 * 1024 * 1024, max_queue_size=64 * 1024 * 1024, ping_interval=None)
hub = Hub(Echo(), limits=limits, compression=Deflate(threshold=0))
