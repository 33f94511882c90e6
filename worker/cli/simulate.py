"""The command `simulate`: both carriers, for one's own tests."""

import asyncio
import json
from typing import Annotated

import typer

from worker.cli.output import answer, fail, say
from worker.runtime.shutdown import stop_requested
from worker.simulator import MAGIC_WORDS, Simulator


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 9480,
    api_key: Annotated[str, typer.Option(help="The key it accepts.")] = "IZI-simulator",
    stage_seconds: Annotated[float, typer.Option(min=0, help="How long a return stays in each status.")] = 5.0,
    label_seconds: Annotated[float, typer.Option(min=0, help="How long after creation the label is ready.")] = 0.0,
    token: Annotated[str, typer.Option(help="The token that ReturnPilot accepts.")] = "RP-simulator",  # noqa: S107
    rate_limit: Annotated[int, typer.Option(min=0, help="ReturnPilot's requests a minute; 0: no limit.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses and keys as one line of JSON.")] = False,
) -> None:
    """Serve the simulated carriers, for one's own tests; what the carriers do not document is made up."""

    async def work() -> None:
        simulator = Simulator(
            host,
            port,
            api_key=api_key,
            stage_seconds=stage_seconds,
            label_seconds=label_seconds,
            token=token,
            rate_limit=rate_limit,
        )
        with stop_requested() as stop:
            try:
                await simulator.start()
            except OSError as error:
                fail(f"error: cannot listen on {host}:{port}: {error.strerror or error}")
            carriers = {
                "izipack": {"base_url": simulator.url, "api_key": api_key},
                "returnpilot": {"base_url": simulator.returnpilot_url, "api_key": token},
            }
            if as_json:
                answer(json.dumps({**carriers, "control": f"{simulator.url}/simulator"}))
            else:
                for name, carrier in carriers.items():
                    answer(f"{name} at {carrier['base_url']}, key {carrier['api_key']}")
            say(f"returnpilot takes {rate_limit or 'any number of'} requests a minute")
            say(f"what they do can be scripted at {simulator.url}/simulator")
            say("words in a return's description or reference that change its fate:")
            for word, meaning in MAGIC_WORDS.items():
                say(f"  {word:20} {meaning}")
            await stop.wait()
            await simulator.stop()

    asyncio.run(work())
