ARG DEBIAN_BASE
FROM ${DEBIAN_BASE}
ENV LANG=C.UTF-8

# Caches of its own: builder and runner do not wait for each other.
RUN --mount=type=cache,id=builder-apt,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=builder-lists,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get install --yes --no-install-recommends \
      gcc libc6-dev libpq-dev python3-dev python3-venv

# Node comes from a Python package, into an environment of its own, which no runner gets.
WORKDIR /srv
COPY requirements-node.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/node && \
    /opt/node/bin/pip install --require-hashes --requirement requirements-node.txt
ENV PATH=/opt/node/bin:${PATH}

# psycopg2 is compiled here, against the headers of libpq; without debug information, which would name pip's temporary directory,
# another one each time.
COPY requirements-build.txt requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --require-hashes --requirement requirements-build.txt && \
    CFLAGS=-g0 /opt/venv/bin/pip install --require-hashes --no-build-isolation --no-binary psycopg2 \
      --requirement requirements.txt

# Above the application's directory: Node looks for packages in parent directories, too.
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
