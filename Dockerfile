# The image: a static binary, wget and a shell for health checks, certificates of
# authorities, and nothing else.
#
#   docker build -t portolan .                      compile in a container
#   docker build -t portolan --target prebuilt .    take dist/portolan, made before: `just image`
#
# Another architecture is either compiled under emulation,
#
#   docker buildx build --platform linux/arm64 -t portolan .
#
# or cross-compiled outside for the second form (docs/container.md). Every base
# image is an argument, for mirrors and for machines without a registry.
ARG BUSYBOX_IMAGE=busybox:1.37-musl
ARG CERTIFICATES_IMAGE=alpine:3.22
ARG RUST_IMAGE=rust:1.95-alpine

FROM ${CERTIFICATES_IMAGE} AS certificates

# What is in the image beside the binary. The applets are names of one program;
# it has no others, and none of them runs as anybody else.
FROM ${BUSYBOX_IMAGE} AS files
COPY deploy/image/etc /image/etc
COPY NOTICE /image/usr/share/doc/portolan/NOTICE
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt
RUN ["/bin/busybox", "sh", "-c", "set -e; \
    /bin/busybox mkdir -p /image/bin /image/etc/traefik/external-enabled; \
    /bin/busybox cp /bin/busybox /image/bin/busybox; \
    for applet in sh wget nslookup; do /bin/busybox ln -s busybox /image/bin/$applet; done; \
    /bin/busybox chown -R 0:0 /image; \
    /bin/busybox chmod -R u=rwX,go=rX /image; \
    /bin/busybox chmod 755 /image/bin/busybox"]

# Everything but the binary. It starts as root, takes the group of the Docker
# socket and becomes user 1000 by itself; `user: "1000:1000"` is fine as well.
FROM scratch AS base
COPY --from=files /image /
ENV PATH=/bin
# Where a Corefile is looked for.
WORKDIR /etc/coredns
EXPOSE 54/udp 54/tcp 5454/tcp 8080/tcp 8081/tcp 9153/tcp 7946/udp 7946/tcp 8889/udp
ENTRYPOINT ["/bin/portolan"]
# Asks at the address of the configuration's `health`.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=3 CMD ["/bin/portolan", "health"]
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG BUILD_TIME=unknown
LABEL org.opencontainers.image.title="Portolan" \
    org.opencontainers.image.description="A DNS server for container hosts" \
    org.opencontainers.image.source="https://github.com/portolan-dns/portolan" \
    org.opencontainers.image.documentation="https://github.com/portolan-dns/portolan/blob/main/docs/container.md" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${BUILD_TIME}"

FROM base AS prebuilt
COPY dist/portolan /bin/portolan

# The target of Alpine's toolchain is the static one, musl being its C library.
# Another image needs that target and a C compiler for it beside its own.
FROM ${RUST_IMAGE} AS build
RUN command -v cc >/dev/null || apk add --no-cache gcc musl-dev
WORKDIR /source
COPY Cargo.toml Cargo.lock Corefile.example ./
COPY crates crates
COPY benches benches
COPY tests tests
ARG REVISION=unknown
ARG BUILD_TIME=unknown
RUN PORTOLAN_REVISION="${REVISION}" PORTOLAN_BUILD_TIME="${BUILD_TIME}" \
    cargo rustc --profile dist --locked --bin portolan --target "$(uname -m)-unknown-linux-musl" \
    -- -C link-arg=-Wl,-z,pack-relative-relocs \
    && cp target/*-unknown-linux-musl/dist/portolan /portolan

FROM base
COPY --from=build /portolan /bin/portolan
