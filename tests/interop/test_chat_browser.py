"""The chat in a real browser: what a stranger sees who runs the demo."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Page, expect

if TYPE_CHECKING:
    from playwright.async_api import Locator

    from conftest import ChatServer, Join

pytestmark = pytest.mark.browser


async def say(page: Page, text: str) -> None:
    await page.get_by_test_id("composer").fill(text)
    await page.keyboard.press("Enter")


async def expect_state(state: str, *pages: Page) -> None:
    for page in pages:
        await expect(page.get_by_test_id("status")).to_have_attribute("data-state", state)


async def expect_texts(texts: list[str], *pages: Page) -> None:
    """All messages of a page, in order: so each is there exactly once."""
    for page in pages:
        await expect(page.get_by_test_id("text")).to_have_text(texts)


def people(page: Page) -> Locator:
    return page.get_by_test_id("people").get_by_role("listitem")


def notices(page: Page, text: str) -> Locator:
    return page.get_by_test_id("notice").filter(has_text=text)


async def test_two_people_hear_each_other_and_themselves_exactly_once(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    await expect(notices(ada, "Grace joined")).to_have_count(1)
    await expect(people(ada)).to_have_count(2)
    await expect(people(grace)).to_have_count(2)

    await say(ada, "Hello Grace")
    await expect_texts(["Hello Grace"], ada, grace)
    await say(grace, "Hello Ada")
    await say(grace, "How are you?")

    await expect_texts(["Hello Grace", "Hello Ada", "How are you?"], ada, grace)
    await expect(ada.locator(".mine")).to_have_count(1)
    await expect(grace.locator(".mine")).to_have_count(2)


async def test_who_leaves_is_told_and_taken_from_the_list(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    await expect(people(ada)).to_have_count(2)

    await grace.context.close()

    await expect(notices(ada, "Grace left")).to_have_count(1)
    await expect(people(ada)).to_have_count(1)
    await expect(people(ada)).to_contain_text(["Ada"])


async def test_who_comes_later_sees_what_was_said(join: Join) -> None:
    ada = await join("Ada")
    await say(ada, "one")
    await say(ada, "two")
    await expect_texts(["one", "two"], ada)

    grace = await join("Grace")

    await expect_texts(["one", "two"], grace)


async def test_markup_is_shown_as_it_was_written(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("<b>Grace</b>")
    markup = '<img src=x onerror="window.hacked = true"><script>window.hacked = true</script>'

    await say(grace, markup)

    await expect_texts([markup], ada, grace)
    await expect(people(ada)).to_contain_text(["Ada", "<b>Grace</b>"])
    for page in (ada, grace):
        await expect(page.get_by_test_id("log").locator("img, script, b")).to_have_count(0)
        assert not await page.evaluate("window.hacked")


async def test_only_web_addresses_become_links(join: Join) -> None:
    ada = await join("Ada")

    await say(ada, "See (https://example.org/a_(b)), javascript:alert(1) and https://example.org/?q=1&r=2.")

    links = ada.get_by_test_id("text").get_by_role("link")
    await expect(links).to_have_text(["https://example.org/a_(b)", "https://example.org/?q=1&r=2"])
    await expect(links.first).to_have_attribute("rel", re.compile("noopener"))


async def test_pages_survive_a_restart_of_the_server(join: Join, chat_server: ChatServer) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    await say(ada, "before, from Ada")
    await say(grace, "before, from Grace")
    before = ["before, from Ada", "before, from Grace"]
    await expect_texts(before, ada, grace)

    chat_server.stop()
    await expect_state("reconnecting", ada, grace)
    await say(ada, "meanwhile, from Ada")
    chat_server.start()

    await expect_state("connected", ada, grace)
    await expect_texts([*before, "meanwhile, from Ada"], ada)
    await expect(people(ada)).to_have_count(2)
    await expect(people(grace)).to_have_count(2)
    await say(grace, "after, from Grace")
    await say(ada, "after, from Ada")
    for page in (ada, grace):
        for text in (*before, "after, from Grace", "after, from Ada"):
            await expect(page.get_by_test_id("text").filter(has_text=text)).to_have_count(1)
    await expect_texts([*before, "meanwhile, from Ada", "after, from Grace", "after, from Ada"], ada, grace)
    await expect(notices(ada, "left")).to_have_count(0)
    await expect(notices(grace, "left")).to_have_count(0)


async def test_a_room_is_a_world_of_its_own(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace", "books")
    await say(ada, "in the lobby")
    await say(grace, "about books")
    await expect_texts(["in the lobby"], ada)
    await expect_texts(["about books"], grace)

    await ada.get_by_test_id("room-input").fill("Books")
    await ada.keyboard.press("Enter")

    await expect(notices(grace, "Ada joined")).to_have_count(1)
    await expect_texts(["about books"], ada)
    rooms = ada.get_by_test_id("rooms").get_by_role("link")
    await expect(rooms).to_have_text(["lobby", re.compile("books.*2")])


async def test_a_name_can_be_changed_without_leaving(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    await say(ada, "hello")
    await expect_texts(["hello"], grace)

    await grace.get_by_role("button", name="Change name").click()
    await grace.get_by_test_id("name-input").fill("Admiral Hopper")
    await grace.get_by_test_id("join").click()

    await expect(notices(ada, "Grace is now Admiral Hopper")).to_have_count(1)
    await expect(people(ada)).to_contain_text(["Ada", "Admiral Hopper"])
    await expect(notices(ada, "left")).to_have_count(0)
    await expect_texts(["hello"], grace)


async def test_a_reload_keeps_the_person(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    await say(grace, "hello")
    await expect_texts(["hello"], ada)

    await grace.reload()

    await expect_state("connected", grace)
    await expect_texts(["hello"], grace)
    await expect(grace.locator(".mine")).to_have_count(1)
    await expect(people(ada)).to_have_count(2)
    await expect(notices(ada, "Grace")).to_have_text([re.compile("Grace joined")])


async def test_the_others_see_who_is_typing(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")

    await grace.get_by_test_id("composer").press_sequentially("Hm")
    await expect(ada.get_by_test_id("typing")).to_have_text("Grace is typing")
    await grace.keyboard.press("Enter")

    await expect_texts(["Hm"], ada)
    await expect(ada.get_by_test_id("typing")).to_be_empty()


async def test_shift_enter_makes_a_line_and_the_focus_stays(join: Join) -> None:
    ada = await join("Ada")

    await ada.get_by_test_id("composer").press_sequentially("one")
    await ada.keyboard.press("Shift+Enter")
    await ada.keyboard.type("two")
    await ada.get_by_test_id("send").click()

    await expect(ada.get_by_test_id("text")).to_have_js_property("innerText", "one\ntwo")
    await expect(ada.get_by_test_id("composer")).to_be_focused()
    await expect(ada.get_by_test_id("composer")).to_have_value("")


async def test_a_reader_who_scrolled_up_is_not_moved(join: Join) -> None:
    ada = await join("Ada")
    grace = await join("Grace")
    for number in range(30):
        await say(grace, f"line {number}")
    await expect(ada.get_by_test_id("message")).to_have_count(30)
    await ada.get_by_test_id("log").evaluate("log => { log.scrollTop = 100 }")
    await expect(ada.get_by_test_id("new-messages")).to_be_hidden()

    await say(grace, "something new")

    await expect(ada.get_by_test_id("new-messages")).to_have_text("1 new message")
    assert await ada.get_by_test_id("log").evaluate("log => log.scrollTop") == 100
    await ada.get_by_test_id("new-messages").click()
    await expect(ada.get_by_test_id("new-messages")).to_be_hidden()
    await expect(ada.get_by_test_id("text").last).to_be_in_viewport()


@pytest.mark.parametrize("size", [(320, 568), (360, 740)])
async def test_the_page_fits_on_a_phone(join: Join, size: tuple[int, int]) -> None:
    page = await join("A name as long as they may be 32", "a-room-with-a-name-" + "x" * 21, size=size)
    await say(page, "w" * 300)
    await expect_texts(["w" * 300], page)

    await expect(page.get_by_test_id("composer")).to_be_in_viewport(ratio=1)
    await expect(page.get_by_test_id("send")).to_be_in_viewport(ratio=1)
    await expect_no_sideways_scroll(page)
    await expect(page.get_by_test_id("people")).to_be_hidden()

    await page.get_by_role("button", name="Rooms and people").first.click()
    await expect(people(page)).to_be_visible()
    await expect_no_sideways_scroll(page)
    await page.keyboard.press("Escape")
    await expect(page.get_by_test_id("people")).to_be_hidden()


async def expect_no_sideways_scroll(page: Page) -> None:
    for element in ("document.documentElement", "document.getElementById('log')"):
        scroll, client = await page.evaluate(f"[{element}.scrollWidth, {element}.clientWidth]")
        assert scroll <= client, element
