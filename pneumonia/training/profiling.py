"""Where the time of a training step goes: what `configs/profile.yaml` sets as the trainer's profiler."""

from lightning.pytorch.profilers import PyTorchProfiler


class TrainingStepProfiler(PyTorchProfiler):
    """Lightning's profiler of operators, on three training steps after two that warm up.

    Lightning's own begins anew when validation does, and its table is then one of validation, or empty.
    """

    STEP_FUNCTIONS = {"training_step"}  # noqa: RUF012 (declared so in the base class)
