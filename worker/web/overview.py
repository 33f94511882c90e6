"""The first page: where everything is."""

from worker.web.page import Answer, Page


async def show_overview(page: Page) -> Answer:
    """Links to what there is."""
    return page.render("overview.html")
