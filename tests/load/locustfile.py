"""Users of the API for Locust: real films of both sizes, other formats, heatmaps, and files that are to be refused.

Locust replaces the standard library's sockets in its process: nothing of the tests imports this file. `make load`
runs it; PNEUMONIA_LOAD_DATA names the data tree, without which phantoms are sent.
"""

import io
import itertools
import os
import random
from pathlib import Path

import numpy as np
from locust import FastHttpUser, between, task
from PIL import Image

from benchmarks.hostile_files import DOCUMENTED, dicom_file, hostile_files
from benchmarks.serving_films import full_size_films, png_of, small_films

DATA = Path(os.environ.get("PNEUMONIA_LOAD_DATA", "data/chest_xray"))
FULL_SIZE, SMALL = full_size_films(DATA), small_films(DATA)
PNG = [png_of(film) for film in SMALL[:8]]
DICOM = [dicom_file(np.array(Image.open(io.BytesIO(film)).convert("L"))) for film in SMALL[:8]]
HOSTILE = itertools.cycle(list(hostile_files(48)))


class Ward(FastHttpUser):
    """Sends a film, reads the answer, sends the next."""

    wait_time = between(0.01, 0.1)

    @task(8)
    def small(self) -> None:
        self.predict("224 px", random.choice(SMALL))

    @task(4)
    def full_size(self) -> None:
        self.predict("full size", random.choice(FULL_SIZE))

    @task(2)
    def png(self) -> None:
        self.predict("PNG", random.choice(PNG))

    @task(2)
    def dicom(self) -> None:
        self.predict("DICOM", random.choice(DICOM))

    @task(1)
    def heatmap(self) -> None:
        self.predict("heatmap", random.choice(SMALL), query="?heatmap=true", needs="heatmap")

    @task(2)
    def hostile(self) -> None:
        file = next(HOSTILE)
        with self.post(f"hostile: {file.kind}", file.data) as response:
            if response.status_code not in file.statuses & DOCUMENTED:
                response.failure(f"status {response.status_code}")
            elif response.status_code != 200 and "error" not in response.json():
                response.failure("an error without its body")
            else:
                response.success()

    @task(1)
    def no_file(self) -> None:
        with self.client.post("/predict", name="no file", catch_response=True) as response:
            if response.status_code == 422:
                response.success()
            else:
                response.failure(f"status {response.status_code}")

    @task(1)
    def health(self) -> None:
        self.client.get("/health")

    @task(1)
    def model_info(self) -> None:
        self.client.get("/model/info")

    def predict(self, name: str, film: bytes, query: str = "", needs: str = "probability") -> None:
        with self.post(name, film, query) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
            elif response.json().get(needs) is None:
                response.failure(f"an answer without {needs}")
            else:
                response.success()

    def post(self, name: str, data: bytes, query: str = ""):
        files = {"file": ("film", data, "application/octet-stream")}
        return self.client.post(f"/predict{query}", files=files, name=name, catch_response=True)
