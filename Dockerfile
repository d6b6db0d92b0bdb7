# syntax=docker/dockerfile:1
# Build:  docker build -t hermesd .
# Run:    docker run -v hermesd:/var/lib/hermesd -v ./config:/etc/hermesd:ro --env-file secrets.env hermesd

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/hermesd
# the dependencies change seldom: a layer of their own
COPY requirements.lock ./
RUN /opt/hermesd/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY hermesd ./hermesd
COPY adapters ./adapters
RUN /opt/hermesd/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="hermesd" org.opencontainers.image.licenses="MIT"
RUN groupadd --system --gid 8600 hermesd \
    && useradd --system --uid 8600 --gid hermesd --home-dir /var/lib/hermesd --shell /usr/sbin/nologin hermesd \
    && install -d -m 0700 -o hermesd -g hermesd /var/lib/hermesd \
    && install -d -m 0755 /etc/hermesd
COPY --from=build /opt/hermesd /opt/hermesd
COPY --chown=root:root profiles /usr/share/hermesd/profiles
ENV PATH=/opt/hermesd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HERMESD_CONFIG=/etc/hermesd/hermesd.yaml \
    HERMESD_STATE=/var/lib/hermesd
USER 8600:8600
WORKDIR /var/lib/hermesd
VOLUME /var/lib/hermesd
# the web chat; config/hermesd.yaml must say listen 0.0.0.0:8600, and then it must set a token
EXPOSE 8600
STOPSIGNAL SIGTERM
# answers from the running daemon itself, over its control socket
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["hermesd", "status", "--healthy"]
# exec form: SIGTERM and SIGHUP reach the daemon, which is process 1
ENTRYPOINT ["hermesd"]
# the sample profiles are copied to an empty volume once
CMD ["run", "--seed", "/usr/share/hermesd/profiles"]
