"""Applications of frameworks as their users build them, with peers mounted at /ws, and what must hold in all of them.

Each has: a login that keeps the user in the framework's session, handlers that publish and list peers, something of
its own that refuses whoever says `x-banned`, and a lifespan that leaves a greeting, where its server has one.
"""
