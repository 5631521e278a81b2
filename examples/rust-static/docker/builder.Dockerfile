ARG DEBIAN_BASE
FROM ${DEBIAN_BASE}

# Caches of its own: builder and runner do not wait for each other.
RUN --mount=type=cache,id=builder-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=builder-lists,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends cargo gcc libc6-dev rustc
