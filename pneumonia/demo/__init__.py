"""The Gradio page, which talks to the API over HTTP and never to the model."""
