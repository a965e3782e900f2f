# syntax=docker/dockerfile:1.10
# The page, which speaks to an API that runs elsewhere. docs/images.md says how to build and run.
ARG BASE=debian:12.12-slim

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
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_WARN_SCRIPT_LOCATION=1
# pip stays outside: what is copied into the image has none.
RUN python3 -m venv --without-pip /opt/venv
WORKDIR /src
# The libraries are a layer of their own, which a change of the code leaves as it is.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pneumonia/__init__.py pneumonia/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[demo]"
COPY pneumonia pneumonia
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib
RUN groupadd --gid 10001 pneumonia \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pneumonia
COPY --from=build /opt/venv /opt/venv
ARG REVISION=
ENV PNEUMONIA_REVISION=$REVISION
LABEL org.opencontainers.image.title="pneumonia-demo" \
      org.opencontainers.image.description="Web page that classifies chest X-rays. Research use only." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION
USER 10001:10001
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/', timeout=4)"]
ENTRYPOINT ["pneumonia"]
CMD ["demo", "--host", "0.0.0.0", "--url", "http://api:8000"]
