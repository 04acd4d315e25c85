"""Run the Autobahn test suite over both engines, and hold its verdicts against the expected ones.

    python tests/autobahn/run.py WSTEST FOLDER [--cases '1.*,9.3.*'] [--engines native,python] [--accept]

WSTEST is the suite's program, FOLDER where its reports go. It ends with status 1 where a verdict is not as expected.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE: Final = Path(__file__).parent
EXPECTED: Final = HERE / "expected.json"
"""Verdicts that are not OK, by engine and case: all others are to be OK."""

Verdicts = dict[str, str]


@asynccontextmanager
async def serving(engine: str) -> AsyncIterator[str]:
    """The echo in a process of its own, on a free port."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "crosspeer", "serve", "echo:hub", "--port", "0", "--engine", engine],
        cwd=HERE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            while not (found := re.search(rb"is on http://(\S+)", await process.stdout.readline())):
                pass
        # Whatever it still prints must not fill the pipe.
        reading = asyncio.create_task(process.stdout.read())
        yield f"ws://{found[1].decode()}"
        assert process.returncode is None, f"the server ended:\n{(await reading).decode()}"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def verdicts(wstest: str, folder: Path, engine: str, cases: list[str]) -> Verdicts:
    """What the suite says of each case. A case has a behaviour, and one of its closing."""
    folder = folder / engine
    folder.mkdir(parents=True, exist_ok=True)
    async with serving(engine) as url:
        spec = {
            "outdir": str(folder),
            "servers": [{"agent": engine, "url": url}],
            "cases": cases,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        with (folder / "wstest.log").open("wb") as log:
            suite = await asyncio.create_subprocess_exec(
                *[wstest, "-m", "fuzzingclient", "-s", str(folder / "spec.json")], stdout=log, stderr=log
            )
            try:
                await suite.wait()
            finally:
                if suite.returncode is None:
                    suite.kill()
    index = json.loads((folder / "index.json").read_text())[engine]
    return {case: _verdict(found) for case, found in index.items()}


def _verdict(found: dict[str, str]) -> str:
    behaviour, closing = found["behavior"], found["behaviorClose"]
    return behaviour if closing in ("OK", behaviour) else f"{behaviour}, closing {closing}"


def compare(engine: str, found: Verdicts, expected: Verdicts) -> list[str]:
    """What is not as expected."""
    return [
        f"{engine} {case}: {verdict}, expected {expected.get(case, 'OK')}"
        for case, verdict in sorted(found.items(), key=lambda pair: [int(part) for part in pair[0].split(".")])
        if verdict != expected.get(case, "OK")
    ]


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wstest")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", default="*")
    parser.add_argument("--engines", default="native,python")
    parser.add_argument("--accept", action="store_true", help="write what was found as what is expected")
    arguments = parser.parse_args()
    expected: dict[str, Verdicts] = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    wrong: list[str] = []
    for engine in arguments.engines.split(","):
        found = await verdicts(arguments.wstest, arguments.folder.resolve(), engine, arguments.cases.split(","))
        summary = ", ".join(f"{count} {verdict}" for verdict, count in Counter(found.values()).most_common())
        print(f"autobahn: {engine}: {len(found)} cases: {summary}", flush=True)
        if arguments.accept:
            others = {case: verdict for case, verdict in expected.get(engine, {}).items() if case not in found}
            expected[engine] = others | {case: verdict for case, verdict in sorted(found.items()) if verdict != "OK"}
        else:
            wrong += compare(engine, found, expected.get(engine, {}))
    if arguments.accept:
        EXPECTED.write_text(json.dumps(expected, indent=2) + "\n")
    print("\n".join(wrong) or "autobahn: as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
