"""The film viewer by mouse, keys, buttons and fingers: everything happens in the browser, and no request is made."""

from pathlib import Path

import pytest

from tests.demo.visiting import Api, Open, Visit, sync_api

pytestmark = pytest.mark.slow


@pytest.fixture
def page(visit: Open, films: dict[str, Path]) -> Visit:
    """A film in the viewer, answered, with its heatmap."""
    page = visit()
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    page.tab.wait_for_selector("canvas[data-heat=shown]")
    return page


def button(page: Visit, name: str) -> "sync_api.Locator":
    return page.tab.locator("#read-box").get_by_role("button", name=name, exact=True)


def slider(page: Visit, name: str) -> "sync_api.Locator":
    return page.tab.locator("#read-box").get_by_role("slider", name=name)


def test_buttons_zoom_turn_move_invert_and_reset(page: Visit) -> None:
    for name in ("Zoom in", "Zoom in", "Turn right", "Move left", "Invert"):
        button(page, name).click()
    state = page.state()
    assert (state["zoom"], state["turn"], state["x"], state["inverted"]) == (1.25**2, 1, 40, True)
    sync_api.expect(button(page, "Invert")).to_have_attribute("aria-pressed", "true")
    button(page, "Reset").click()
    assert page.state() == {"zoom": 1, "x": 0, "y": 0, "turn": 0, "window": 255, "level": 128, "inverted": False}


def test_keys_do_what_the_buttons_do(page: Visit) -> None:
    page.tab.locator(".stage").focus()
    for key in ("+", "+", "-", "r", "r", "R", "i", "w", "l", "ArrowUp"):
        page.tab.keyboard.press(key)
    state = page.state()
    assert (state["zoom"], state["turn"], state["inverted"]) == (1.25, 1, True)
    assert (state["window"], state["level"], state["y"]) == (247, 120, 40)
    page.tab.keyboard.press("0")
    assert page.state()["zoom"] == 1


def test_the_wheel_zooms_where_the_pointer_is_and_dragging_moves(page: Visit) -> None:
    box = page.tab.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.tab.mouse.move(x + 100, y)
    page.tab.mouse.wheel(0, -200)
    page.tab.wait_for_function("JSON.parse(document.querySelector('film-viewer').dataset.view).zoom > 1")
    before = page.state()
    assert before["x"] < 0
    page.tab.mouse.down()
    page.tab.mouse.move(x + 130, y + 20, steps=3)
    page.tab.mouse.up()
    after = page.state()
    assert (round(after["x"] - before["x"]), round(after["y"] - before["y"])) == (30, 20)


def test_dragging_with_shift_changes_window_and_level(page: Visit) -> None:
    box = page.tab.locator(".stage").bounding_box()
    assert box is not None
    page.tab.mouse.move(box["x"] + 200, box["y"] + 200)
    page.tab.keyboard.down("Shift")
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 150, box["y"] + 180, steps=2)
    page.tab.mouse.up()
    page.tab.keyboard.up("Shift")
    assert (page.state()["window"], page.state()["level"]) == (205, 148)


def test_a_narrow_window_makes_black_and_white_and_inverting_swaps_them(page: Visit) -> None:
    slider(page, "Heatmap strength").fill("0")
    slider(page, "Window").fill("1")
    slider(page, "Level").fill("0")
    assert page.pixel(0.5, 0.5) == [255, 255, 255]
    button(page, "Invert").click()
    assert page.pixel(0.5, 0.5) == [0, 0, 0]
    slider(page, "Level").fill("255")
    assert page.pixel(0.5, 0.5) == [255, 255, 255]


def test_the_slider_changes_the_overlay_and_asks_nobody(page: Visit, api: Api) -> None:
    asked, sent = api.predictions(), page.sent
    strength = slider(page, "Heatmap strength")
    strength.focus()
    strength.press("Home")
    places = [(x / 10, y / 10) for x in range(1, 10) for y in range(1, 10)]
    plain = [page.pixel(*place) for place in places]
    assert all(red == green == blue for red, green, blue in plain)
    strength.press("End")
    covered = [page.pixel(*place) for place in places]
    assert any(red != blue for red, _, blue in covered)
    assert page.sent == sent
    assert api.predictions() == asked


