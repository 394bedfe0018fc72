"""Who may come in: the access token, the password and its delay, and servers that must not start."""

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from pages.parts import door, page_headers, uploads
from tests.helpers import ROOT, free_port

KEY = "a-key-of-this-server"


def run(coroutine: Coroutine) -> Any:
    """Its result, from a thread of its own: the browser's driver leaves a running loop in the tests' thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def ask(guard: door.Door, path: str = "/", kind: str = "http", method: str = "GET", body: bytes = b"", **more):
    """Status, headers and body of one request to a guarded app that answers "inside"."""
    path, _, query = path.partition("?")
    sent: list[dict] = []
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"cookie", more["cookie"].encode())] if "cookie" in more else [],
        "server": ("localhost", 8501),
        "scheme": more.get("scheme", "http"),
    }

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    run(guard(scope, receive, send))
    if kind == "websocket":
        return sent
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


async def inside(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


@pytest.fixture
def guard():
    return door.Door(inside, KEY)


@pytest.mark.parametrize("path", ["/", "/sinks?recording=ab", "/media/x.png", "/_stcore/host-config", "/?token=wrong"])
def test_without_the_token_nothing_is_served(guard, path):
    status, headers, body = ask(guard, path)
    assert status == 403
    assert b"inside" not in body and b"access token" in body
    assert b"set-cookie" not in headers and headers[b"x-frame-options"] == b"DENY"


def test_the_token_gives_a_cookie_and_leads_to_the_address_without_it(guard):
    status, headers, _ = ask(guard, f"/sinks?recording=ab&token={KEY}&step=3")
    assert status == 303
    assert headers[b"location"] == b"/sinks?recording=ab&step=3"
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
    assert ask(guard, "/sinks", cookie=cookie.split(";")[0])[2] == b"inside"
    assert "Secure" in ask(guard, f"/?token={KEY}", scheme="https")[1][b"set-cookie"].decode()


def test_a_path_of_two_slashes_leads_to_no_other_server(guard):
    assert ask(guard, f"//elsewhere.example/x?token={KEY}")[1][b"location"] == b"/elsewhere.example/x"


@pytest.mark.parametrize("cookie", ["sinkscope-8501=other", "sinkscope-8502=" + KEY, "=;;\x00", "sinkscope-8501"])
def test_other_cookies_open_nothing(guard, cookie):
    assert ask(guard, cookie=cookie)[0] == 403


def test_the_websocket_is_closed_without_the_cookie_and_opened_with_it(guard):
    assert ask(guard, "/_stcore/stream", kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    opened = ask(guard, "/_stcore/stream", kind="websocket", cookie=f"sinkscope-8501={KEY}")
    assert opened == [{"type": "websocket.accept"}]


def test_whether_the_server_is_up_may_be_asked_by_anybody(guard):
    assert ask(guard, door.HEALTH)[2] == b"inside"


def test_a_wrong_password_waits_twice_as_long_each_time_and_a_right_one_comes_in(monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(door.asyncio, "sleep", sleep)
    monkeypatch.setattr(door, "_secrets", secrets_of(sinkscope={"password": "correct horse"}))
    guard = door.Door(inside, passwords=door._passwords())
    assert ask(guard)[0] == 401 and b"<form" in ask(guard)[2]
    for _ in range(9):
        status, headers, _ = ask(guard, method="POST", body=b"password=wrong")
        assert status == 401 and b"set-cookie" not in headers
    assert waited == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    status, headers, _ = ask(guard, "/sinks?step=2", method="POST", body=b"password=correct+horse")
    assert status == 303 and headers[b"location"] == b"/sinks?step=2"
    assert ask(guard, cookie=headers[b"set-cookie"].decode().split(";")[0])[2] == b"inside"
    ask(guard, method="POST", body=b"password=wrong")
    assert waited[-1] == 0.5


def test_an_endless_form_is_read_to_a_bound():
    read = []

    async def receive():
        read.append(1)
        return {"body": b"x" * 1000, "more_body": True}

    assert len(run(door._body(receive))) == door.LONGEST_FORM
    assert len(read) == 5


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.0.2.1", False),
        ("node7", False),
        ("", False),
        (None, False),
    ],
)
def test_a_server_that_others_reach_wants_a_password_or_a_log_in(monkeypatch, address, loopback):
    monkeypatch.setattr(door, "_secrets", secrets_of())
    assert door.is_loopback(address) == loopback
    assert bool(door.why_closed(address)) == (not loopback)
    monkeypatch.setattr(door, "_can_log_in", lambda: True)
    for found in ({"sinkscope": {"password": "x"}}, {"auth": {"a": 1}, "sinkscope": {"look": ["@example.org"]}}):
        monkeypatch.setattr(door, "_secrets", secrets_of(**found))
        assert door.why_closed(address) == ""


def test_a_log_in_that_lets_in_nobody_or_everybody_does_not_start(monkeypatch):
    """Anybody has an account with a public provider, so who may come in is listed."""
    for listed in ({}, {"run": []}, {"look": ""}):
        monkeypatch.setattr(door, "_secrets", secrets_of(auth={"client_id": "x"}, sinkscope=listed))
        assert "List who may" in door.why_closed("0.0.0.0") and "List who may" in door.why_closed("localhost")


def test_a_log_in_without_its_library_does_not_start(monkeypatch):
    monkeypatch.setattr(door, "_secrets", secrets_of(auth={"a": 1}, sinkscope={"run": "ada@example.org"}))
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", None)
    assert "Authlib" in door.why_closed("localhost")
    monkeypatch.setitem(sys.modules, "authlib.integrations.starlette_client", ModuleType("there"))
    assert door.why_closed("localhost") == ""


def test_a_log_in_whose_cookies_can_be_guessed_does_not_start(monkeypatch):
    monkeypatch.setattr(door, "_can_log_in", lambda: True)
    for secret, starts in (("a long random text", False), ("x" * 32, True), ("", True)):  # Streamlit makes its own
        auth = {"client_id": "x", "cookie_secret": secret}
        monkeypatch.setattr(door, "_secrets", secrets_of(auth=auth, sinkscope={"run": "ada@example.org"}))
        assert ("cookie_secret" in door.why_closed("localhost")) == (not starts)


def test_with_a_log_in_only_the_sessions_of_who_may_run_send_files():
    guard = door.Uploads(inside, log_in=True)
    uploads.allow("ada", "run")
    uploads.allow("bob", "look")
    for base in ("", "/base"):
        sent = {name: ask(guard, f"{base}{uploads.PATH}{name}/file", method="PUT")[0] for name in ("ada", "bob", "eve")}
        assert sent == {"ada": 200, "bob": 403, "eve": 403}
        assert ask(door.Uploads(inside, log_in=False), f"{base}{uploads.PATH}ada/file", method="PUT")[0] == 403
    uploads.allow("ada", "")  # taken off the list
    assert ask(guard, f"{uploads.PATH}ada/file", method="PUT")[0] == 403
    assert ask(guard, "/sinks")[2] == b"inside"


def test_what_is_remembered_of_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(uploads, "_REMEMBERED", 3)
    monkeypatch.setattr(uploads, "_senders", uploads.OrderedDict())
    for number in range(5):
        uploads.allow(f"s{number}", "run")
    assert [uploads.may_send(f"{uploads.PATH}s{number}/f") for number in range(5)] == [False, False, True, True, True]


def test_roles_go_by_the_lists(monkeypatch):
    lists = {"run": ["Ada@Example.org"], "look": ["@example.org", "bob@other.org"]}
    monkeypatch.setattr(door, "_secrets", secrets_of(auth={"client_id": "x"}, sinkscope=lists))
    assert door.mode() == "log-in" and door.wants_log_in()
    roles = {"ada@example.org": "run", "eve@example.org": "look", "bob@other.org": "look", "eve@other.org": "", "": ""}
    assert {address: door.role_of(address) for address in roles} == roles
    assert door.role_of("eve@sub.example.org.evil.test") == door.role_of("@example.org.evil.test") == ""


def test_each_password_gives_its_role_and_each_visitor_a_name(monkeypatch, tmp_path):
    given = {"password": "the long one", "look_password": "the other one"}
    monkeypatch.setenv("SINKSCOPE_HOME", str(tmp_path))
    door._signing_key.cache_clear()
    monkeypatch.setattr(door, "_secrets", secrets_of(sinkscope=given))
    guard = door.Door(inside, passwords=door._passwords())
    cookies = []
    for words in ("the+long+one", "the+other+one", "the+other+one"):
        status, headers, _ = ask(guard, method="POST", body=f"password={words}".encode())
        assert status == 303
        cookies.append(headers[b"set-cookie"].decode().split(";")[0])
    assert (tmp_path / door.KEY_FILE).stat().st_mode & 0o777 == 0o600
    known = [door.recognised(cookie.split("=", 1)[1]) for cookie in cookies]
    assert [role for role, _ in known] == ["run", "look", "look"] and len({name for _, name in known}) == 3
    assert ask(guard, uploads.PATH + "a", method="PUT", cookie=cookies[0])[2] == b"inside"
    assert ask(guard, uploads.PATH + "a", method="PUT", cookie=cookies[1])[0] == 403
    _, name, signature = cookies[1].split("=", 1)[1].split(".")
    for forged in (
        f"run.{name}.{signature}",
        f"look.{'0' * 16}.{signature}",
        f"look.{name}.",
        "run",
        "",
        "run..",
        "é.a.b",
    ):
        assert door.recognised(forged) is None
    door._signing_key.cache_clear()
    assert door.recognised(cookies[1].split("=", 1)[1]) == ("look", name), "also after a restart"
    monkeypatch.setattr(door, "_secrets", secrets_of(sinkscope={**given, "look_password": "a new one"}))
    assert door.recognised(cookies[1].split("=", 1)[1]) is None, "another password lets nobody in who knew the old one"
    door._signing_key.cache_clear()


def test_every_answer_says_what_scripts_may_run_and_that_it_is_not_framed():
    guard = page_headers.Headers(inside)
    headers = ask(guard)[1]
    policy = headers[b"content-security-policy"].decode()
    assert "frame-ancestors 'none'" in policy and headers[b"x-frame-options"] == b"DENY"
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "'unsafe-inline'" not in scripts and "http" not in scripts and "'sha256-" in scripts
    assert ask(guard, "/_stcore/stream", kind="websocket") == [{"type": "websocket.accept"}]


def secrets_of(**sections):
    """Stands in for the secrets' file."""
    return lambda section: sections.get(section, {})


def test_a_server_that_others_reach_does_not_start_without_either(tmp_path):
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(free_port())]
    done = subprocess.run(
        [*command, "--server.address", "0.0.0.0", "--secrets.files", str(tmp_path / "none.toml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "SinkScope did not start: the address 0.0.0.0 is reached from other machines" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_token_is_new_at_every_start_or_as_set(monkeypatch):
    monkeypatch.delenv("SINKSCOPE_TOKEN", raising=False)
    assert len(door.token()) >= 32
    monkeypatch.setenv("SINKSCOPE_TOKEN", "0123456789abcdef")
    assert door.token() == "0123456789abcdef"
    monkeypatch.setenv("SINKSCOPE_TOKEN", "none")
    assert door.token() == ""
    monkeypatch.setenv("SINKSCOPE_TOKEN", "short")
    with pytest.raises(SystemExit, match="at least 16"):
        door.middleware()
