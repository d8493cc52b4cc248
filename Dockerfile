# An environment in which `make demo` and the tools run as an ordinary user:
#
#   docker build -t mmlowformer .
#   docker build -t mmlowformer:cuda --build-arg DEVICE=cuda .
#
# docs/get_started.md says how to run it. The image with CUDA was not built.
ARG DEVICE=cpu

# Python 3.13
FROM debian:13-slim AS cpu

# Python 3.12, and nvcc, which compiles the CUDA ops of mmcv.
FROM nvidia/cuda:12.6.3-devel-ubuntu24.04 AS cuda
# A build sees no GPU, so the kinds to compile for are named: T4 to H200.
ENV TORCH_BACKEND=cu126 FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="7.5 8.0 8.6 8.9 9.0"

FROM ${DEVICE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        make g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*

# The owner of the volumes. In Ubuntu's image another user has 1000, too.
ARG UID=1000
RUN useradd --create-home --uid "$UID" --non-unique lowformer \
    && install -d -o lowformer /mmlowformer /mmlowformer/data /mmlowformer/work_dirs
USER lowformer
WORKDIR /mmlowformer
ENV PIP_NO_CACHE_DIR=1

COPY --chown=lowformer . .
RUN make setup

ENV PATH="/mmlowformer/.venv/bin:$PATH"
VOLUME /mmlowformer/data /mmlowformer/work_dirs
CMD ["make", "demo"]
