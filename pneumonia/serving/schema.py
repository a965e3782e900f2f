"""The bodies of the HTTP contract as `/openapi.json` describes them; tests hold real answers against them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

# What each status of an error means here, with the codes that its body carries.
_MEANING = {
    400: "`damaged_image`: the file is empty, truncated or inconsistent. `bad_request`: the body is no multipart form.",
    401: "`unauthorized`: the server has API keys, and the request has none of them.",
    404: "`not_found`: the bundle does not hold what is asked for, or there is nothing at this path.",
    408: "`slow_upload`: the body took longer than a request may.",
    409: "`reload_under_way`: the server is starting, or changes its bundle already.",
    413: "`image_too_large`, `too_large`: more pixels or bytes than the server accepts.",
    415: "`unsupported_image`: a format or a kind of image that is not read.",
    422: "`invalid_request`: the field `file` is missing, or a parameter can't be read.",
    500: "`internal_error`: the server failed, or the worker that was at work on it ended; it can be sent again.",
    503: "`unavailable`: overloaded or not ready, refused at once; Retry-After says in how many seconds to come again.",
    504: "`timeout`: no worker answered in time; it can be sent again.",
}


class InputCheckBody(BaseModel):
    """Whether the file can be a frontal chest film at all."""

    passed: bool
    reasons: list[str] = Field(description="Why not, in plain words.")
    score: float = Field(description="Above 0 for what is less like such a film than nearly all held-out ones.")


class PredictionBody(BaseModel):
    """What the model says of one radiograph."""

    prediction: str = Field(description="The name of the class.", examples=["PNEUMONIA"])
    class_index: int = Field(ge=0, description="Its place among the classes of `/model/info`.")
    probability: float = Field(ge=0, le=1, description="Of pneumonia, calibrated.")
    threshold: float = Field(ge=0, le=1, description="At this probability or above the film is called pneumonia.")
    probabilities: dict[str, float] = Field(description="Of each class, calibrated.")
    prediction_set: list[str] = Field(
        description="The classes that the film may be, by conformal prediction: several, one or none."
    )
    coverage: float = Field(description="How often such a set holds the film's class, for each class.")
    abstained: bool = Field(
        description="Do not use the answer: `input_check` failed, or `prediction_set` does not decide between normal "
        "and pneumonia, or not as `prediction` does."
    )
    input_check: InputCheckBody
    model: str = Field(description="`name:version` of the bundle.", examples=["cnn:bd927f2484a9"])
    request_id: str
    heatmap: str | None = Field(
        None, description="Base64 PNG of the film's own size, with `heatmap=true` only: bright is for pneumonia."
    )


class ErrorDetail(BaseModel):
    """What was wrong and what to do."""

    code: str = Field(description="Stable, for programs.", examples=["damaged_image"])
    message: str = Field(description="For people.")


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail
    request_id: str


class HealthBody(BaseModel):
    """Whether films can be sent."""

    status: Literal["ok", "starting"]


class LiveBody(BaseModel):
    """The process that was asked runs."""

    status: Literal["ok"]


class ReloadBody(BaseModel):
    """Which bundle is served, and which was."""

    status: Literal["reloaded"]
    old: str = Field(description="`name:version` before.")
    new: str = Field(description="`name:version` now.")


class OperatingPointBody(BaseModel):
    """What turns a logit into a decision."""

    temperature: float = Field(gt=0)
    threshold: float = Field(ge=0, le=1)
    rule: str
    coverage: float = Field(description="Asked of the prediction sets.")
    set_thresholds: list[float] = Field(description="A class belongs to a set from this probability on.")
    offset: float = Field(description="Added to the log-odds of pneumonia: 0 unless the bundle was recalibrated.")


class ModelInfoBody(BaseModel):
    """The bundle that is loaded."""

    name: str
    version: str
    alias: str | None = Field(description="What the registry calls it, where it came from one.")
    created: str
    classes: list[str]
    input_size: int = Field(description="Side in pixels of the square that the graph takes.")
    parameters: int
    operating_point: OperatingPointBody
    metrics: dict[str, Any] = Field(description="By split; figures have `value`, `low` and `high`: a 95% interval.")
    engine: str = Field(description="What runs the bundle's graph here.")
    engines: dict[str, Any] = Field(description="What was measured of the ways to run it, when it was exported.")
    provenance: dict[str, Any] = Field(
        description="Data digest, configuration, seed, commit and versions; `reproducibility`: whether it could be "
        "made again from them, and the reasons if not."
    )
    synthetic: bool = Field(description="Trained on phantoms: it means nothing for people.")
    wandb_artifact: dict[str, Any] | None
    disclaimer: str


class ModelCardBody(BaseModel):
    """The cards of the bundle, as Markdown; null where it has none."""

    model_card: str | None
    data_card: str | None


class ValidationBody(BaseModel):
    """The bundle's answers for films of patients whom its training did not see, in no order that means anything."""

    labels: list[Literal[0, 1]] = Field(description="1 for pneumonia.")
    probabilities: list[float] = Field(description="Of pneumonia, calibrated; as many as there are labels.")
    model: str = Field(description="`name:version` of the bundle.")


REFUSED_RELOAD: dict[int | str, dict[str, Any]] = {
    422: {"model": ErrorBody, "description": "`bundle_refused`: it is missing or damaged; the old one is served on."}
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for errors of these statuses."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in statuses}
