"""Who may come in: the access token, the password and its delay, and servers that must not start."""

import asyncio
import base64
import hashlib
import re
import socket
import subprocess
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import urljoin

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from pages.parts import door, guards
from pages.parts import guards as attempts
from tests.helpers import ROOT, free_port

KEY = "a-key-of-this-server"


def run(coroutine: Coroutine) -> Any:
    """Its result, from a thread of its own: the browser's driver leaves a running loop in the tests' thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def scope_of(path: str = "/", kind: str = "http", method: str = "GET", **more: Any) -> dict[str, Any]:
    """What ASGI says of a request. more: its headers, and the address of its client."""
    path, _, query = path.partition("?")
    headers = [
        (name.encode(), str(more[name]).encode("latin-1")) for name in ("cookie", "origin", "host") if name in more
    ]
    return {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": headers,
        "server": ("localhost", 8501),
        "client": (more.get("client", "127.0.0.1"), 5000),
        "scheme": more.get("scheme", "http"),
    }


async def asked(guard: Any, scope: dict[str, Any], body: bytes = b"") -> list[dict]:
    """What a guarded app sends in answer to one request."""
    sent: list[dict] = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    await guard(scope, receive, send)
    return sent


def ask(guard: Any, path: str = "/", kind: str = "http", method: str = "GET", body: bytes = b"", **more):
    """Status, headers and body of one request to a guarded app that answers "inside"."""
    sent = run(asked(guard, scope_of(path, kind, method, **more), body))
    if kind == "websocket":
        return sent
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(message["body"] for message in sent[1:])


def let_in(guard: Any, path: str, **more) -> tuple[str, str, bytes]:
    """Follows what leads to a cookie: the address that the browser is at then, the cookie, and the page with it."""
    at = path
    for _ in range(2):
        status, headers, page = ask(guard, at, **more)
        if status == 307:
            at = urljoin(at, headers[b"location"].decode())
    assert status == 200 and b"inside" not in page
    return at, headers[b"set-cookie"].decode(), page


async def inside(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


async def as_streamlit_does(scope, receive, send):
    """What Streamlit's handler comes to where a message meets a tab that was closed."""
    tab = WebSocket(scope, receive, send)
    await tab.accept()
    with suppress(WebSocketDisconnect):
        await tab.send_bytes(b"figure")
    try:
        await tab.receive_bytes()
    except RuntimeError:
        await tab.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_tab_that_closes_while_something_is_sent_is_no_error_of_the_app(leaves):
    messages = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "no bytes"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        if leaves and message["type"] == "websocket.send":
            raise OSError("the tab was closed")

    async def fails(scope, receive, send):
        await send({"type": "websocket.accept"})
        raise RuntimeError("an error of the app")

    if leaves:
        with pytest.raises(RuntimeError, match="close message"):
            run(as_streamlit_does({"type": "websocket"}, receive, send))
        messages.insert(0, {"type": "websocket.connect"})
        run(guards.Departures(as_streamlit_does)({"type": "websocket"}, receive, send))
    else:
        with pytest.raises(RuntimeError, match="an error of the app"):
            run(guards.Departures(fails)({"type": "websocket"}, receive, send))


@pytest.fixture
def guard():
    return guards.Door(inside, KEY)


@pytest.mark.parametrize("path", ["/", "/sinks?recording=ab", "/media/x.png", "/_stcore/host-config", "/?token=wrong"])
def test_without_the_token_nothing_is_served(guard, path):
    status, headers, body = ask(guard, path)
    assert status == 403
    assert b"inside" not in body and b"access token" in body
    assert "?\u2060token=…" in body.decode(), "no line ends inside it"
    assert b"set-cookie" not in headers and headers[b"x-frame-options"] == b"DENY"


def test_the_token_gives_a_cookie_for_a_path_of_its_own_and_leads_to_the_address_without_it(guard):
    at, cookie, page = let_in(guard, f"/sinks?recording=ab&token={KEY}&step=3")
    segment, rest = door.divide(at.partition("?")[0])
    assert segment and rest == "/sinks"
    assert f'data-segment="{segment}" data-next="../{segment}/sinks?recording=ab&amp;step=3"'.encode() in page
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie
    assert "Path" not in cookie, "so the browser takes the folder of the address: below the segment"
    for path in (f"/{segment}/sinks", f"/{segment}/", f"/{segment}/_stcore/host-config"):
        assert ask(guard, path, cookie=cookie.split(";")[0])[2] == b"inside"
    assert let_in(guard, f"/?token={KEY}")[0] != let_in(guard, f"/?token={KEY}")[0], "each browser has its own"
    assert "Secure" in let_in(guard, f"/?token={KEY}", scheme="https")[1]


