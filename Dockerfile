# The image of returns-worker: locked and hashed, without root, a shell or pip in use, on a read-only root file system.
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date -u +%FT%TZ)" -t returns-worker .
#
# A tag moves and a digest does not; docs/operate/deployment.md says how to renew it, and how to run the image. The digest is that
# of the index of all platforms, from October 2026 (Python 3.12.15).
ARG BASE=docker.io/library/python:3.12-slim-bookworm
ARG BASE_DIGEST=sha256:54c85f3c47607a77f32adec749d3c81d1348bf25833671f512b26a9b6d778cb3

FROM ${BASE}@${BASE_DIGEST} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Neither environment holds pip: the image's own installs into both.
RUN python -m venv --without-pip /opt/build && python -m venv --without-pip /opt/returns-worker
WORKDIR /source
COPY requirements.lock deploy/container/build.lock deploy/container/object-store.lock ./
RUN python -m pip --python /opt/build install --require-hashes -r build.lock \
 && python -m pip --python /opt/returns-worker install --no-compile --only-binary :all: --require-hashes \
      -r requirements.lock -r object-store.lock
COPY pyproject.toml README.md LICENSE ./
COPY worker ./worker
RUN python -m pip --python /opt/build wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m pip --python /opt/returns-worker install --no-compile --no-deps --no-index /wheels/*.whl
# Nothing can be compiled later on a read-only root. By hash, because a copy between stages may change file times.
RUN /opt/returns-worker/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/returns-worker/lib

FROM ${BASE}@${BASE_DIGEST}
# A number, so that Kubernetes can see that it is not root. The state directory is the only place written to but /tmp.
RUN useradd --uid 10001 --user-group --no-log-init --no-create-home --home-dir /var/lib/returns-worker \
      --shell /usr/sbin/nologin returns-worker \
 && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/returns-worker
COPY --from=builder /opt/returns-worker /opt/returns-worker
ENV PATH=/opt/returns-worker/bin:/usr/local/bin:/usr/bin:/bin
# The base image comes without bytecode of the standard library: importing every command, and what they import only when
# it is needed, leaves it.
RUN ["/opt/returns-worker/bin/python", "-c", "from worker.cli.commands import Commands as all; import worker.store.upgrade, worker.labels.pages; [each.load() for each in all.entries.values()]"]
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RETURNS_WORKER_HTTP__LISTEN=0.0.0.0:9464
# Behind what is run: what is told at each build would else be the end of the cache.
ARG BASE
ARG BASE_DIGEST
# Where this is published; pyproject.toml says it too.
ARG SOURCE=https://git.example/returns-worker
ARG VERSION=0.1.0
ARG REVISION=unknown
# A moment as RFC 3339 has it, so that tools can read it; this one says that nobody said.
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="returns-worker" \
      org.opencontainers.image.description="Creates a web shop's returns at the carrier, stores their labels and follows them to their end." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
USER 10001:10001
WORKDIR /var/lib/returns-worker
VOLUME ["/var/lib/returns-worker"]
EXPOSE 9464
STOPSIGNAL SIGTERM
# Its own limit for the answer is 3 s; the rest is for starting on a machine that is short of time.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["returns-worker", "health"]
ENTRYPOINT ["returns-worker"]
CMD ["run"]
