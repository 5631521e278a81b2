ARG DEBIAN_BASE
FROM ${DEBIAN_BASE}
ENV LANG=C.UTF-8

ARG RUBY
# Caches of its own: builder and runner do not wait for each other.
RUN --mount=type=cache,id=runner-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=runner-lists,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends puma ruby${RUBY} ruby-sinatra

RUN useradd --system --uid 10001 --home-dir /srv/app --shell /usr/sbin/nologin shop
