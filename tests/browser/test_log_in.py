"""The log-in of docs/security.md from beginning to end, with a provider of OpenID Connect on this machine."""

import json
import re
import urllib.request
from contextlib import contextmanager
from secrets import token_urlsafe

import pytest
from oidc_provider_mock import User, run_server_in_thread
from playwright.sync_api import Page, expect

from tests.browser.helpers import all_drawn
from tests.helpers import free_port, server

pytestmark = pytest.mark.slow

ACCOUNTS = {
    "ada": {"email": "Ada@example.org", "email_verified": True},
    "bob": {"email": "bob@example.org", "email_verified": True},
    "mallory": {"email": "ada@example.org", "email_verified": False},
}
SECRETS = """
[auth]
redirect_uri = "{redirect}"
cookie_secret = "{cookie_secret}"
client_id = "{client_id}"
client_secret = "{client_secret}"
server_metadata_url = "{provider}/.well-known/openid-configuration"

[sinkscope]
run = ["ada@example.org"]
look = ["@example.org"]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server whose secrets name a provider that knows its redirect address, and three accounts."""
    home, port = tmp_path_factory.mktemp("home"), free_port()
    redirect = f"http://localhost:{port}/oauth2callback"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the provider speaks HTTP
        users = [User(sub=name, claims=claims) for name, claims in ACCOUNTS.items()]
        with run_server_in_thread(require_client_registration=True, user_claims=users) as running:
            provider = f"http://localhost:{running.server_port}"
            request = urllib.request.Request(
                f"{provider}/oauth2/clients",
                json.dumps({"redirect_uris": [redirect]}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request) as answer:
                client = json.load(answer)
            secrets = home / "secrets.toml"
            secrets.write_text(
                SECRETS.format(redirect=redirect, provider=provider, cookie_secret=token_urlsafe(32), **client)
            )
            with server(home, "none", "--secrets.files", str(secrets), port=port) as url:
                yield url


@contextmanager
def logged_in(page: Page, name: str):
    """Logs in as an account of the provider, and out again."""
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name=name).click()
    yield
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="End session").click()
    expect(page.get_by_text("This server asks you to log in.")).to_be_visible()


def test_a_log_in_gives_each_account_its_role(page, address):
    record = page.get_by_role("button", name="Record", exact=True)
    page.goto(f"{address}/explore")
    expect(page.get_by_text("This server asks you to log in.")).to_be_visible()
    expect(record).to_have_count(0)
    assert page.request.put(f"{address}/_stcore/upload_file/a/b", data=b"x").status == 403
    with logged_in(page, "ada"):
        expect(page.get_by_text(re.compile("^Logged in as Ada.?@example.org$"))).to_be_visible()
        page.get_by_role("link", name="Explore").click()
        expect(record).to_be_enabled()
        page.get_by_role("link", name="Causes").click()
        expect(page.get_by_role("heading", name="Causes", level=1)).to_be_visible()
        all_drawn(page)
        page.locator("input[type=file]").set_input_files(
            {"name": "a.safetensors", "mimeType": "application/octet-stream", "buffer": b"no recording"}
        )
        expect(page.get_by_text(re.compile("is not a (whole )?recording"))).to_be_visible()
    with logged_in(page, "bob"):
        page.get_by_role("link", name="Explore").click()
        expect(page.get_by_text("You may look at this server").first).to_be_visible()
        expect(record).to_be_disabled()
    with logged_in(page, "mallory"):
        expect(page.get_by_text(re.compile("does not say that the address is verified"))).to_be_visible()
        expect(record).to_have_count(0)
