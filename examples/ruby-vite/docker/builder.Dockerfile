ARG DEBIAN_BASE
FROM ${DEBIAN_BASE}
ENV LANG=C.UTF-8

ARG RUBY
# Caches of its own: builder and runner do not wait for each other.
RUN --mount=type=cache,id=builder-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=builder-lists,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends \
      gcc libc6-dev make nodejs npm ruby ruby${RUBY}-dev

# Above the application's directory, so that the source tree does not hide them:
# Node and npm look for packages in parent directories, too.
WORKDIR /srv
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
