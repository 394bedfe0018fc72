"""A new user's way through the real dashboard in a real browser."""

import re
from contextlib import closing

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from analysis.specs import QUESTION
from cache.store import Store
from tests.browser.conftest import PATIENCE
from tests.browser.helpers import (
    all_drawn,
    click_cell,
    enter_number,
    held,
    moving,
    open_settings,
    played,
    plot,
    record,
    worker_of,
)
from tests.engine.helpers import until

pytestmark = pytest.mark.slow


# What the server says reaches the page late, as over a slow line: `window.lag` milliseconds.
# What is said arrives late, and in order, as on every line: no message overtakes another when the lag ends.
LAGGING = """
const Direct = window.WebSocket;
const late = (handler) => {
  let said = Promise.resolve();
  return (event) => {
    const arrival = new Promise((arrive) => setTimeout(arrive, window.lag || 0));
    said = Promise.all([said, arrival]).then(() => handler(event));
  };
};
window.WebSocket = class extends Direct {
  set onmessage(handler) { super.onmessage = late(handler); }
  addEventListener(type, handler, options) {
    super.addEventListener(type, type === "message" ? late(handler) : handler, options);
  }
};
"""


# As browsers have it on plain HTTP from another machine.
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"


@pytest.fixture
def errors(page) -> list[str]:
    """What scripts of the page raise, from its first address on; it has no clipboard."""
    raised: list[str] = []
    page.on("pageerror", lambda error: raised.append(str(error)))
    page.add_init_script(NO_CLIPBOARD)
    return raised


def has_the_app_around_it_and_no_error(page: Page, errors: list[str]) -> None:
    """Of a page that was just opened by its address."""
    expect(page.get_by_text("About this model").first).to_be_visible()
    sidebar = page.get_by_test_id("stSidebarNav")
    expect(sidebar.get_by_role("link", name="Explore")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    all_drawn(page)
    page.get_by_role("button", name="Copy the link to this page").click()
    address_field = page.get_by_role("textbox", name="The address of this page")
    expect(address_field).to_have_value(page.url)
    expect(address_field).to_be_focused()
    selected = address_field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)")
    assert selected == page.url, "it can be copied at once"
    assert errors == []


def left(part: Locator) -> float:
    """Return its left edge in pixels, nan while it is drawn anew."""
    box = part.bounding_box()
    return float("nan") if box is None else box["x"]


def test_the_queue_is_worked_off_before_anybody_visits_and_what_was_cut_off_is_offered(page, home, address):
    with closing(Store(home)) as store:
        until(lambda: store.job("job0")["state"] == "done")
        page.goto(f"{address}/explore")
        panel = page.get_by_test_id("stSidebar")
        cut_off = panel.get_by_text("1 job cut off")
        cut_off.click()
        expect(panel.get_by_text("SinkScope was stopped while this job ran.")).to_be_visible()
        again = panel.get_by_role("button", name="Start again")

        def started() -> bool:
            """Press where the button still stands: a press while the browser draws the panel anew falls on nothing."""
            all_drawn(page)
            if again.count():
                again.first.click()  # drawn anew, it may be there twice
            page.wait_for_timeout(1000)
            return not cut_off.count()

        until(started)
        until(lambda: store.job("job1")["state"] == "done")


def test_the_first_action_is_a_few_stops_away_and_small_screens_show_short_pages_without_scrolling_sideways(
    page, address
):
    page.set_viewport_size({"width": 820, "height": 1180})
    for patience in (20_000, 20_000, PATIENCE):  # what has the focus loses it where the browser draws it anew
        page.goto(address)
        expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
        all_drawn(page)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_test_id("stMain")).to_be_focused()
        expect(page.get_by_test_id("stMain")).to_have_css("outline-style", "solid")
        page.keyboard.press("Tab")
        try:
            expect(page.get_by_role("link", name="Record a prompt")).to_be_focused(timeout=patience)
            break
        except AssertionError:
            if patience == PATIENCE:
                raise
    for width, height in ((820, 1180), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "true")
        expect(page.get_by_role("group", name="Player.")).to_be_visible()
        all_drawn(page)
        expect(page.locator("html")).to_have_js_property("scrollWidth", width)
    expect(page.get_by_role("link", name="Run on your model")).to_be_in_viewport()
    expect(page.locator(".finding")).to_have_count(6)
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollHeight") <= 6000

    page.goto(f"{address}/causes")  # the shipped answer, as nothing is recorded yet
    table = page.locator(".st-key-shifts table")
    page.get_by_text("Changed tokens and predictions").click()
    expect(table).to_be_visible()
    all_drawn(page)
    assert page.locator("html").evaluate("html => html.scrollWidth") == 390
    assert table.evaluate("table => table.scrollWidth <= table.clientWidth")
    main = page.get_by_test_id("stMain")
    parts = ["Hiding the sinks hurts", "No control", "Perplexity of", "Sink: a token", "One text", "Changed tokens"]

    def in_order() -> bool:
        places = [box["y"] for part in parts if (box := main.get_by_text(part).first.bounding_box()) is not None]
        return places == sorted(places) and len(places) == len(parts)

    until(in_order)  # the definition of a sink comes between figure and text; a plot above may still grow
    for row in table.locator("tbody tr").all():
        name, *numbers = (box for cell in row.locator("td").all() if (box := cell.bounding_box()) is not None)
        assert len(numbers) == 3 and len({box["y"] for box in numbers}) == 1
        assert name["y"] + name["height"] <= numbers[0]["y"] + 1, "a name has a line of its own"


