"""Work on many films side by side."""

import threading

import pytest

from pneumonia.parallel import map_films


def test_results_come_in_the_order_of_the_films_whichever_ends_first() -> None:
    second_is_done = threading.Event()

    def work(film: str) -> str:
        if film == "first":
            assert second_is_done.wait(30)
        else:
            second_is_done.set()
        return film.upper()

    assert map_films(work, ["first", "second"], workers=2) == ["FIRST", "SECOND"]


def test_no_film_makes_no_result() -> None:
    assert map_films(str, []) == []


def test_an_error_ends_the_map_and_no_film_is_at_work_afterwards() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(film: int) -> None:
        begun.append(film)
        try:
            if film == 3:
                raise ValueError("film 3")
        finally:
            ended.append(film)

    with pytest.raises(ValueError, match="film 3"):
        map_films(work, range(1_000_000), workers=2)
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 1_000_000


def test_the_bar_counts_films(capsys: pytest.CaptureFixture[str]) -> None:
    map_films(str, range(7), "index", "file")
    map_films(str, range(7))
    assert "index: 100%" in capsys.readouterr().err
