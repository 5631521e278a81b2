ARG DEBIAN_BASE
FROM ${DEBIAN_BASE} AS packages

# Packages are unpacked, not installed; as in other small images, status.d says which there are.
WORKDIR /packages
RUN --mount=type=cache,id=runner-lists,target=/var/lib/apt/lists,sharing=locked \
    apt-get update && \
    apt-get download base-files netbase tzdata && \
    mkdir --parents /root-of-runner/var/lib/dpkg/status.d && \
    for package in *.deb; do \
      dpkg-deb --extract "$package" /root-of-runner && \
      dpkg-deb --field "$package" > "/root-of-runner/var/lib/dpkg/status.d/${package%%_*}" || exit 1; \
    done && \
    rm --recursive /root-of-runner/usr/share/doc
RUN printf '%s\n' root:x:0:0:root:/root:/sbin/nologin clock:x:10001:10001:clock:/nonexistent:/sbin/nologin \
      > /root-of-runner/etc/passwd && \
    printf '%s\n' root:x:0: clock:x:10001: > /root-of-runner/etc/group

FROM scratch
COPY --from=packages /root-of-runner/ /