def test_back_undoes_one_step_of_the_visitor_however_often_the_server_completes_the_address(page, address):
    page.goto(address)
    all_drawn(page)
    page.get_by_role("link", name="Run on your model").click()
    page.wait_for_url(re.compile("ask=true"))
    expect(page.get_by_role("heading", name="Run this study on your model")).to_be_visible()
    navigation = page.get_by_test_id("stSidebarNav")
    navigation.get_by_role("link", name="Start").click()
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    page.wait_for_url(lambda url: "ask" not in url)
    for heading in ("Run this study on your model", QUESTION):
        page.go_back()
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        all_drawn(page)
    navigation.get_by_role("link", name="Explore").click()
    page.wait_for_url(re.compile("/explore.*step="))
    all_drawn(page)
    explored = page.url
    page.get_by_role("button", name="Previous step").click()
    page.wait_for_url(lambda url: url != explored)
    all_drawn(page)
    earlier = page.url
    navigation.get_by_role("link", name="Runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    all_drawn(page)
    for url, heading in ((earlier, "Explore"), (explored, "Explore"), (f"{address}/", QUESTION)):
        page.go_back()
        page.wait_for_url(url)
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        page.wait_for_timeout(1500)  # until the explorer has told its place
        all_drawn(page)
        assert page.url == url


def told(received: list[bytes | str], words: str) -> bool:
    """Whether the server has sent these words."""
    return any(words.encode() in (frame if isinstance(frame, bytes) else frame.encode()) for frame in received)


def test_from_the_first_page_to_a_recording_of_ones_own_prompt_its_heads_and_its_causes(page, address, errors):
    received: list[bytes | str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    page.goto(f"{address}/overview")  # which was once a page
    page.wait_for_url(lambda url: "overview" not in url)
    expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    has_the_app_around_it_and_no_error(page, errors)
    page.get_by_role("link", name="Record a prompt").click()
    explorer = page.get_by_role("group", name="Explorer")
    expect(explorer).to_contain_text("an even split gives")
    expect(page.get_by_test_id("stMain").get_by_text("Shipped study")).to_be_visible()
    curve = explorer.locator(".sx-curve")
    until(lambda: left(curve) < left(explorer) - 200)  # it uses the room beneath the prompt until that column grows
    open_settings(page)
    expect(page.get_by_role("spinbutton", name="Seed")).to_be_visible()
    until(lambda: left(curve) >= left(explorer))
    enter_number(page, "New tokens", 16)
    enter_number(page, "Denoising steps", 16)
    expect(page.get_by_text("16 new tokens in 16 forwards")).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill("mia goes to the park with her cat .")
    record(moving(page))
    recording = page.get_by_role("combobox", name="Recording")
    expect(recording).to_have_value(re.compile("mia goes to the park.*16 steps"))  # and not one recorded before
    slider = explorer.get_by_role("slider", name="Denoising step")
    played(page)  # once by itself
    page.emulate_media(reduced_motion="reduce")  # from here on only when asked to
    expect(page.get_by_text("More about this recording")).to_be_visible()
    explorer.get_by_text("Definition, table, help").click()
    explorer.get_by_label("Steps per second").select_option("2")  # so that it still plays when it is paused
    slider.press("Home")
    explorer.get_by_role("button", name="Play").click()
    expect(slider).to_have_attribute("aria-valuetext", re.compile("Step [2-9]"))
    explorer.get_by_role("button", name="Pause").click()
    expect(explorer.get_by_role("button", name="Play")).to_be_visible()
    page.wait_for_url(re.compile(f"step={slider.get_attribute('aria-valuenow')}"))
    slider.press("Home")
    for step in range(1, 10):
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", f"Step {step} (0–15)")
    page.wait_for_url(re.compile("step=9"))
    explorer.get_by_role("button", name="Table").click()
    masks = explorer.get_by_role("cell", name=re.compile(r"^\[MASK\] \(later"))
    expect(masks).to_have_count(16 - 9)
    rows = explorer.get_by_role("row").all_inner_texts()
    explorer.get_by_role("button", name="Close").click()
    written = next(int(row.split()[0]) for row in rows if "\twritten\t" in row)
    for _ in range(written + 1):
        slider.press("ArrowDown")
    page.wait_for_url(re.compile(f"position={written}"))
    explorer.get_by_role("button", name="What else could stand here?").click()
    expect(page.get_by_text(re.compile("was written in step [0-8]. Choose another token"))).to_be_visible()
    expect(page.get_by_role("button", name="Write from here")).to_be_disabled()
    original = page.url.split("recording=")[1].split("&")[0]
    page.get_by_role("textbox", name="Or write a token").fill("geese")
    page.get_by_role("textbox", name="Or write a token").press("Enter")
    page.get_by_role("button", name="Write ‘geese’ from here").click()
    expect(page.get_by_text("The branch and the text that it left", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(f"Step [0-8] wrote ‘geese’ at position {written}"))).to_be_visible()
    plot(page, "branch_agreement")
    page.get_by_role("button", name="Open the text that it left").click()
    page.wait_for_url(re.compile(f"recording={original}"))
    expect(page.get_by_role("button", name=re.compile("Branch: ‘geese’ in step [0-8]"))).to_be_visible()
    for patience in (20_000, 20_000, 60_000, PATIENCE):  # a key that falls on the explorer of the branch is lost
        all_drawn(page)
        slider.press("Home")  # the branch may have played to its end, or not
        try:
            page.wait_for_url(re.compile("step=0"), timeout=patience)
            break
        except TimeoutError:
            continue

    assert told(received, "About this model")
    received.clear()
    page.get_by_role("radio", name="Attention map").or_(page.get_by_role("button", name="Attention map")).first.click()
    fetch = page.get_by_role("button", name="Fetch the map")
    expect(fetch).to_be_visible()
    heads = explorer.locator(".sx-heads canvas")
    box = heads.bounding_box()
    assert box is not None
    heads.click(position={"x": box["width"] - 12, "y": box["height"] - 12})
    page.wait_for_url(re.compile("layer=7&head=5"))
    expect(page.get_by_text("layer 7, head 5 at step 0")).to_be_visible()
    all_drawn(page)
    fetch.click()
    shown = page.get_by_text("Full attention map of layer 7, head 5 at step 0")
    expect(shown).to_be_visible()
    page.reload()
    expect(shown).to_be_visible()
    page.goto(page.url.replace("tab=Attention+map", "tab=Heads&metric=Entropy"))
    all_drawn(page)
    click_cell(page, "head_grid", 3, 4, (8, 6))
    expect(explorer).to_contain_text("layer 3 head 4’s attention")  # it has moved there
    page.wait_for_url(re.compile("layer=3&head=4"))
    all_drawn(page)
    page.goto(f"{page.url}&k=2.5")
    page.get_by_role("link", name="Hide these sinks").click()
    expect(page.get_by_role("heading", name="Causes")).to_be_visible()
    expect(page.get_by_role("button", name="Hide the sinks")).to_be_visible()
    page.wait_for_url(re.compile("causes.*k=2.5"))
    page.go_back()
    expect(explorer.get_by_role("spinbutton")).to_have_value("2.5")  # which the page left has in a control of its own
    page.wait_for_url(re.compile("explore.*k=2.5"))
    explorer.get_by_role("spinbutton").fill("3")
    page.wait_for_url(re.compile("explore.*k=3"))
    for name in ("Evidence", "Explore"):
        page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(explorer.get_by_role("spinbutton")).to_have_value("3")  # as it was left, also by the menu
    page.wait_for_url(re.compile("explore.*step="))  # the explorer tells its place once it rests
    has_the_app_around_it_and_no_error(page, errors)


def test_a_page_opened_over_a_slow_line_is_not_emptied_and_a_recording_survives_a_refresh_and_a_page_switch(
    page, address
):
    page.add_init_script(LAGGING)
    page.goto(f"{address}/explore")
    page.get_by_role("textbox", name="Prompt").fill("Sue was at the river.")
    with held(worker_of(address)):
        record(page)
        expect(page.get_by_text("Recording now")).to_be_visible()
        page.evaluate("window.lag = 700")
        page.get_by_role("link", name="Causes", exact=True).click()
        title = page.get_by_role("heading", name="Causes", exact=True)
        expect(title).to_be_visible()
        page.evaluate("window.lag = 0")
        for _ in range(6):  # over some refreshes of the sidebar
            page.wait_for_timeout(500)
            assert title.is_visible()
        page.reload()
        page.get_by_role("link", name="Start", exact=True).click()
        expect(page.get_by_role("heading", name=QUESTION)).to_be_visible()
    page.get_by_role("link", name="Explore").click()
    expect(page.get_by_role("group", name="Explorer")).to_contain_text("an even split gives")
    expect(page.get_by_role("combobox", name="Recording")).to_have_value(re.compile("Sue was at the river"))


def test_a_late_refresh_in_the_name_of_the_page_that_was_left_does_not_lead_back(page, address):
    asked, late, answered = [], [], []

    def between(socket) -> None:
        """Gives the name in `late` to the next refresh of the sidebar."""
        server = socket.connect_to_server()

        def ask(message: bytes) -> None:
            request = BackMsg.FromString(message)
            if request.rerun_script.is_auto_rerun and late:
                request.rerun_script.page_script_hash = late.pop()
            asked.append(request.rerun_script.page_script_hash)
            server.send(request.SerializeToString())

        def answer(message: bytes) -> None:
            answered.append(ForwardMsg.FromString(message).new_session.page_script_hash)
            socket.send(message)

        socket.on_message(ask)
        server.on_message(answer)

    page.route_web_socket("**/_stcore/stream", between)
    page.goto(f"{address}/explore")
    expect(page.get_by_role("heading", name="Explore")).to_be_visible()
    while not any(asked):  # the first request names no page, a refresh does
        page.wait_for_timeout(100)
    left_behind = asked[-1]
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    all_drawn(page)
    while asked[-1] == left_behind:
        page.wait_for_timeout(100)
    runs = asked[-1]
    answered.clear()
    late.append(left_behind)
    while runs not in answered[answered.index(left_behind) if left_behind in answered else len(answered) :]:
        page.wait_for_timeout(100)
    page.wait_for_timeout(2000)  # until the browser has drawn it
    all_drawn(page)
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    assert "/runs" in page.url


def test_a_page_that_the_browser_drops_or_has_lost_is_drawn_again(page, address, errors):
    """Dropped as when a part of the page just left, and then one of this page, are answered after it."""
    lines, said = [], []

    def relay(line) -> None:
        server = line.connect_to_server()
        line.on_message(server.send)
        server.on_message(lambda message: (said.append(message), line.send(message)))
        lines.append(line)

    page.route_web_socket(re.compile("/_stcore/stream"), relay)
    page.goto(f"{address}/runs?runs_view=Accuracy")
    title = page.get_by_role("heading", name="Runs", level=1)
    expect(title).to_be_visible()
    all_drawn(page)
    begun = next(each for each in map(ForwardMsg.FromString, said) if each.HasField("new_session"))
    done = ForwardMsg(script_finished=ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
    page.evaluate("document.querySelector('[data-testid=stMain] h1').dataset.before = true")
    for name in ("a page just left", begun.new_session.page_script_hash):
        begun.new_session.page_script_hash = name
        begun.metadata.run.fragment_ids[:] = done.metadata.run.fragment_ids[:] = ["a part of it"]
        begun.metadata.run.script_run_id = done.metadata.run.script_run_id = f"run of {name}"
        lines[-1].send(begun.SerializeToString())
        lines[-1].send(done.SerializeToString())
    expect(page.locator("h1[data-before]")).to_have_count(0)
    expect(title).to_be_visible()
    has_the_app_around_it_and_no_error(page, errors)
    page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').remove()")
    expect(title).to_have_count(0)
    expect(title).to_be_visible()
    assert "/runs?runs_view=Accuracy" in page.url
