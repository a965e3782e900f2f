"""What can befall a trial, as a callback that a config names."""

import os
import signal

from lightning.pytorch import Callback, LightningModule, Trainer


class Misfortune(Callback):
    """End a run as its training starts: with an error, or by a signal that no process survives."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("the lamp of the scanner is out | and cold")