def test_the_app_sees_no_private_segment():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["path"], scope["raw_path"]))
        await inside(scope, receive, send)

    guard, cookie = guards.Door(app, KEY), f"sinkscope-key-8501={KEY}"
    for path in ("/~0123456789abcdef/sinks", "/~0123456789abcdef/", "/sinks", "/~short/x", "/~0123456789abcdef/é"):
        ask(guard, path, cookie=cookie)
    assert [path for path, _ in seen] == ["/sinks", "/", "/sinks", "/~short/x", "/é"]
    assert seen[-1][1] == b"/%C3%A9"
    status, headers, _ = ask(guard, "/~0123456789abcdef?a=1", cookie=cookie)
    assert status == 307 and headers[b"location"] == b"~0123456789abcdef/?a=1"


def test_below_a_base_path_the_private_segment_follows_it(guard, monkeypatch):
    monkeypatch.setattr(door, "base_path", lambda: "/team")
    at, cookie, _ = let_in(guard, f"/team/sinks?token={KEY}")
    assert re.fullmatch(r"/team/~[\w-]{16}/sinks\?token=.*", at)
    assert ask(guard, at, cookie=cookie.split(";")[0])[0] == 200
    assert ask(guard, f"/sinks?token={KEY}")[0] == 403, "it is not served there"


def test_an_address_without_the_segment_leads_there_by_what_the_browser_remembers(guard):
    _, headers, page = ask(guard, "/sinks")
    assert b" data-seek" in page and b"localStorage" in page
    script = page.decode().partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in headers[b"content-security-policy"].decode()


def test_a_path_of_two_slashes_leads_to_no_other_server(guard):
    for path in ("//elsewhere.example/x", "//elsewhere.example", "/\\elsewhere.example", "/javascript:alert(1)"):
        status, headers, _ = ask(guard, f"{path}?token={KEY}")
        where = urljoin(f"http://localhost:8501{path}", headers[b"location"].decode())
        assert status == 307 and where.startswith("http://localhost:8501/")


def test_a_second_cookie_of_the_same_name_keeps_nobody_out(guard):
    """Another port of the host can set one."""
    cookies = f"sinkscope-key-8501={KEY}; sinkscope-key-8501=junk"
    assert ask(guard, cookie=cookies)[2] == b"inside"


@pytest.mark.parametrize(
    "cookie", ["sinkscope-key-8501=other", "sinkscope-key-8502=" + KEY, "=;;\x00", "sinkscope-key-8501", f"x={KEY}"]
)
def test_other_cookies_open_nothing(guard, cookie):
    assert ask(guard, cookie=cookie)[0] == 403


def test_the_websocket_is_closed_without_the_cookie_and_opened_with_it(guard):
    assert ask(guard, "/_stcore/stream", kind="websocket") == [{"type": "websocket.close", "code": 1008}]
    opened = ask(guard, "/_stcore/stream", kind="websocket", cookie=f"sinkscope-key-8501={KEY}")
    assert opened == [{"type": "websocket.accept"}]


def test_whether_the_server_is_up_may_be_asked_by_anybody(guard):
    assert ask(guard, guards.HEALTH)[2] == b"inside"


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        (None, "localhost:8501", True),
        ("http://localhost:8501", "localhost:8501", True),
        ("http://LocalHost:8501", "localhost:8501", True),
        ("https://sinks.example.org", "sinks.example.org", True),
        ("https://sinks.example.org", "sinks.example.org:443", True),
        ("http://localhost:8647", "localhost:8501", False),
        ("http://localhost", "localhost:8501", False),
        ("http://127.0.0.1:8501", "localhost:8501", False),
        ("https://sinks.example.org:8443", "sinks.example.org", False),
        ("https://evil.example", "localhost:8501", False),
        ("null", "localhost:8501", False),
        ("http://localhost:99999", "localhost:8501", False),
        ("", "", False),
    ],
)
def test_the_websocket_is_refused_to_pages_of_another_port(origin, host, own):
    more = {"host": host} if origin is None else {"origin": origin, "host": host}
    sent = ask(guards.Origins(inside), "/_stcore/stream", kind="websocket", **more)
    assert sent == [{"type": "websocket.accept"} if own else {"type": "websocket.close", "code": 1008}]


