"""The predictor: from radiographs to predictions, alone or together."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pneumonia.bundle import Bundle, load_bundle
from pneumonia.errors import DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from pneumonia.images import Limits, Radiograph
from pneumonia.inference.engine import run_in_batches
from pneumonia.inference.prediction import Prediction
from pneumonia.inference.predictor import Predictor

WriteBundle = Callable[..., Bundle]


@pytest.fixture(scope="module")
def predictor(bundle_dir: Path) -> Predictor:
    return Predictor(load_bundle(bundle_dir))


@pytest.fixture(scope="module")
def films(predictor: Predictor, tree: Path) -> list[Radiograph]:
    return [predictor.read(path) for path in sorted((tree / "test").rglob("*.jpeg"))]


def gray(value: int) -> Radiograph:
    """A film of a frame around one gray, so that it is not blank; its mean is about the gray."""
    pixels = np.full((64, 64), value, np.uint8)
    pixels[:2], pixels[2:4] = 0, 255
    return Radiograph(pixels, 64, 64, "PNG")


def test_path_name_and_bytes_read_alike(predictor: Predictor, tree: Path) -> None:
    path = tree / "val" / "PNEUMONIA" / "person60_bacteria_60.jpeg"
    size = predictor.bundle.input_size
    for source in (path, str(path), path.read_bytes()):
        radiograph = predictor.read(source)
        assert radiograph.pixels.shape == (size, size)
        np.testing.assert_array_equal(radiograph.pixels, predictor.read(path).pixels)


def test_many_films_are_answered_as_each_alone(predictor: Predictor, films: list[Radiograph]) -> None:
    together = predictor.predict(films)
    alone = [predictor.predict([film])[0] for film in films]
    assert [one.probability for one in together] == pytest.approx([one.probability for one in alone], abs=1e-5)
    assert [one.prediction for one in together] == [one.prediction for one in alone]


def test_films_are_told_apart(predictor: Predictor, films: list[Radiograph]) -> None:
    assert len({round(one.probability, 5) for one in predictor.predict(films)}) > len(films) / 2


def test_no_films_have_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []
    assert list(predictor.predict_files([])) == []


def test_a_prediction_is_the_bundles_word(predictor: Predictor, films: list[Radiograph]) -> None:
    bundle = predictor.bundle
    for one in predictor.predict(films):
        assert 0 <= one.probability <= 1
        assert one.threshold == bundle.operating_point.threshold
        assert one.class_index == int(one.probability >= one.threshold)
        assert one.prediction == bundle.classes[one.class_index]
        assert one.model == bundle.label
        assert one.abstained == (not one.input_check.passed or one.prediction_set != [one.prediction])
        assert one.heatmap is None


def test_only_the_films_that_ask_for_a_heatmap_get_one(predictor: Predictor, films: list[Radiograph]) -> None:
    answers = predictor.predict(films[:3], [True, False, True])
    assert [one.heatmap is not None for one in answers] == [True, False, True]
    with Image.open(io.BytesIO(answers[2].heatmap or b"")) as heatmap:
        assert heatmap.size == (films[2].width, films[2].height)


def test_a_prediction_without_its_heatmap_is_json(predictor: Predictor, films: list[Radiograph]) -> None:
    (answer,) = predictor.predict(films[:1], [True])
    content = answer.to_dict()
    assert "heatmap" not in content
    assert content["input_check"] == {"passed": True, "reasons": [], "score": answer.input_check.score}


def test_a_film_that_fails_the_check_is_answered_and_not_to_be_used(predictor: Predictor) -> None:
    size = predictor.bundle.input_size
    (answer,) = predictor.predict([Radiograph(np.zeros((size, size), np.uint8), 500, 500, "PNG")])
    assert answer.abstained
    assert answer.input_check.reasons
    assert 0 <= answer.probability <= 1


def test_files_keep_their_order_and_errors_their_place(predictor: Predictor, tree: Path, tmp_path: Path) -> None:
    good = sorted((tree / "train").rglob("*.jpeg"))[:40]  # more than one run of the engine takes
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no film")
    paths = [
        *good[:5],
        tmp_path / "empty.png",
        *good[5:36],
        tmp_path / "text.png",
        tmp_path / "nowhere.png",
        *good[36:],
    ]
    answers = list(predictor.predict_files(paths))
    expected = [predictor.predict([predictor.read(path)])[0].probability for path in good]
    assert [type(one) for one in answers if isinstance(one, ImageError)] == [
        DamagedImageError,
        UnsupportedImageError,
        DamagedImageError,
    ]
    assert [index for index, one in enumerate(answers) if isinstance(one, ImageError)] == [5, 37, 38]
    given = [one.probability for one in answers if isinstance(one, Prediction)]
    assert given == pytest.approx(expected, abs=1e-5)


def test_its_limits_hold_for_every_file(bundle_dir: Path, tree: Path) -> None:
    path = next(tree.rglob("*.jpeg"))
    with pytest.raises(ImageTooLargeError):
        Predictor(load_bundle(bundle_dir), limits=Limits(max_bytes=100)).read(path)
    with pytest.raises(ImageTooLargeError):
        Predictor(load_bundle(bundle_dir), limits=Limits(max_pixels=100)).read(path)


def test_logits_of_decoded_films_lead_to_the_same_probabilities(predictor: Predictor, films: list[Radiograph]) -> None:
    logits = run_in_batches(predictor.engine, np.stack([film.pixels for film in films] * 3)).logits
    assert logits.shape == (3 * len(films), 2)
    log_odds = (logits[:, 1] - logits[:, 0]) / predictor.bundle.operating_point.temperature
    expected = [one.probability for one in predictor.predict(films)] * 3
    assert (1 / (1 + np.exp(-log_odds.astype(np.float64)))).tolist() == pytest.approx(expected, abs=1e-5)


def test_threads_that_share_it_do_not_disturb_each_other(predictor: Predictor, films: list[Radiograph]) -> None:
    expected = [predictor.predict([film])[0].probability for film in films]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda film: predictor.predict([film])[0].probability, films * 5))
    assert answers == pytest.approx(expected * 5, abs=1e-5)


def test_at_the_threshold_itself_a_film_is_called_pneumonia(write_tiny_bundle: WriteBundle) -> None:
    bundle = write_tiny_bundle(("NORMAL", "PNEUMONIA"), threshold=0.5, weights=(0.0, 0.0))
    (answer,) = Predictor(bundle).predict([gray(10)])
    assert (answer.probability, answer.prediction) == (0.5, "PNEUMONIA")


def test_a_brighter_film_is_likelier_where_the_graph_says_so(write_tiny_bundle: WriteBundle) -> None:
    predictor = Predictor(write_tiny_bundle(("NORMAL", "PNEUMONIA"), weights=(-4.0, 4.0)))
    given = [one.probability for one in predictor.predict([gray(value) for value in (0, 60, 120, 180, 250)])]
    assert given == sorted(given)
    assert given[0] < given[-1]


@pytest.mark.parametrize(
    ("biases", "label"),
    [((5.0, 0.0, 1.0), "NORMAL"), ((0.0, 2.0, 1.0), "BACTERIA"), ((0.0, 1.0, 2.0), "VIRUS")],
)
def test_of_several_kinds_of_pneumonia_the_likeliest_is_named(
    write_tiny_bundle: WriteBundle, biases: tuple[float, ...], label: str
) -> None:
    bundle = write_tiny_bundle(("NORMAL", "BACTERIA", "VIRUS"), weights=(0.0, 0.0, 0.0), biases=biases)
    (answer,) = Predictor(bundle).predict([gray(100)], [True])
    powers = np.exp(biases)
    assert answer.prediction == label
    assert answer.probability == pytest.approx(1 - powers[0] / powers.sum(), abs=1e-6)
    assert answer.heatmap
