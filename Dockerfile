# The server with the browser client, for every role: docs/deployment.md. Needs BuildKit, the default since Docker 23.
#
# Base images are pinned by tags that are not moved. Where a registry is reachable, pin their digests as well:
#   docker build --build-arg BASE=debian:bookworm-20260803-slim@sha256:... .
# scripts/build-image.sh builds without a registry of images.

# Only brings an npm; the Node that runs, here and in the image, is the one that package-lock.json names.
ARG NODE_IMAGE=node:24.19.0-bookworm-slim
ARG BASE=debian:bookworm-20260803-slim

FROM ${NODE_IMAGE} AS manifests
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
COPY shared/package.json shared/
COPY collab/package.json collab/
COPY terminal/package.json terminal/
COPY server/package.json server/
COPY web/package.json web/
COPY bench/package.json bench/

# A registry of your own goes into the secret npmrc, its certificate authority into the secret ca (cafile=/run/secrets/ca).
FROM manifests AS client
RUN --mount=type=cache,target=/root/.npm \
    --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \
    npm ci
COPY shared shared
COPY web web
COPY tsconfig.json ./
COPY scripts/build-web.ts scripts/
RUN node_modules/.bin/node scripts/build-web.ts

FROM manifests AS production
RUN --mount=type=cache,target=/root/.npm \
    --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \
    npm ci --omit=dev --ignore-scripts --workspace=shared --workspace=collab --workspace=server && \
    # What only editors and debuggers read, a third of the tree: Node runs no TypeScript in node_modules.
    find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' \) -delete && \
    rm -r terminal web bench package-lock.json .npmrc
COPY shared/src shared/src
COPY collab/src collab/src
COPY server/src server/src
COPY --from=client /build/web/dist web/dist

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Scriptorium" \
      org.opencontainers.image.description="A self-hosted real-time workspace for research teams" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A fixed user, so that the owner of a volume is the same in every version. Nothing in here may become another user.
RUN groupadd --gid 10001 scriptorium && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin scriptorium && \
    install -d -o 10001 -g 10001 -m 700 /data && \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=client /build/node_modules/node/bin/node /usr/local/bin/node
COPY --from=production /build /app
COPY LICENSE /app/
WORKDIR /app
USER 10001:10001
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3200 DATA_DIR=/data
EXPOSE 3200
# SQLite's directory; with MONGODB_URL nothing is written at all. The rest of the image may be mounted read-only.
VOLUME /data
STOPSIGNAL SIGTERM
# Liveness. Whether a node wants work is /readyz, which a balancer asks: a store that is away is no reason to restart it.
HEALTHCHECK --interval=5s --timeout=10s --start-period=60s --retries=6 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node"]
CMD ["server/src/main.ts"]
