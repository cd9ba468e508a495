# The image of shd-bids. Singularity.def runs the same steps, which lie in .github/container: they
# serve to build and to release, as the workflows beside them do, and no user of the program needs
# them.
#   docker build -t shd-bids .
#   docker run --rm --gpus all -u "$(id -u):$(id -g)" -v /data:/data:ro -v /out:/out -v /work:/work \
#       shd-bids /data /out participant -w /work

# `@sha256:...` behind it fixes the base to the bit; the packages on it are fixed in any case.
ARG BASE_IMAGE=docker.io/library/debian:13.8-slim

FROM ${BASE_IMAGE} AS build
ARG DEBIAN_SNAPSHOT=20261125T000000Z
ARG TORCH_INDEX=
ARG TEMPLATES="MNI152NLin2009cAsym:res-1 MNI152NLin2009cAsym:res-2"
COPY .github/container /build/container
RUN sh /build/container/install-debian.sh build
RUN sh /build/container/install-python.sh libraries
COPY pyproject.toml README.md LICENSE /build/source/
COPY shd_bids /build/source/shd_bids
COPY workflows /build/source/workflows
RUN sh /build/container/install-python.sh program
RUN sh /build/container/fetch-templates.sh

FROM ${BASE_IMAGE}
ARG DEBIAN_SNAPSHOT=20261125T000000Z
COPY .github/container/install-debian.sh .github/container/finish.sh /build/container/
RUN sh /build/container/install-debian.sh run
COPY --from=build /opt/shd-bids /opt/shd-bids
COPY --from=build /opt/templateflow /opt/templateflow

# The program sets threads of each step by --omp-nthreads; these are for what starts before it.
ENV PATH=/opt/shd-bids/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/home/shd-bids \
    LANG=C.UTF-8 \
    LC_ALL=C.UTF-8 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    NUMEXPR_NUM_THREADS=1 \
    PYTHONNOUSERSITE=1 \
    PYTHONPATH= \
    TEMPLATEFLOW_HOME=/opt/templateflow \
    TEMPLATEFLOW_AUTOUPDATE=off \
    NIPYPE_CONFIG_DIR=/opt/shd-bids/nipype \
    NIPYPE_NO_ET=1 \
    NO_ET=1 \
    MPLBACKEND=Agg \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

ARG VERSION=0.1.0
RUN sh /build/container/finish.sh

# Last, since they change with every build and nothing above depends on them.
ARG REVISION=unknown
ARG CREATED=unknown
ARG IMAGE_TAG=shd-bids/shd-bids:${VERSION}
ENV SHD_BIDS_DOCKER_TAG=${IMAGE_TAG}
LABEL org.opencontainers.image.title="shd-bids" \
      org.opencontainers.image.description="BIDS App for diffusion MRI: preprocessing, SHD-TV fibre orientations, tractography and reports" \
      org.opencontainers.image.url="https://github.com/shd-bids/shd-bids" \
      org.opencontainers.image.source="https://github.com/shd-bids/shd-bids" \
      org.opencontainers.image.documentation="https://github.com/shd-bids/shd-bids#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

USER 1000:1000
WORKDIR /work
# A batch job has no state to ask for: its exit code is its health, and finish.sh has seen
# `shd-bids --version` run.
HEALTHCHECK NONE
ENTRYPOINT ["shd-bids"]
CMD ["--help"]
