"""docs/compatibility.md, made of what the contract suite found on each server.

`results` collects while pytest runs and keeps them in `build/contract.json`; `page` writes the page of them, with
crossws's column from `crossws`. `make docs` does both.
"""
