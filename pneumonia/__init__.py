"""Train, prove, serve and watch a classifier of chest X-rays: NORMAL or PNEUMONIA. Research use only."""

__version__ = "0.1.0"

DISCLAIMER = "Research use only. Not a medical device: not for diagnosis or treatment."
