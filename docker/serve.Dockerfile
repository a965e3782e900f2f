# syntax=docker/dockerfile:1.10
# The API: no PyTorch, no shell user, nothing that has to be written but /tmp. docs/images.md says how to build and run.
ARG BASE=debian:12.12-slim

# A registry in a folder is given by --build-context registry=artifacts/registry, and takes this empty stage's place.
FROM scratch AS registry

FROM ${BASE} AS base
# Debian's mirrors keep one version of a package: the base's tag says which.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH \
    PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_WARN_SCRIPT_LOCATION=1
# pip stays outside: what is copied into the image has none.
RUN python3 -m venv --without-pip /opt/venv
WORKDIR /src
# The libraries are a layer of their own, which a change of the code leaves as it is. EXTRAS=serve,tracking adds the
# client of Weights & Biases, for a bundle that is pulled at start.
ARG EXTRAS=serve
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pneumonia/__init__.py pneumonia/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[$EXTRAS]"
COPY pneumonia pneumonia
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM build AS bundle
# Where bundles are versioned, and which one: an alias or name:version. Without, the package's reference.
ARG REGISTRY=/registry
ARG BUNDLE=
# Of a W&B server of one's own.
ARG WANDB_BASE_URL
RUN --mount=type=bind,from=registry,target=/registry \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=wandb,env=WANDB_API_KEY \
    if [ -z "$BUNDLE" ]; then \
      cp -r "$(python -c 'from pneumonia.bundle import REFERENCE; print(REFERENCE)')" /bundle; \
    else \
      case "$REGISTRY" in wandb:*) \
        pip --python /opt/venv/bin/python install --constraint constraints.txt ".[tracking]" ;; \
      esac; \
      pneumonia registry --root "$REGISTRY" pull "$BUNDLE" --output /bundle; \
    fi

FROM base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
RUN groupadd --gid 10001 pneumonia \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pneumonia
COPY --from=build /opt/venv /opt/venv
COPY --from=bundle /bundle /bundle
ARG REVISION=
ENV PNEUMONIA_REVISION=$REVISION
LABEL org.opencontainers.image.title="pneumonia-serve" \
      org.opencontainers.image.description="HTTP API that classifies chest X-rays. Research use only." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["pneumonia"]
CMD ["serve", "--host", "0.0.0.0", "--bundle", "/bundle"]