def test_a_turned_film_has_its_corners_elsewhere(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["oriented.dcm"])
    page.answered()
    marks = {edge: page.tab.locator(f".mark.{edge}") for edge in ("top", "right", "bottom", "left")}
    for edge, letter in {"top": "H", "right": "L", "bottom": "F", "left": "R"}.items():
        sync_api.expect(marks[edge]).to_have_text(letter)
    button(page, "Turn right").click()
    for edge, letter in {"top": "R", "right": "H", "bottom": "L", "left": "F"}.items():
        sync_api.expect(marks[edge]).to_have_text(letter)


def test_a_dicom_film_has_a_scale_and_a_size_and_nobodys_name(visit: Open, films: dict[str, Path]) -> None:
    page = visit()
    page.choose(films["oriented.dcm"])
    page.answered()
    caption = page.tab.locator("#read-box figcaption")
    for words in ("View PA", "The patient's L is at the right edge, R at the left", "33.6 x 28.8 cm at the detector"):
        sync_api.expect(caption).to_contain_text(words)
    bar = page.tab.locator(".stage .bar")
    sync_api.expect(bar).to_have_text("5 cm")
    width = bar.evaluate("bar => bar.getBoundingClientRect().width")
    fit = page.shown().evaluate("viewer => viewer.fit()")
    assert width == pytest.approx(50 / 0.8 * fit, abs=6)
    for _ in range(8):
        button(page, "Zoom in").click()
    sync_api.expect(bar).to_have_text("1 cm")
    text = page.tab.inner_text("body")
    assert "Jane" not in text
    assert "4711" not in text


def test_another_film_is_shown_whole_and_upright(page: Visit, films: dict[str, Path]) -> None:
    button(page, "Zoom in").click()
    button(page, "Turn left").click()
    page.choose(films["film.dcm"])
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("film.dcm")
    page.answered()
    page.tab.wait_for_selector("canvas[data-heat=shown]")
    assert (page.state()["zoom"], page.state()["turn"]) == (1, 0)


def test_a_film_is_pasted_and_dropped(visit: Open) -> None:
    page = visit()
    files = """(name) => { const transfer = new DataTransfer(); const canvas = document.createElement('canvas');
      canvas.width = canvas.height = 100; const text = canvas.toDataURL('image/png');
      const bytes = Uint8Array.from(atob(text.split(',')[1]), (c) => c.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type: 'image/png' })); return transfer; }"""
    page.tab.evaluate(
        f"""document.body.dispatchEvent(new ClipboardEvent('paste',
              {{ clipboardData: ({files})('pasted.png'), bubbles: true }}))"""
    )
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("pasted.png")
    page.read("abstains")
    page.tab.evaluate(
        f"""document.querySelector('#read-box .box').dispatchEvent(new DragEvent('drop',
              {{ dataTransfer: ({files})('dropped.png'), bubbles: true, cancelable: true }}))"""
    )
    sync_api.expect(page.tab.locator("#read-box figcaption")).to_contain_text("dropped.png")


def test_two_fingers_zoom_and_then_one_moves(visit: Open, films: dict[str, Path]) -> None:
    page = visit(390, 844)
    page.choose(films["chest-of-somebody.jpeg"])
    page.answered()
    page.shown()
    box = page.tab.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    hand = page.tab.context.new_cdp_session(page.tab)

    def touch(kind: str, *places: float) -> None:
        points = [{"x": x + place, "y": y, "id": finger} for finger, place in enumerate(places)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -30, 30)
    for step in (40, 50, 60):
        touch("touchMove", -step, step)
    touch("touchEnd")
    zoomed = page.state()
    assert zoomed["zoom"] == pytest.approx(2, rel=0.3)
    touch("touchStart", 0)
    for step in (10, 20, 30):
        touch("touchMove", step)
    touch("touchEnd")
    assert page.state()["x"] > zoomed["x"]
