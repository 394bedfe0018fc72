"""What tests in the browser wait for."""

from playwright.sync_api import Page, expect


def all_drawn(page: Page) -> None:
    """Waits until the script of the page has run to its end."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()


HOSTILE = (
    "\"><img src=x onerror='window.ran=true'><script>window.ran=true</script><svg onload='window.ran=true'> "
    "![x](//evil.test/a)"
)
"""Text that runs a script where a page takes it for HTML, and sets `window.ran`."""
