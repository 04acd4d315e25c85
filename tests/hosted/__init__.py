"""The adapter contract inside a foreign server: a real process that runs each test on its own event loop.

pytest collects the tests of the contract as ever (`tests/contract/test_hosted.py`). Their bodies run where the
connections are served: `process` starts the server with `application` and tells it over a Unix socket which test to
run; `application` serves the hub of that test and answers how it went. `servers` is the table of the servers.
"""
