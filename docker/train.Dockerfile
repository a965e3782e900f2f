# syntax=docker/dockerfile:1.10
# Training, export, evaluation and registry, on CPUs or GPUs. docs/images.md says how to build and run.
# PyTorch's wheels bring CUDA's libraries: a CUDA base, such as nvidia/cuda:13.0.2-base-ubuntu24.04, adds its tools and
# what says to the container runtime which driver is needed.
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
ARG EXTRAS=train,tracking,data
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY pneumonia/__init__.py pneumonia/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --constraint constraints.txt ".[$EXTRAS]"
COPY pneumonia pneumonia
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM base
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN groupadd --gid 10001 pneumonia \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pneumonia \
 && install --directory --owner 10001 --group 10001 /work/artifacts /work/data
COPY --from=build /opt/venv /opt/venv
WORKDIR /work
# data.dvc says which films belong in data/: a bundle records whether they were those.
COPY data.dvc ./
COPY configs configs
ARG REVISION=
ENV PNEUMONIA_REVISION=$REVISION
LABEL org.opencontainers.image.title="pneumonia-train" \
      org.opencontainers.image.description="Trains a classifier of chest X-rays. Research use only." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision=$REVISION
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["pneumonia"]
CMD ["fit", "--config", "configs/cnn.yaml"]
