"""What tests in the browser wait for."""

from playwright.sync_api import Page, expect


def all_drawn(page: Page) -> None:
    """Waits until the script of the page has run to its end."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