def test_origins_that_are_named_for_a_proxy_may_use_the_websocket(monkeypatch):
    options = {"server.enableCORS": True, "server.corsAllowedOrigins": ["https://sinks.example.org"]}
    monkeypatch.setattr(guards.st, "get_option", options.get)
    for origin, own in (("https://sinks.example.org", True), ("https://other.example.org", False)):
        sent = ask(guards.Origins(inside), kind="websocket", origin=origin, host="127.0.0.1:8501")
        assert (sent == [{"type": "websocket.accept"}]) == own


@pytest.fixture
def waited(monkeypatch):
    """The seconds that wrong passwords waited, which take none here."""
    seconds = []

    async def sleep(delay):
        seconds.append(delay)

    monkeypatch.setattr(attempts, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    monkeypatch.setattr(door, "_secrets", secrets_of(sinkscope={"password": "correct horse"}))
    return seconds


AT = "/~0123456789abcdef/sinks"


def test_a_wrong_password_waits_twice_as_long_each_time_and_a_right_one_comes_in(waited):
    guard = guards.Door(inside, passwords=door.passwords())
    assert ask(guard)[0] == 401 and b"<form" in ask(guard)[2]
    for _ in range(7):
        status, headers, _ = ask(guard, AT, method="POST", body=b"password=wrong")
        assert status == 401 and b"set-cookie" not in headers
    assert waited == [0.5, 1, 2, 4, 8, 10, 10]
    status, headers, page = ask(guard, f"{AT}?step=2", method="POST", body=b"password=correct+horse")
    assert status == 200 and b'data-next="../~0123456789abcdef/sinks?step=2"' in page
    assert ask(guard, AT, cookie=headers[b"set-cookie"].decode().split(";")[0])[2] == b"inside"
    ask(guard, AT, method="POST", body=b"password=wrong")
    assert waited[-1] == 0.5


def test_a_password_is_sent_to_a_path_that_nobody_knows(waited):
    """Whoever could choose it would be sent the cookie at another port."""
    guard = guards.Door(inside, passwords=door.passwords())
    actions = {re.findall(rb'action="([^"]*)"', ask(guard, AT)[2])[0].decode() for _ in range(2)}
    assert len(actions) == 2 and AT.split("/")[1] not in "".join(actions)
    assert all(door.divide(urljoin(AT, action))[1] == "/sinks" for action in actions)
    status, headers, _ = ask(guard, "/sinks", method="POST", body=b"password=correct+horse")
    assert status == 307 and door.divide(urljoin("/sinks", headers[b"location"].decode()))[0]


def test_wrong_passwords_of_one_address_delay_nobody_elsewhere_and_wait_in_no_long_line(monkeypatch):
    monkeypatch.setattr(door, "_secrets", secrets_of(sinkscope={"password": "correct horse"}))
    guard, longest = guards.Door(inside, passwords=door.passwords()), asyncio.Event()

    async def sleep(delay):
        await longest.wait()

    monkeypatch.setattr(attempts, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))

    async def guess(client: str, password: str) -> int:
        body = f"password={password}".encode()
        return (await asked(guard, scope_of(AT, method="POST", client=client), body))[0]["status"]

    async def all_at_once():
        wrong = [asyncio.create_task(guess("192.0.2.1", "wrong")) for _ in range(100)]
        await asyncio.sleep(0)
        other = [await guess(client, "correct+horse") for client in ("192.0.2.2", "2001:db8::1")]
        same = await guess("192.0.2.1", "correct+horse")
        longest.set()
        return sorted(await asyncio.gather(*wrong)), other, same, await guess("192.0.2.1", "correct+horse")

    wrong, other, same, afterwards = run(all_at_once())
    assert wrong == [401] * attempts.AT_ONCE + [429] * (100 - attempts.AT_ONCE)
    assert other == [200, 200] and same == 429 and afterwards == 200


