"""The service that most people write: FastAPI and uvicorn, Pillow to RGB at full size, a CNN in torch, JSON.

python -m benchmarks.plain_service --port 8001
"""

import argparse
import io
from typing import Annotated

import torch
import uvicorn
from fastapi import FastAPI, File, UploadFile
from PIL import Image

from benchmarks.plain import plain_network, plain_transform

CLASSES = ("NORMAL", "PNEUMONIA")


def build_app() -> FastAPI:
    """`/predict` and `/health`."""
    app, network, transform = FastAPI(), plain_network().eval(), plain_transform()

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/predict")
    async def predict(file: Annotated[UploadFile, File()]) -> dict[str, str | float]:
        image = Image.open(io.BytesIO(await file.read())).convert("RGB")
        with torch.inference_mode():
            probabilities = network(transform(image)[None]).softmax(dim=1)[0]
        index = int(probabilities.argmax())
        return {"prediction": CLASSES[index], "probability": float(probabilities[1])}

    return app


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(build_app(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
