"""Images of the API, the page and the training, and what builds and tries them where no container engine runs."""