def test_addresses_of_one_network_count_as_one_and_few_are_remembered(monkeypatch):
    names = map(attempts.neighbourhood, ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1", "", "unix:"))
    assert list(names) == ["2001:db8::/64", "2001:db8::/64", "2001:db8:0:1::/64", "192.0.2.1", "", "unix:"]
    monkeypatch.setattr(attempts, "REMEMBERED", 3)
    by_address = attempts.AttemptsByAddress()

    async def one_each():
        for number in range(6):
            async with by_address.turn(f"192.0.2.{number}") as found:
                found.wrong += 1

    run(one_each())
    assert list(by_address._by_address) == ["192.0.2.3", "192.0.2.4", "192.0.2.5"]


@pytest.mark.parametrize("squatted", [False, True])
def test_nobody_else_listens_where_browsers_look_first_for_localhost(monkeypatch, squatted):
    port = free_port()
    with socket.socket(socket.AF_INET6) as other:
        try:
            other.bind(("::1", port if squatted else 0))
        except OSError:
            pytest.skip("there is no IPv6 here")
        options = {"server.port": port, "server.address": "localhost"}
        monkeypatch.setattr(door.st, "get_option", options.get)
        monkeypatch.setattr(door, "_held", {})
        monkeypatch.setenv("SINKSCOPE_TOKEN", "none")
        try:
            assert door.addresses() == [f"http://{'127.0.0.1' if squatted else 'localhost'}:{port}/"]
            with socket.socket(socket.AF_INET6) as late, pytest.raises(OSError):
                late.bind(("::1", port))
        finally:
            for held in door._held.values():
                held.close()


def test_an_endless_form_is_read_to_a_bound():
    read = []

    async def receive():
        read.append(1)
        return {"body": b"x" * 1000, "more_body": True}

    assert len(run(guards._body(receive))) == guards.LONGEST_FORM
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
    guard = guards.Uploads(inside, log_in=True)
    guards.allow("ada", "run")
    guards.allow("bob", "look")
    for base in ("", "/base"):
        sent = {name: ask(guard, f"{base}{guards.PATH}{name}/file", method="PUT")[0] for name in ("ada", "bob", "eve")}
        assert sent == {"ada": 200, "bob": 403, "eve": 403}
        assert ask(guards.Uploads(inside, log_in=False), f"{base}{guards.PATH}ada/file", method="PUT")[0] == 403
    guards.allow("ada", "")  # taken off the list
    assert ask(guard, f"{guards.PATH}ada/file", method="PUT")[0] == 403
    assert ask(guard, "/sinks")[2] == b"inside"


def test_what_is_remembered_of_sessions_is_bounded(monkeypatch):
    monkeypatch.setattr(guards, "_REMEMBERED", 3)
    monkeypatch.setattr(guards, "_senders", guards.OrderedDict())
    for number in range(5):
        guards.allow(f"s{number}", "run")
    assert [guards.may_send(f"{guards.PATH}s{number}/f") for number in range(5)] == [False, False, True, True, True]


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
    guard = guards.Door(inside, passwords=door.passwords())
    cookies = []
    for words in ("the+long+one", "the+other+one", "the+other+one"):
        status, headers, _ = ask(guard, AT, method="POST", body=f"password={words}".encode())
        assert status == 200
        cookies.append(headers[b"set-cookie"].decode().split(";")[0])
    assert (tmp_path / door.KEY_FILE).stat().st_mode & 0o777 == 0o600
    known = [door.recognised(cookie.split("=", 1)[1]) for cookie in cookies]
    assert [role for role, _ in known] == ["run", "look", "look"] and len({name for _, name in known}) == 3
    assert ask(guard, guards.PATH + "a", method="PUT", cookie=cookies[0])[2] == b"inside"
    assert ask(guard, guards.PATH + "a", method="PUT", cookie=cookies[1])[0] == 403
    _, name, signature = cookies[1].split("=", 1)[1].split(".")
    whole = (tmp_path / door.KEY_FILE).read_bytes()
    for left in (b"", whole[:7]):  # by a kill, or a full disk
        (tmp_path / door.KEY_FILE).write_bytes(left)
        door._signing_key.cache_clear()
        key = door._signing_key()
        door._signing_key.cache_clear()
        assert door._signing_key() == key != whole, "the next start knows who came in since"
        assert (tmp_path / door.KEY_FILE).stat().st_mode & 0o777 == 0o600
    (tmp_path / door.KEY_FILE).write_bytes(whole)
    door._signing_key.cache_clear()
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
    guard = guards.PageHeaders(inside)
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
        guards.middleware()
