ARG DEBIAN_BASE
FROM ${DEBIAN_BASE}

RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends cargo gcc libc6-dev rustc
