"""Makes the pictures of docs/operate/page.md from a day of the simulated carriers, in a real browser.

`.venv/bin/pip install playwright pillow` first, and Debian's `chromium`; then
`.venv/bin/python -m tests.documents.screenshots`. A person looks at them afterwards: no word may be broken or cut.
"""

import asyncio
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from tests.browser.scene import IN_DOUBT, ON_ITS_WAY, Day, shop_day
from tests.documents.pages import ROOT
from tests.process.running import until
from tests.web.served import ACTOR

_PICTURES = (  # name, width in pixels, colours, address
    ("overview", 1280, "light", "/"),
    ("return", 1280, "light", f"/returns/default/{ON_ITS_WAY}"),
    ("preview", 1280, "light", f"/returns/default/{IN_DOUBT}/resolve?as=found&number=9RET10012"),
    ("narrow", 360, "dark", f"/returns/default/{IN_DOUBT}"),
)


async def main() -> None:
    """From the carriers to the pictures, some fifteen seconds."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("needs chromium (Debian: chromium)")
    with tempfile.TemporaryDirectory(prefix="returns-worker-") as folder:
        async with shop_day(Path(folder)) as day, async_playwright() as playwright:
            await until(lambda: _may_be_sent_again(day), 30)
            arguments = ["--no-sandbox", "--disable-lcd-text"]  # root has no sandbox; grey edges compress better
            browser = await playwright.chromium.launch(executable_path=program, args=arguments)
            for name, width, scheme, address in _PICTURES:
                context = await browser.new_context(viewport={"width": width, "height": 600}, color_scheme=scheme)
                page = await context.new_page()
                await page.goto(f"{day.address}/login")
                await page.fill("#token", ACTOR)
                await page.click("main button")
                await page.goto(f"{day.address}{address}")
                file = ROOT / "docs" / "operate" / f"page-{name}.png"
                taken = Image.open(io.BytesIO(await page.screenshot(full_page=True)))
                taken.convert("RGB").quantize(48).save(file, optimize=True)  # a third of the bytes
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")
            await browser.close()


async def _may_be_sent_again(day: Day) -> bool:
    """Whether a person may say by now that the carrier does not have it: until then the worker might still send it."""
    async with day.anna() as anna:
        return "does not have it" in (await anna.get(f"/returns/default/{IN_DOUBT}")).text


if __name__ == "__main__":
    asyncio.run(main())
